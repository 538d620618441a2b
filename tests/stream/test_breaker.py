"""The breaker's limits, told rows and times; no clock, no worker."""

from __future__ import annotations

from typing import Any

import pytest

from workers.enrich.batch import Batch, Outcomes, Rejection
from workers.errors import Code, Reject
from workers.stream.breaker import Breaker
from workers.stream.journal import Journal
from workers.stream.snapshot import Pause, PauseKind
from workers.topology import BreakerSettings

GOOD, BAD, OTHER = "good", "malformed", "unframed"


class Hands:
    """A clock that is moved, and a source that says what it was told."""

    def __init__(self) -> None:
        self.time = 0.0
        self.held: dict[int, tuple[int, str]] = {}

    def monotonic(self) -> float:
        """As moved."""
        return self.time

    def now(self) -> int:
        """Never asked."""
        raise AssertionError

    def hold(self, partition: int, offset: int, pause: Pause) -> None:
        """Remember it."""
        assert pause.kind is PauseKind.BREAKER
        self.held[partition] = offset, pause.why

    def still_held(self, partition: int, _: Pause) -> bool:
        """Unless it was taken away."""
        return partition in self.held

    def release(self, partition: int) -> None:
        """Forget it."""
        del self.held[partition]


class Rig:
    """A breaker, and records of partitions that come as a source would hand them out."""

    def __init__(self, **settings: Any) -> None:
        self.hands = Hands()
        hands: Any = self.hands
        told = BreakerSettings.model_validate({"again": "30s", **settings})
        self.breaker = Breaker(told, hands, hands, Journal(hands))
        self.next: dict[int, int] = {}

    def batch(self, *rows: tuple[int, str]) -> list[tuple[int, int]]:
        """Partition and kind of each row; what went on."""
        batch = Batch("topic", 0)
        rejected = {}
        for row, (partition, kind) in enumerate(rows):
            batch.keys.append(None)
            batch.values.append(b"")
            batch.headers.append(None)
            batch.timestamps.append((0, 0))
            batch.partitions.append(partition)
            batch.offsets.append(self.next.get(partition, 0))
            self.next[partition] = batch.offsets[-1] + 1
            if kind is not GOOD:
                reject = Reject(Code(kind), "a text")
                rejected[row] = Rejection(reject, "decode")
        enriched: dict[int, bytes | None] = {
            row: b"" for row in range(len(batch)) if row not in rejected
        }
        outcomes = Outcomes(batch, enriched, rejected, frozenset())
        rest = self.breaker.hold(outcomes)
        found = batch if rest is None else rest
        went = list(zip(found.partitions, found.offsets, strict=True))
        for partition, (offset, _) in self.hands.held.items():
            self.next[partition] = offset
        return went


def test_dead_letters_in_a_row_with_one_cause_hold_their_partition_alone() -> None:
    """At the first that is too many; what is before it, and the other partitions, go on."""
    rig = Rig(consecutive=3)

    went = rig.batch(*[(0, BAD), (1, GOOD)] * 5)

    assert went == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2), (1, 3), (1, 4)]
    assert rig.hands.held.keys() == {0}
    offset, why = rig.hands.held[0]
    assert offset == 3
    assert why == "breaker: over 3 dead letters in a row with decode:malformed; tried again in 30 s"


def test_another_cause_or_a_good_record_begins_anew() -> None:
    """Scattered failures are no outage."""
    rig = Rig(consecutive=3)

    for kinds in ([BAD, BAD, BAD, OTHER, BAD], [BAD, BAD, GOOD, BAD, BAD, BAD, GOOD]):
        went = rig.batch(*[(0, kind) for kind in kinds])
        assert len(went) == len(kinds)

    assert not rig.hands.held


def test_a_run_goes_on_over_batches() -> None:
    """Small batches are no way around it."""
    rig = Rig(consecutive=3)

    assert [len(rig.batch((0, BAD))) for _ in range(4)] == [1, 1, 1, 0]


