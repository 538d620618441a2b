"""How far behind a partition is, from what passes through the consumer."""

from __future__ import annotations

from workers.enrich.batch import Batch
from workers.stream.lag import LagState
from workers.stream.snapshot import PartitionView, Pause, PauseKind

HELD = Pause(PauseKind.OPERATOR, "because")


def batch(first: int, count: int, *, stamp: int = 1000, kind: int = 1, now: int = 9000) -> Batch:
    """Records of partition 0, one a millisecond."""
    rows = range(count)
    return Batch(
        "t",
        now,
        keys=[None for _ in rows],
        values=[b"" for _ in rows],
        headers=[None for _ in rows],
        partitions=[0 for _ in rows],
        offsets=[first + row for row in rows],
        timestamps=[(kind, stamp + row) for row in rows],
    )


def view(
    lag: LagState, end: int | None = None, pause: Pause | None = None, at: float = 0.0
) -> PartitionView:
    """Partition 0 at a moment."""
    ends = {} if end is None else {0: end}
    pauses = {} if pause is None else {0: pause}
    (found,) = lag.views([0], ends, pauses, (at, 10_000 + int(at * 1000)))
    return found


def test_what_is_behind_the_position_is_lag() -> None:
    lag = LagState()
    lag.placed(0, 10)
    assert view(lag, 25).lag == 15
    assert view(lag, 25).position == 10


def test_nothing_is_known_before_the_group_has_answered() -> None:
    found = view(LagState(), 25)
    assert (found.lag, found.time_lag(99_000)) == (None, None)


def test_records_in_hand_are_lag_until_they_are_settled() -> None:
    lag = LagState()
    lag.placed(0, 10)
    rows = batch(10, 5)
    lag.handed(rows)
    found = view(lag, 15)
    assert (found.lag, found.position, found.oldest) == (5, 10, 1000)
    assert found.time_lag(11_000) == 10.0
    lag.settled(rows)
    assert (view(lag, 15).lag, view(lag, 15).position) == (0, 15)


def test_the_oldest_is_the_first_of_what_is_left() -> None:
    lag = LagState()
    lag.placed(0, 0)
    first, second = batch(0, 3, stamp=1000), batch(3, 3, stamp=5000)
    lag.handed(first)
    lag.handed(second)
    lag.settled(first)
    assert view(lag, 100).oldest == 5000
    lag.settled(second)
    # On the broker's side: not older than what was done last.
    assert view(lag, 100).oldest == 5002


def test_a_transactions_marker_at_the_end_is_no_lag_once_the_end_is_seen() -> None:
    lag = LagState()
    lag.placed(0, 0)
    rows = batch(0, 3)
    lag.handed(rows)
    lag.settled(rows)
    assert view(lag, 4).lag == 1
    lag.ended(0, 4)
    found = view(lag, 4)
    assert (found.lag, found.end, found.time_lag(99_000)) == (0, 4, 0.0)


def test_an_end_seen_before_records_came_says_nothing_about_them() -> None:
    lag = LagState()
    lag.placed(0, 3)
    lag.ended(0, 3)
    lag.handed(batch(3, 2))
    assert view(lag, 5).lag == 2


def test_an_end_that_was_seen_while_records_are_in_hand_is_one_when_they_are_settled() -> None:
    lag = LagState()
    lag.placed(0, 3)
    rows = batch(3, 2)
    lag.handed(rows)
    lag.ended(0, 6)
    assert view(lag, 6).lag == 3
    lag.settled(rows)
    assert view(lag, 6).lag == 0


def test_after_a_rewind_what_was_in_hand_is_to_be_done_again() -> None:
    lag = LagState()
    lag.placed(0, 3)
    lag.handed(batch(3, 2))
    lag.ended(0, 5)
    lag.placed(0, 3)
    assert view(lag, 5).lag == 2


def test_a_partition_that_is_not_read_falls_behind() -> None:
    lag = LagState()
    lag.placed(0, 5)
    lag.ended(0, 6)
    assert view(lag, 6, HELD).lag == 0
    found = view(lag, 9, HELD, at=30.0)
    assert (found.lag, found.pause) == (3, HELD)
    # The last moment at which nothing waited: a quiet topic is not three days behind.
    assert found.oldest == 10_000


def test_timestamps_that_are_no_time_do_not_make_a_lag() -> None:
    lag = LagState()
    lag.placed(0, 0)
    lag.handed(batch(0, 1, stamp=-1, kind=0))
    assert view(lag, 1).oldest == 9000
    lag.placed(0, 0)
    lag.handed(batch(0, 1, stamp=2**60))
    assert view(lag, 1).time_lag(8000) == 0.0


def test_the_trend_is_records_a_second_over_a_minute() -> None:
    lag = LagState()
    lag.placed(0, 0)
    assert view(lag, 0, at=0.0).trend is None
    assert view(lag, 100, at=10.0).trend == 10.0
    assert [view(lag, 100, at=float(second)).trend for second in range(11, 200)][-1] == 0.0
    assert view(lag, 40, at=210.0).trend == -60 / 60


def test_a_partition_that_left_is_forgotten() -> None:
    lag = LagState()
    lag.placed(0, 7)
    lag.forget([0])
    assert view(lag, 9).position is None
