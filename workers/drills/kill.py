"""SIGKILL under load, a few times."""

from __future__ import annotations

from collections.abc import Sequence

from workers.drills.changes import Changes
from workers.drills.ground import AnyBroker
from workers.drills.load import Load
from workers.drills.promises import drained, promises
from workers.drills.report import Check, Question, check
from workers.drills.setup import Setup
from workers.drills.stage import Say, Stage
from workers.testing import EmbeddedBroker
from workers.topology import Delivery

TITLE = "the worker is killed under load, and started again"
KILLS = 3
BATCH = 100
BACK_WITHIN = 60.0
"""Seconds from a kill to the first outcome of the next life."""
LOAD = 25
"""Records each twentieth of a second: a process that starts finds hundreds, and dies in them."""
MORE = 50
"""Records that come out between two kills."""


def at_least_once(broker: AnyBroker, delivery: Delivery) -> Changes:
    """What a drill changes where the embedded broker would forget a transaction's offsets."""
    if isinstance(broker, EmbeddedBroker) and delivery is Delivery.EXACTLY_ONCE:
        return Changes(
            worker={"delivery": Delivery.AT_LEAST_ONCE.value},
            said=(
                "delivery at_least_once: the embedded broker forgets a transaction's offsets; "
                "`--broker kafka` shows exactly_once",
            ),
        )
    return Changes()


def play(setup: Setup, broker: AnyBroker, say: Say) -> Stage:
    """Run the drill."""
    changes = at_least_once(broker, setup.worker.delivery)
    changes = Changes(
        worker={**changes.worker, "batch": {"max_records": BATCH}},
        said=(*changes.said, f"batches of {BATCH} records at most"),
    )
    with Stage(setup, broker, say, changes) as stage:
        process = stage.start()
        stage.ready(process)
        stage.do("a steady load of about 500 records a second")
        waits = []
        with Load(stage, size=LOAD):
            for number in range(1, KILLS + 1):
                _more(stage, MORE)
                left = stage.sent - stage.out
                stage.do(f"kill -9, {number} of {KILLS}, with {left} records on their way; start")
                began = stage.clock.monotonic()
                process.kill()
                process = stage.start()
                stage.ready(process)
                _more(stage, 1)
                waits.append(stage.clock.monotonic() - began)
        stage.all_out()
        drained(stage)
        # The batch being written and the one before it, for each kill.
        promises(stage, doubled_at_most=KILLS * 2 * BATCH)
        said = [bool(each.said("worker.started")) for each in stage.processes]
        stage.checks += [
            back_at_work(waits),
            check(
                "every life says in the log that it began, the last that it drained",
                f"{sum(said)} lives began; killed in between: {KILLS}",
                Question.SEEN,
                held=all(said) and bool(process.said("worker.drained")),
            ),
        ]
    return stage


def back_at_work(waits: Sequence[float]) -> Check:
    """Seconds from each kill to the first outcome of the next life."""
    return check(
        "a process that was killed leaves nothing that holds up the next: at work within "
        f"{BACK_WITHIN:g} s",
        ", ".join(f"{seconds:.1f} s" for seconds in waits) + " from the kill to the next outcome",
        Question.FAILURE,
        Question.LATENCY,
        held=len(waits) == KILLS and max(waits) <= BACK_WITHIN,
    )


def _more(stage: Stage, count: int) -> None:
    """Wait until so many records more have come out."""
    before = stage.out
    stage.until("the stream to go on", lambda: stage.out >= before + count)
