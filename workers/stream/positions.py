"""Where a partition is read from: the group's committed offset, or the declared first start.

`auto.offset.reset` is `error`, because every other value skips or repeats records in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from confluent_kafka import OFFSET_STORED, Consumer, KafkaError, KafkaException, TopicPartition

from workers.enrich.batch import Batch
from workers.errors import ClientHalt
from workers.stream.failures import Moved, translate, translated
from workers.stream.journal import Event, Journal
from workers.topology import FirstStart, Worker

ASK = 10.0
"""Seconds a question to the broker may take."""


class Positions:
    """Moves partitions of one consumer, and remembers the next offset of each.

    `next` holds the offset after the last record handed out, by partition.
    """

    def __init__(
        self,
        consumer: Consumer,
        worker: Worker,
        journal: Journal,
        placed: Callable[[int, int], None],
    ) -> None:
        """`placed` is told where the group stands in a partition, whenever that is asked."""
        self.next: dict[int, int] = {}
        self._moved: dict[int, int] = {}
        self._consumer = consumer
        self._worker = worker
        self._topic = worker.input.topic
        self._journal = journal
        self._placed = placed

    def to_committed(self, partitions: Collection[int]) -> None:
        """Read on at what the broker says is committed, or at the first start.

        Raises:
            Retry: the broker did not answer, or a partition cannot be moved now.
            ClientHalt: the group never committed and `first_start` is fail.
        """
        if not partitions:
            return
        for place in self._places(partitions)[0]:
            self._seek(place)

    def starts(self, partitions: Collection[int]) -> list[TopicPartition]:
        """Partitions for an assignment: with an offset where the group begins, else at committed.

        Raises:
            Retry: the broker did not answer.
            ClientHalt: the group never committed and `first_start` is fail.
        """
        places, started = self._places(partitions)
        for place in places:
            if place.partition in started:
                self.next[place.partition] = self._moved[place.partition] = place.offset
            else:
                # The client asks again by itself, and waits for a transaction that is still open.
                place.offset = OFFSET_STORED
        return places

    def learn(self, partition: int) -> None:
        """Find out where the group stands in a partition of which nothing was read yet.

        Raises:
            Retry: or ClientHalt, as `starts`.
        """
        places, started = self._places([partition])
        if started:
            self._seek(places[0])
        else:
            self.next[partition] = places[0].offset

    def _places(self, partitions: Collection[int]) -> tuple[list[TopicPartition], set[int]]:
        """Where each is read from, and which of them begin; their start is committed at once."""
        asked = [TopicPartition(self._topic, partition) for partition in sorted(partitions)]
        with translated("reading committed offsets"):
            committed = self._consumer.committed(asked, timeout=ASK)
        started = []
        for place in committed:
            if place.error is not None:
                raise translate(place.error, f"reading the offset of {_name(place)}")
            if place.offset < 0:
                place.offset = self._first_offset(place)
                started.append(place)
        self._commit(started)
        for place in committed:
            self._placed(place.partition, place.offset)
        return committed, {place.partition for place in started}

    def advance(self, batch: Batch) -> Batch:
        """The batch without rows handed out before; the positions are after it then."""
        expected, fresh = self.next, list[int]()
        places = zip(batch.partitions, batch.offsets, strict=True)
        for row, (partition, offset) in enumerate(places):
            # Within one poll a move may hand out the same records twice.
            if offset >= expected.get(partition, 0):
                expected[partition] = offset + 1
                fresh.append(row)
        return batch if len(fresh) == len(batch) else batch.select(fresh)

    def forget(self, partition: int) -> None:
        """The partition is another member's now."""
        self.next.pop(partition, None)

    def to_next(self, partition: int) -> None:
        """Read on at the position noted here; what the client fetched meanwhile is dropped.

        Raises:
            Retry: the partition cannot be moved now.
        """
        self._seek(TopicPartition(self._topic, partition, self.next[partition]))

    def again(self, partition: int) -> bool:
        """Repeat the last move if nothing was read since: an error sent before it came after it."""
        start = self._moved.get(partition)
        if start is None or start != self.next.get(partition):
            return False
        self._seek(TopicPartition(self._topic, partition, start))
        return True

    def overtaken(self, partition: int) -> str | None:
        """Why the next offset of a partition cannot be read; None where the log still has it.

        Raises:
            Retry: the broker did not answer.
        """
        wanted, place = self.next[partition], TopicPartition(self._topic, partition)
        low, high = self._bounds(place)
        if low <= wanted <= high:
            return None
        if wanted < low:
            cause = f"retention overtook the group; {low - wanted} records are gone"
        else:
            cause = "the topic was made anew, or its end was lost"
        return (
            f"{_name(place)}: offset {wanted} is outside [{low}, {high}): {cause}. Set the group's "
            "offset where it should go on: workers offsets reset"
        )

    def _first_offset(self, place: TopicPartition) -> int:
        low, high = self._bounds(place)
        match self._worker.first_start:
            case FirstStart.EARLIEST:
                return low
            case FirstStart.LATEST:
                return high
            case FirstStart.FAIL:
                raise ClientHalt(
                    f"group {self._worker.group} has no offset for {_name(place)} and first_start "
                    "is fail; set the group's offsets, or declare earliest or latest"
                )

    def _commit(self, started: list[TopicPartition]) -> None:
        """At once: `latest` must mean the same after a crash before the first batch."""
        if not started:
            return
        with translated(f"committing the start of {self._topic}"):
            self._consumer.commit(offsets=started, asynchronous=False)
        starts = {place.partition: place.offset for place in started}
        self._journal.info(Event.FIRST_START, offsets=starts)

    def _bounds(self, place: TopicPartition) -> tuple[int, int]:
        with translated(f"reading the bounds of {_name(place)}"):
            low, high = self._consumer.get_watermark_offsets(place, timeout=ASK)
        return low, high

    def _seek(self, place: TopicPartition) -> None:
        try:
            self._consumer.seek(place)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:
                raise translate(error.args[0], f"moving to {_name(place)}") from error
            self._assign_at(place)
        self.next[place.partition] = self._moved[place.partition] = place.offset

    def _assign_at(self, place: TopicPartition) -> None:
        """Not active (librdkafka #3959): after a reset error only an assignment starts it again.

        Rare: a partition gets its first offset with its assignment.
        """
        try:
            self._consumer.incremental_unassign([place])
            self._consumer.incremental_assign([place])
        except KafkaException as error:
            # A rebalance is on its way; what it leaves us is positioned after it.
            raise Moved(f"{_name(place)} cannot be moved now: {error.args[0].str()}") from error


def _name(place: TopicPartition) -> str:
    return f"{place.topic} [{place.partition}]"
