"""Reading a range of a topic: without a group's help, and nothing of it is committed.

Where the range ends is asked once, at the start: the offset before which every transaction has
ended (the last stable offset, KIP-98), so that reading to it waits for nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from workers.enrich.batch import Batch
from workers.errors import BrokerUnreachable, ClientHalt, Halt, Retry
from workers.stream.clock import Clock
from workers.stream.failures import TopicRefused, translate, translated
from workers.stream.messages import to_batch
from workers.topology.worker import BatchSettings

ASK = 30.0
"""Seconds a question to the broker may take."""
CHUNK = 1000
"""Records asked of the client at once; between two chunks the bytes so far are looked at."""
PATIENCE = 60.0
"""Seconds without any record of the range after which reading is given up."""
WAIT = 0.1
"""Seconds the client waits for a chunk to be full."""


class Edge(StrEnum):
    """What the log has now."""

    EARLIEST = "earliest"
    LATEST = "latest"


Point = Edge | int | datetime
"""An edge of the log, an offset, or a time: the first record that is not before it."""


class RangeFault(Halt):
    """The range cannot be read, or not whole; names partition, offset and remedy."""


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets of a partition: from `start` to before `end`."""

    partition: int
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


def point(text: str) -> Point:
    """`earliest`, `latest`, an offset, or an ISO 8601 time with its zone.

    Raises:
        ValueError: it is none of these.
    """
    if text in list(Edge):
        return Edge(text)
    if text.isascii() and text.isdecimal():
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r}: neither earliest nor latest, no offset, no time such as "
            "2026-11-24T06:00:00Z"
        ) from error
    if found.tzinfo is None:
        raise ValueError(f"{text!r}: a time needs its zone: {text}Z is UTC")
    return found