def test_the_share_is_of_a_whole_window() -> None:
    """Every second record fails, each time for another reason: held when the window is full."""
    rig = Rig(share=0.4, window=20, consecutive=1000)

    went = rig.batch(*[(0, GOOD if row % 2 else list(Code)[row % 9]) for row in range(60)])

    assert len(went) == 20
    assert "over 40% of 20 records" in rig.hands.held[0][1]


def test_a_share_below_the_limit_goes_on_for_ever() -> None:
    """One in ten."""
    rig = Rig(share=0.2, window=20, consecutive=5)

    for _ in range(20):
        assert len(rig.batch(*[(0, BAD if row % 10 == 0 else GOOD) for row in range(50)])) == 50


def test_dead_letters_of_a_minute_have_a_limit_of_their_own() -> None:
    """Slow poison in a fast stream."""
    rig = Rig(per_minute=5, share=0.9)
    for _ in range(5):
        rig.hands.time += 1
        assert len(rig.batch((0, GOOD), (0, BAD), (0, GOOD))) == 3

    assert len(rig.batch((0, GOOD), (0, BAD), (0, GOOD))) == 1
    assert "over 5 dead letters in a minute" in rig.hands.held[0][1]


def test_slower_than_the_limit_is_well() -> None:
    """A minute is a minute."""
    rig = Rig(per_minute=5, share=0.9)

    for _ in range(30):
        rig.hands.time += 12.5
        assert len(rig.batch((0, GOOD), (0, BAD), (0, GOOD))) == 3


def held() -> Rig:
    """A rig whose partition 0 is held at offset 3."""
    rig = Rig(consecutive=3, probe=4, share=0.5)
    rig.batch(*[(0, BAD)] * 4)
    assert rig.hands.held[0][0] == 3
    return rig


def test_a_probe_that_fares_well_lets_the_partition_go_on() -> None:
    """After its time, not before."""
    rig = held()
    rig.hands.time = 29.9
    rig.breaker.release()
    assert 0 in rig.hands.held
    rig.hands.time = 30
    rig.breaker.release()
    assert not rig.hands.held

    went = rig.batch(*[(0, kind) for kind in (BAD, GOOD, BAD, GOOD, GOOD, BAD, BAD, BAD)])

    assert len(went) == 8
    assert not rig.hands.held


@pytest.mark.parametrize("size", [1, 2, 20])
def test_a_probe_that_fails_lets_through_no_more_than_itself(size: int) -> None:
    """Nothing but bad records: four of them in each half minute, whatever comes in a batch."""
    rig, went = held(), list[tuple[int, int]]()
    for round_ in range(1, 6):
        rig.hands.time = 30.0 * round_
        rig.breaker.release()
        while 0 not in rig.hands.held:
            went += rig.batch(*[(0, BAD)] * size)
        assert len(went) == 4 * round_
        assert "4 of 4 records of the probe failed" in rig.hands.held[0][1]

    assert went == [(0, offset) for offset in range(3, 23)]


def test_a_partition_that_left_is_forgotten() -> None:
    """It is another member's, and begins anew if it comes back."""
    rig = held()
    rig.hands.held.clear()

    rig.hands.time = 30
    rig.breaker.release()

    assert len(rig.batch(*[(0, BAD)] * 3)) == 3


def test_rows_that_come_again_do_not_count_twice() -> None:
    """After a rewind; what is held stays so."""
    rig = Rig(consecutive=3)
    for _ in range(5):
        assert len(rig.batch((0, BAD), (0, BAD))) == 2
        rig.breaker.rewound()
    rig = held()
    rig.breaker.rewound()
    rig.hands.time = 30
    rig.breaker.release()

    assert not rig.hands.held


def test_without_settings_nothing_is_held() -> None:
    """`breaker: null`."""
    hands: Any = Hands()
    rig = Rig()
    rig.breaker = Breaker(None, hands, hands, Journal(hands))

    assert len(rig.batch(*[(0, BAD)] * 2000)) == 2000
