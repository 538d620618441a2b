"""Records on their way through retry topics, and waiting in them."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.contracts.framing import Header
from workers.enrich.batch import Batch
from workers.stream.clock import Clock
from workers.stream.records import header_bytes
from workers.stream.retries import (
    OURS,
    RETRY_BYTES,
    Waiting,
    attempts_before,
    restored,
    retry_record,
)
from workers.stream.snapshot import Pause
from workers.stream.source import Source
from workers.topology import RetryTopic, Tier

TIER = Tier.model_validate({"worker": "w", "topic": "first", "number": 1, "delay": "10s"})
TOPIC = RetryTopic.model_validate({"topic": "later", "delay": "10s"})
NOW = 1_700_000_000_000
NAMES = [f"{OURS}{name}" for name in ("partition", "offset", "timestamp", "due", "attempts")]
HEADERS = st.lists(
    st.tuples(
        st.one_of(st.text(max_size=5), st.sampled_from([f"{OURS}due", f"{OURS}partition"])),
        st.one_of(st.none(), st.binary(max_size=5)),
    ),
    max_size=7,
)


def batch(topic: str, headers: list[Header] | None, at: tuple[int, int], stamp: int = 7) -> Batch:
    """One record."""
    return Batch(topic, NOW, [b"k"], [b"v"], [headers], [at[0]], [at[1]], [(1, stamp)])


@given(HEADERS, st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**60))
def test_a_record_comes_back_from_a_retry_topic_as_it_first_came(
    headers: list[Header], partition: int, offset: int, stamp: int
) -> None:
    """Whatever its own headers are, forged ones of ours among them."""
    first = batch("first", headers, (partition, offset), stamp)
    topic, key, value, sent, milliseconds, _ = retry_record(TOPIC, first, 0, 3)
    waiting = batch("later", cast("list[Header]", sent), (0, 0), milliseconds)

    back = restored(waiting, TIER)

    assert (topic, key, value) == ("later", b"k", b"v")
    assert (back.topic, back.partitions, back.offsets) == ("first", [partition], [offset])
    assert (back.headers[0] or []) == headers
    assert back.timestamps == [(1, stamp)]
    assert attempts_before(waiting, 0, TIER) == 3
    assert header_bytes(sent) - header_bytes(headers) <= RETRY_BYTES


@pytest.mark.parametrize(
    "headers",
    [
        None,
        [],
        [("a", b"1")],
        [
            (f"{OURS}{name}", b"x")
            for name in ("partition", "offset", "timestamp", "due", "attempts")
        ],
        [
            (f"{OURS}{name}", b"-1")
            for name in ("partition", "offset", "timestamp", "due", "attempts")
        ],
        [
            (f"{OURS}{name}", None)
            for name in ("partition", "offset", "timestamp", "due", "attempts")
        ],
        [
            (f"{OURS}{name}", b"9" * 30)
            for name in ("partition", "offset", "timestamp", "due", "attempts")
        ],
    ],
)
def test_what_others_write_into_a_retry_topic_is_taken_as_it_is(headers: Any) -> None:
    """Not what it says it is."""
    strange = batch("later", headers, (1, 5))

    back = restored(strange, TIER)

    assert (back.partitions, back.offsets, back.headers) == ([1], [5], [headers])
    assert attempts_before(strange, 0, TIER) == 0


class Hands:
    """A source's part that holds."""

    def __init__(self) -> None:
        self.held: dict[int, int] = {}

    def hold(self, partition: int, offset: int, _: Pause) -> None:
        """Take note."""
        self.held[partition] = offset

    def still_held(self, partition: int, _: Pause) -> bool:
        """Is it?"""
        return partition in self.held

    def release(self, partition: int) -> None:
        """Let go."""
        del self.held[partition]


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.time


def test_a_partition_waits_at_its_first_record_that_is_not_due_and_goes_on_then() -> None:
    """Others go on; and a forged time holds for no longer than the declared delay."""
    hands, clock = Hands(), Hand()
    waiting = Waiting(TIER, cast("Source", hands), cast("Clock", clock))
    due = [NOW - 1, NOW + 4000, NOW - 1, NOW + 10**12]
    rows = Batch("later", NOW)
    for row, (partition, at) in enumerate(zip([0, 0, 0, 1], due, strict=True)):
        numbers = (0, row, 0, at, 1)
        rows.headers.append([(n, b"%d" % number) for n, number in zip(NAMES, numbers, strict=True)])
        rows.partitions.append(partition)
        rows.offsets.append(row)
        rows.keys.append(None)
        rows.values.append(None)
        rows.timestamps.append((1, 0))

    rest = waiting.hold(rows)

    assert rest.offsets == [0]
    assert hands.held == {0: 1, 1: 3}
    clock.time += 3.9
    waiting.release()
    assert hands.held == {0: 1, 1: 3}
    clock.time += 0.2
    waiting.release()
    assert hands.held == {1: 3}
    clock.time += 6
    waiting.release()
    assert not hands.held
