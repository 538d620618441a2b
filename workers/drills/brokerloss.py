"""The broker is killed under load, and started again."""

from __future__ import annotations

import threading

from workers.drills.ground import AnyBroker
from workers.drills.kill import at_least_once
from workers.drills.promises import drained, promises
from workers.drills.report import Question, check
from workers.drills.setup import Setup
from workers.drills.stage import Load, Say, Stage
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
        with Load(stage):
            stage.until("the stream to flow", lambda: stage.out >= SHARE)
            stage.do(f"the broker goes, for {DOWN:g} s, with a steady load before and after")
            _go(broker)
            threading.Event().wait(DOWN)
            alive = process.ended is None
            said = [line for line in process.lines if line["event"] in EVENTS]
            before = stage.out
            stage.do("the broker comes back")
            _come(broker)
            took = stage.until("the stream to go on", lambda: stage.out >= before + SHARE)
        stage.all_out()
        drained(stage)
        promises(stage, doubled_at_most=None)
        stage.checks += [
            check(
                "the worker waits: the process stays, and no record is blamed for the outage",
                "the process "
                + ("ran on" if alive and process.ended in (None, 0) else "ended")
                + f"; {sum(each.block is None for each in stage.outcomes)} dead letters",
                held=alive and all(each.block is not None for each in stage.outcomes),
            ),
            check(
                f"it goes on by itself, within {BACK_WITHIN:g} s",
                f"{took:.1f} s after the broker was started",
                Question.FAILURE,
                Question.LATENCY,
                held=took <= BACK_WITHIN,
            ),
            check(
                "the log says that the broker is away while it is",
                f"{said[0]['event']}: {said[0].get('why', said[0].get('line', ''))}"
                if said
                else "nothing",
                Question.SEEN,
                held=bool(said),
            ),
        ]
    return stage


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