class RangeReader:
    """Reads ranges of one topic. Its consumer is assigned, never subscribed."""

    def __init__(
        self, consumer: Consumer, topic: str, settings: BatchSettings, clock: Clock
    ) -> None:
        """Takes over the consumer, which reads committed records and tells where a log ends.

        `settings` say how large a batch grows.
        """
        self._consumer = consumer
        self.topic = topic
        self._settings = settings
        self._clock = clock
        self._ends: dict[int, int] = {}
        self._next: dict[int, int] = {}

    def spans(self, partitions: Collection[int], since: Point, until: Point) -> list[Span]:
        """What is asked for, as offsets: nothing after the end as it is now.

        Raises:
            RangeFault: an offset is not in the log, a range ends before it begins, or an offset is
                asked of several partitions.
            BrokerUnreachable: the broker does not answer.
        """
        if len(partitions) > 1 and any(isinstance(p, int) for p in (since, until)):
            raise RangeFault(
                f"{self.topic} has {len(partitions)} partitions, and an offset is one of a "
                "partition; name it with --partition"
            )
        return [self._span(number, since, until) for number in sorted(partitions)]

    def _span(self, partition: int, since: Point, until: Point) -> Span:
        place = TopicPartition(self.topic, partition)
        low, high = self._bounds(partition)
        start, end = (
            self._offset(place, given, low, high, what)
            for given, what in ((since, "from"), (until, "to"))
        )
        if start > end:
            raise RangeFault(f"{self._name(partition)}: from {start} to {end} is no range")
        return Span(partition, start, end)

    def _offset(self, place: TopicPartition, given: Point, low: int, high: int, what: str) -> int:
        match given:
            case Edge.EARLIEST:
                return low
            case Edge.LATEST:
                return high
            case int():
                if low <= given <= high:
                    return given
                raise RangeFault(
                    f"{self._name(place.partition)}: {what} {given}: the log has [{low}, {high}) "
                    "now; what is before was removed, what is after is not there, or in a "
                    "transaction that has not ended"
                )
            case datetime():
                asked = TopicPartition(self.topic, place.partition, int(given.timestamp() * 1000))
                with _asking(f"looking for {given} in {self._name(place.partition)}"):
                    (found,) = self._consumer.offsets_for_times([asked], timeout=ASK)
                if found.error is not None:
                    raise RangeFault(f"{self._name(place.partition)}: {found.error.str()}")
                # Negative: every record is before that time.
                return high if found.offset < 0 else min(max(found.offset, low), high)

    def _bounds(self, partition: int) -> tuple[int, int]:
        place = TopicPartition(self.topic, partition)
        with _asking(f"reading the bounds of {self._name(partition)}"):
            low, high = self._consumer.get_watermark_offsets(place, timeout=ASK)
        return low, high

    def read(self, spans: Sequence[Span]) -> Iterator[Batch]:
        """Every record of the ranges that is there: in order within a partition.

        Offsets that hold no record (transaction markers, aborted records, what compaction took)
        are passed over.

        Raises:
            RangeFault: retention overtook the reading.
            BrokerUnreachable: for `PATIENCE` seconds nothing came.
            ClientHalt: the broker refuses us.
        """
        left = [span for span in spans if len(span)]
        self._ends = {span.partition: span.end for span in left}
        self._next = {span.partition: span.start for span in left}
        places = [TopicPartition(self.topic, span.partition, span.start) for span in left]
        with _asking(f"reading {self.topic}"):
            self._consumer.assign(places)
            # The client remembers the pause of an earlier range.
            self._consumer.resume(places)
        while self._ends:
            if messages := self._gather():
                yield to_batch(self.topic, self._clock.now(), messages)

    def close(self) -> None:
        """End the consumer."""
        self._consumer.close()

    def _gather(self) -> list[Message]:
        settings, found, size = self._settings, list[Message](), 0
        give_up = self._clock.monotonic() + PATIENCE
        while self._ends and len(found) < settings.max_records and size < settings.max_bytes:
            with _asking(f"reading {self.topic}"):
                got = self._consumer.consume(min(CHUNK, settings.max_records - len(found)), WAIT)
            moved = [message for message in got if self._take(message)]
            found.extend(moved)
            size += sum(map(len, moved))
            if not got and found:
                break
            if not moved and self._ends and self._clock.monotonic() > give_up:
                raise BrokerUnreachable(self._stalled())
        return found

    def _stalled(self) -> str:
        places = ", ".join(f"{self._name(p)} at offset {self._next[p]}" for p in self._ends)
        return (
            f"nothing came for {PATIENCE:g} s: {places}; check the brokers and, if records are "
            "larger than fetch.message.max.bytes, consumer of the worker"
        )

    def _take(self, message: Message) -> bool:
        """Does it belong to the range? Ends partitions that are through."""
        partition, offset = message.partition(), message.offset()
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            self._on_error(error, partition)
            return False
        end = self._ends.get(-1 if partition is None else partition)
        if end is None or partition is None or offset is None:
            return False
        # An end of the log before the range's end is one of a broker that is behind.
        inside = error is None and self._next[partition] <= offset < end
        if inside:
            self._next[partition] = offset + 1
        if offset >= end or self._next[partition] >= end:
            self._through(partition)
        return inside

    def _through(self, partition: int) -> None:
        del self._ends[partition]
        with _asking(f"leaving {self._name(partition)}"):
            # What is written after the range is not fetched.
            self._consumer.pause([TopicPartition(self.topic, partition)])

    def _on_error(self, error: KafkaError, partition: int | None) -> None:
        if error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            # The client looks for the coordinator of a group that we never join.
            return
        if error.code() == KafkaError._AUTO_OFFSET_RESET and partition in self._next:
            raise RangeFault(self._overtaken(partition))
        meant = translate(error, f"reading {self.topic}")
        if isinstance(meant, Halt):
            raise meant
        if isinstance(meant, TopicRefused):
            raise ClientHalt(str(meant))
        # Lost connections, a moved leader: the client goes on by itself, and patience has an end.

    def _overtaken(self, partition: int) -> str:
        wanted, (low, high) = self._next[partition], self._bounds(partition)
        why = (
            f"retention overtook the reading; {low - wanted} offsets are gone"
            if wanted < low
            else "the topic was made anew, or its end was lost"
        )
        return (
            f"{self._name(partition)}: offset {wanted} is outside [{low}, {high}): {why}. "
            "Run it again, from a later place"
        )

    def _name(self, partition: int) -> str:
        return f"{self.topic} [{partition}]"


@contextmanager
def _asking(doing: str) -> Iterator[None]:
    """Nobody tries again here: what a worker would wait out ends the reading."""
    try:
        with translated(doing):
            yield
    except TopicRefused as refused:
        raise ClientHalt(str(refused)) from refused
    except Retry as unwell:
        raise BrokerUnreachable(str(unwell)) from unwell
