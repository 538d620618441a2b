"""What a loop tells of itself between two snapshots, on a clock that is moved."""

from __future__ import annotations

from typing import Any

from workers.enrich.batch import Batch
from workers.stream.lag import LagState
from workers.stream.reporting import EVERY, Parts, Reporter, first_snapshot
from workers.stream.snapshot import Board, Phase


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> int:
        """Milliseconds."""
        return int(self.time * 1000)

    def monotonic(self) -> float:
        """Seconds."""
        return self.time


class Rig:
    """A reporter, what it asked, and what it failed with."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked = 0
        self.broken = False
        self.failures: list[Exception] = []
        self.board = Board(first_snapshot(self.clock, build="1", worker="w", instance="w.0"))
        parts = Parts(
            assigned=lambda: [0],
            ends=dict,
            pauses=dict,
            counts=self._counts,
            failed=self.failures.append,
        )
        self.reporter = Reporter(self.board, LagState(), parts, self.clock)

    def _counts(self) -> dict[str, Any]:
        if self.broken:
            raise ValueError("a bug")
        self.asked += 1
        return {"enriched": self.asked}

    def turn(self, seconds: float = 0.0) -> None:
        """The loop comes back from the group after so long."""
        self.clock.time += seconds
        self.reporter.turn()


def test_every_turn_is_a_sign_of_life_and_few_are_a_snapshot() -> None:
    rig = Rig()
    for _ in range(100):
        rig.turn(EVERY / 50)
    assert rig.board.snapshot.last_poll == rig.clock.time
    assert 2 <= rig.asked <= 4


def test_what_matters_does_not_wait_for_its_turn() -> None:
    """A change of phase at once; a new assignment and a producer's fate with the next turn."""
    rig = Rig()
    rig.turn()
    rig.reporter.phase(Phase.RUNNING)
    assert rig.board.snapshot.phase is Phase.RUNNING
    rig.reporter.moved(True)
    rig.turn()
    assert rig.board.snapshot.assigned
    rig.reporter.unwell("away")
    rig.turn()
    assert rig.board.snapshot.producer.why == "away"


def test_a_producer_is_unwell_since_it_first_was() -> None:
    rig = Rig()
    rig.reporter.well()
    rig.turn(5)
    rig.reporter.unwell("one")
    began = rig.clock.time
    rig.turn(5)
    rig.reporter.unwell("two")
    rig.turn(5)
    producer = rig.board.snapshot.producer
    assert (producer.well, producer.since, producer.why) == (False, began, "two")
    rig.reporter.well()
    rig.turn()
    assert rig.board.snapshot.producer.well


def test_a_batch_is_on_its_way_until_it_arrives_or_is_given_up() -> None:
    rig = Rig()
    rig.reporter.publishing()
    seen = [_publishing(rig)]
    rig.reporter.settled(Batch("t", 0))
    seen.append(_publishing(rig))
    assert rig.board.snapshot.last_progress == 101.0
    rig.reporter.publishing()
    rig.reporter.unwell("lost")
    seen.append(_publishing(rig))
    assert seen == [100.0, None, None]


def _publishing(rig: Rig) -> float | None:
    rig.turn(1)
    return rig.board.snapshot.publishing


def test_a_bug_in_telling_of_it_ends_no_worker_and_is_told_once() -> None:
    """The last good snapshot stays, with new signs of life."""
    rig = Rig()
    rig.turn(1)
    rig.broken = True
    rig.turn(1)
    rig.turn(1)
    assert [str(failure) for failure in rig.failures] == ["a bug"]
    assert rig.board.snapshot.counts == {"enriched": 1}
    assert rig.board.snapshot.last_poll == rig.clock.time
