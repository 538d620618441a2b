"""What the source hands out while partitions move, with a scripted client in place of Kafka."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from workers.errors import Retry
from workers.stream.caution import CautionState
from workers.stream.clock import SystemClock
from workers.stream.failures import Moved
from workers.stream.journal import Journal
from workers.stream.messages import to_batch
from workers.stream.snapshot import Pause, PauseKind
from workers.stream.source import Source
from workers.topology import Topology
from workers.wiring import pick


class Record:
    """A message as the client hands it out, or an error in place of one."""

    def __init__(self, partition: int, offset: int, error: KafkaError | None = None) -> None:
        self._place = (partition, offset)
        self._error = error

    def error(self) -> KafkaError | None:
        """The error, if it is one."""
        return self._error

    def partition(self) -> int:
        """Its partition."""
        return self._place[0]

    def offset(self) -> int:
        """Its offset."""
        return self._place[1]

    def key(self) -> bytes:
        """A key."""
        return b"k"

    def value(self) -> bytes:
        """A value."""
        return b"v"

    def __len__(self) -> int:
        return 1

    def headers(self) -> None:
        """None."""

    def timestamp(self) -> tuple[int, int]:
        """A timestamp."""
        return (1, 1)


class Scripted:
    """A consumer whose every `consume` is the next step of a script."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], list[Record]]] = []
        self.member = "member-1"
        self.committed_offsets: dict[int, int] = {}
        self.sought: list[tuple[int, int]] = []
        self.begun: list[tuple[int, int]] = []
        self.unanswered = False
        self.commits: list[dict[int, int]] = []
        self.refusal: KafkaError | None = None
        self.paused: set[int] = set()
        self.assign: Callable[[Any, list[TopicPartition]], None]
        self.revoke: Callable[[Any, list[TopicPartition]], None]

    def subscribe(self, _: list[str], *, on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        """Keep the callbacks."""
        self.assign, self.revoke, self.lost = on_assign, on_revoke, on_lost

    def consume(self, _: int, __: float) -> list[Record]:
        """The next step."""
        return self.steps.pop(0)() if self.steps else []

    def consumer_group_metadata(self) -> bytes:
        """Something."""
        return b""

    def memberid(self) -> str:
        """Empty once the session is over."""
        return self.member

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """As scripted."""
        assert timeout > 0
        if self.unanswered:
            raise Retry("no answer")
        for place in places:
            place.offset = self.committed_offsets.get(place.partition, -1001)
        return places

    def get_watermark_offsets(self, _: TopicPartition, timeout: float) -> tuple[int, int]:
        """A log of a hundred records."""
        assert timeout > 0
        return 0, 100

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        """Accepted, or refused as scripted."""
        assert asynchronous in (True, False)
        self.commits.append({place.partition: place.offset for place in offsets})
        if self.refusal is not None:
            raise KafkaException(self.refusal)

    def close(self) -> None:
        """Nothing to leave."""

    def seek(self, place: TopicPartition) -> None:
        """Remember it."""
        self.sought.append((place.partition, place.offset))

    def incremental_assign(self, given: list[TopicPartition]) -> None:
        """Accepted: what has an offset begins there."""
        self.begun.extend((place.partition, place.offset) for place in given)

    def pause(self, given: list[TopicPartition]) -> None:
        """Remembered beyond the assignment, as librdkafka does."""
        self.paused |= {place.partition for place in given}

    def resume(self, given: list[TopicPartition]) -> None:
        """Accepted."""
        self.paused -= {place.partition for place in given}


def places(*partitions: int) -> list[TopicPartition]:
    """Partitions of the input."""
    return [TopicPartition("flights", partition) for partition in partitions]


def records(partition: int, *offsets: int) -> list[Record]:
    """Messages of one partition."""
    return [Record(partition, offset) for offset in offsets]


@pytest.fixture
def client() -> Scripted:
    """The client."""
    return Scripted()


@pytest.fixture
def source(topology: Topology, client: Scripted) -> Source:
    """A source on it that owns partitions 0 and 1."""
    clock = SystemClock()
    consumer: Any = client
    journal = Journal(clock)
    found = Source(consumer, pick(topology, None), clock, journal)
    found.open()
    client.assign(None, places(0, 1))
    return found


def test_a_batch_of_a_member_without_a_session_is_dropped(source: Source, client: Scripted) -> None:
    """The broker fences nothing that comes without a member id and a generation."""
    client.steps = [lambda: records(0, 1, 2)]
    client.member = ""

    with pytest.raises(Moved, match="let this member go"):
        source.poll(10)


def test_a_first_start_comes_with_the_assignment(source: Source, client: Scripted) -> None:
    """Without an offset at the beginning, else at what is committed."""
    client.committed_offsets = {2: 7}

    client.assign(None, places(2, 3))

    assert client.begun == [(0, 0), (1, 0), (2, -1000), (3, 0)]


def test_a_broker_that_does_not_answer_leaves_the_assignment_to_the_client(
    source: Source, client: Scripted
) -> None:
    """Nothing is raised in a callback; the partition is ours all the same."""
    client.unanswered = True

    client.assign(None, places(2))

    assert source.assigned == {0, 1, 2}


def test_records_handed_out_twice_in_one_poll_count_once(source: Source, client: Scripted) -> None:
    """A move in the middle of a poll reads the same records again."""
    client.committed_offsets = {1: 5}
    lost = Record(0, -1001, KafkaError(KafkaError._AUTO_OFFSET_RESET))
    client.steps = [lambda: [lost, *records(1, 5, 6, 7)], lambda: records(1, 5, 6, 7, 8)]

    first, second = source.poll(10).batch, source.poll(10).batch

    assert [*first.offsets, *second.offsets] == [5, 6, 7, 8]
    assert (0, 0) in client.sought


def test_rows_of_a_partition_taken_in_the_poll_leave_the_batch(
    source: Source, client: Scripted
) -> None:
    """And the epoch says that the batch before is not to be published any more."""
    client.steps = [lambda: records(0, 1, 2) + records(1, 4)]
    before = source.poll(10)

    def rebalance() -> list[Record]:
        client.revoke(None, places(0))
        return records(0, 3) + records(1, 5)

    client.steps = [rebalance]
    after = source.poll(10)

    assert (after.batch.partitions, after.batch.offsets) == ([1], [5])
    assert not source.owns(before)
    assert source.owns(after)


def test_a_partition_taken_and_given_back_in_one_poll_is_read_again(
    source: Source, client: Scripted
) -> None:
    """What was dropped of it must not be skipped."""
    client.committed_offsets = {0: 1}

    def rebalance() -> list[Record]:
        client.revoke(None, places(0))
        client.assign(None, places(0))
        return records(0, 1, 2)

    client.steps = [rebalance]
    polled = source.poll(10)

    assert polled.batch.offsets == []
    assert client.sought == [(0, 1)]


def test_a_record_that_strays_in_while_idling_makes_the_batch_void(
    source: Source, client: Scripted
) -> None:
    """From a partition assigned during the wait: it would be skipped."""
    polled = source.poll(10)
    client.steps = [lambda: records(0, 1)]

    source.idle(0.05)

    assert not source.owns(polled)
    source.rewind()
    assert source.owns(polled)


def test_an_unanswered_question_while_idling_is_no_end(source: Source, client: Scripted) -> None:
    """The loop rewinds after it; nothing is raised out of a wait."""
    client.unanswered = True
    client.assign(None, places(2))
    polled = source.poll(10)
    client.steps = [lambda: [Record(2, -1001, KafkaError(KafkaError._AUTO_OFFSET_RESET))]]

    source.idle(0.05)

    assert not source.owns(polled)
    assert client.paused == set(), "what is paused for ever stands still for ever"


def test_a_partition_of_another_member_is_not_stopped(source: Source, client: Scripted) -> None:
    """It may be given back before the stop is over."""
    client.revoke(None, places(0))

    source.stop(0, "because")
    source.stop(1, "because")

    assert source.stopped == {1: "because"}


@pytest.mark.parametrize("answered", [True, False])
def test_what_left_us_paused_is_read_when_it_comes_back(
    source: Source, client: Scripted, answered: bool
) -> None:
    """Held, stopped, or idled over: the client remembers the pause, and it would stand still."""

    def leave() -> list[Record]:
        client.revoke(None, places(0))
        return []

    client.steps = [leave]
    source.idle(0.05)
    source.hold(1, 4, Pause(PauseKind.SCHEMA, "because"))
    client.revoke(None, places(1))

    client.unanswered = not answered
    client.assign(None, places(0, 1))

    assert client.paused == set()


def test_a_lost_position_of_a_partition_that_left_is_not_ours_to_begin(
    source: Source, client: Scripted
) -> None:
    """Its owner may have committed meanwhile; a first start would take the group back."""

    def rebalance() -> list[Record]:
        client.revoke(None, places(0))
        return [Record(0, -1001, KafkaError(KafkaError._AUTO_OFFSET_RESET)), *records(1, 4)]

    before = client.commits.copy()
    client.steps = [rebalance]

    source.poll(10)

    assert client.commits == before


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_commit_that_failed_is_sent_again_unless_a_newer_one_was(
    source: Source, client: Scripted, asynchronous: bool
) -> None:
    """After the last record of a quiet partition no other commit would cover it."""
    client.steps = [lambda: records(0, 1, 2) + records(1, 8)]
    refused = KafkaError(KafkaError.STALE_MEMBER_EPOCH)
    client.refusal = None if asynchronous else refused
    source.commit(source.poll(10), asynchronous=asynchronous)
    if asynchronous:
        source.commits.answered(
            refused, [TopicPartition("flights", p, o) for p, o in ((0, 3), (1, 9))]
        )
    client.refusal = None
    client.steps = [lambda: records(1, 9)]
    source.commit(source.poll(10), asynchronous=True)

    source.close()

    # The newer one was not answered: it is sent once more too.
    assert client.commits[-2:] == [{1: 10}, {0: 3, 1: 10}]


def test_a_batch_of_before_a_partition_left_and_came_back_is_not_committed(
    source: Source, client: Scripted
) -> None:
    """Meanwhile its owner went further; the group would be taken back."""
    client.steps = [lambda: records(0, 1, 2) + records(1, 4)]
    polled = source.poll(10)
    client.committed_offsets = {0: 7, 1: 4}
    client.revoke(None, places(0))
    client.assign(None, places(0))

    source.commit(polled, asynchronous=True)

    assert client.commits[-1] == {1: 5}


def test_offsets_that_failed_before_a_rewind_are_not_sent_after_it(
    source: Source, client: Scripted
) -> None:
    """What is read again is committed again, from the beginning."""
    client.steps = [lambda: records(0, 1, 2)]
    source.commit(source.poll(10), asynchronous=True)
    source.rewind()
    source.commits.answered(
        KafkaError(KafkaError.STALE_MEMBER_EPOCH), [TopicPartition("flights", 0, 3)]
    )
    before = client.commits.copy()

    source.close()

    assert client.commits == before


def test_rows_of_a_stopped_partition_are_left_out(source: Source, client: Scripted) -> None:
    """Should pausing not have been heard."""
    source.stop(0, "because")
    client.steps = [lambda: records(0, 1) + records(1, 1)]

    assert source.poll(10).batch.partitions == [1]


def test_caution_finds_the_record_and_ends() -> None:
    """A binary search: about two steps a halving, and whole batches again afterwards."""
    bad, offset, steps = 123, 0, 0
    caution = CautionState(4000, 4000)
    while offset < 300:
        size = min(caution.limit, 300 - offset)
        messages: Any = records(0, *range(offset, offset + size))
        batch = to_batch("t", 0, messages)
        steps += 1
        if offset <= bad < offset + size and size > 1:
            caution.narrow(batch)
        else:
            offset += size
            caution.passed(batch, {0})

    assert steps <= 30
    assert caution.limit == 4000


def test_caution_does_not_wait_for_a_stopped_partition() -> None:
    """The others would go on one record a batch."""
    caution = CautionState(4000, 4000)
    zero: Any = records(0, 1, 2)
    one: Any = records(1, 1)
    caution.narrow(to_batch("t", 0, zero))

    caution.passed(to_batch("t", 0, one), {1})

    assert caution.limit == 4000
