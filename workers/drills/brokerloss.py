"""The broker is killed under load, and started again."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from workers.drills.ground import AnyBroker
from workers.drills.kill import at_least_once
from workers.drills.load import Load
from workers.drills.process import Line
from workers.drills.promises import drained, promises
from workers.drills.report import Check, Question, check
from workers.drills.setup import Setup
from workers.drills.stage import Say, Stage
from workers.drills.verify import Outcome
from workers.errors import ClientHalt
from workers.testing import EmbeddedBroker
from workers.testing.kafka import LocalProcess

TITLE = "the broker is killed under load, and started again"
DOWN = 5.0
BACK_WITHIN = 60.0
EVENTS = ("kafka.unwell", "kafka.client", "offsets.commit_failed", "producer.replaced")
SHARE = 100


def play(setup: Setup, broker: AnyBroker, say: Say) -> Stage:
    """Run the drill."""
    with Stage(setup, broker, say, at_least_once(broker, setup.worker.delivery)) as stage:
        process = stage.start()
        stage.ready(process)
        with Load(stage, size=25):
            stage.until("the stream to flow", lambda: stage.out >= SHARE)
            stage.do(f"the broker goes, for {DOWN:g} s, with a steady load before and after")
            before_that = len(process.lines)
            _go(broker)
            threading.Event().wait(DOWN)
            alive = process.ended is None
            said = [line for line in process.lines[before_that:] if line["event"] in EVENTS]
            before = stage.out
            stage.do("the broker comes back")
            _come(broker)
            took = stage.until("the stream to go on", lambda: stage.out >= before + SHARE)
        stage.all_out()
        drained(stage)
        promises(stage, doubled_at_most=None)
        stage.checks += [
            waits(stage.outcomes, ran_on=alive and process.ended == 0),
            comes_back(took),
            noticed(said),
        ]
    return stage


def waits(found: Sequence[Outcome], *, ran_on: bool) -> Check:
    """The process and the records, over an outage."""
    dead = sum(each.block is None for each in found)
    return check(
        "the worker waits: the process stays, and no record is blamed for the outage",
        f"the process {'ran on' if ran_on else 'ended'}; {dead} dead letters",
        held=ran_on and not dead,
    )


def comes_back(took: float) -> Check:
    """Seconds from the broker's start to the stream's."""
    return check(
        f"it goes on by itself, within {BACK_WITHIN:g} s",
        f"{took:.1f} s after the broker was started",
        Question.FAILURE,
        Question.LATENCY,
        held=took <= BACK_WITHIN,
    )


def noticed(lines: Sequence[Line]) -> Check:
    """What the worker logged during the outage."""
    seen = [f"{line['event']}: {line.get('why', line.get('line', ''))}" for line in lines]
    return check(
        "the log says that the broker is away while it is",
        seen[0] if seen else "nothing",
        Question.SEEN,
        held=bool(seen),
    )


def _go(broker: AnyBroker) -> None:
    if isinstance(broker, EmbeddedBroker):
        broker.set_down()
    else:
        _process(broker.server).kill()


def _come(broker: AnyBroker) -> None:
    if isinstance(broker, EmbeddedBroker):
        broker.set_up()
    else:
        _process(broker.server).start()


def _process(server: object) -> LocalProcess:
    if isinstance(server, LocalProcess):
        return server
    raise ClientHalt("this broker is not the drill's to kill")
