"""Processes join and leave under load."""

from __future__ import annotations

from collections.abc import Mapping

from workers.drills.ground import AnyBroker
from workers.drills.kill import at_least_once
from workers.drills.load import Load
from workers.drills.process import WorkerProcess
from workers.drills.promises import promises
from workers.drills.report import Check, Question, check
from workers.drills.setup import Setup
from workers.drills.stage import Say, Stage

TITLE = "a second and a third process join and leave under load"
SHARE = 30
"""Records that come out between two steps."""


def play(setup: Setup, broker: AnyBroker, say: Say) -> Stage:
    """Run the drill."""
    changes = at_least_once(broker, setup.worker.delivery)
    with Stage(setup, broker, say, changes) as stage:
        first = stage.start("a")
        stage.ready(first)
        stage.do("a steady load of about 200 records a second for process a")
        with Load(stage):
            _more(stage)
            stage.do("processes b and c join")
            second, third = stage.start("b"), stage.start("c")
            stage.ready(second)
            stage.ready(third)
            _more(stage)
            stage.do("process a, the first, leaves by SIGTERM")
            codes = [first.drain(stage.worker.drain_timeout + 5)]
            _more(stage)
            stage.do("process b leaves; c is alone")
            codes.append(second.drain(stage.worker.drain_timeout + 5))
            _more(stage)
        stage.all_out()
        stage.do("process c leaves")
        codes += stage.drain()
        # A commit that comes while the group is on the move is refused, and its records come again.
        promises(stage, doubled_at_most=None)
        counts = [_own(process) for process in stage.processes]
        names = [process.instance for process in stage.processes]
        stage.checks += shared(dict(zip(names, counts, strict=True)), len(stage.outcomes))
        stage.checks.append(
            check(
                "each process that leaves finishes what it read: exit code 0",
                f"exit codes {codes}",
                held=all(code == 0 for code in codes),
            )
        )
    return stage


def shared(counts: Mapping[str, int], seen: int) -> list[Check]:
    """What each process says that it enriched, and what the reader saw of all."""
    return [
        check(
            "the work was shared: each process enriched records",
            ", ".join(f"{name} {count:,}" for name, count in counts.items()),
            Question.FAILURE,
            Question.SEEN,
            held=all(counts.values()),
        ),
        check(
            "their own counts add up to what the reader saw",
            f"{sum(counts.values()):,} by their last log lines, {seen:,} by the reader",
            Question.SEEN,
            held=sum(counts.values()) == seen,
        ),
    ]


def _more(stage: Stage) -> None:
    before = stage.out
    stage.until("the stream to go on", lambda: stage.out >= before + SHARE)


def _own(process: WorkerProcess) -> int:
    line = process.said("worker.drained")
    return int(line[-1]["enriched"]) if line else 0
