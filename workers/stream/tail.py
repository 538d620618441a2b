"""The dead-letter topic and its ledger, followed to their ends beside the stream.

Read with `assign` and `read_committed`; no group is joined. To be caught up means to have read to
where the topics ended when that was asked, records in open transactions included: what another
member has just committed may stand behind a transaction that has not ended, and the client hands
nothing out that is behind one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from workers.enrich.batch import Batch
from workers.errors import Retry
from workers.stream.failures import TopicRefused, translate, translated
from workers.stream.messages import to_batch

ASK = 10.0
"""Seconds a question to the broker may take."""
CHUNK = 1000
"""Records asked of the client at once."""

Where = tuple[str, int]


class Tail:
    """Two topics, read on from their beginning. One thread calls it."""

    def __init__(self, reader: Consumer, asker: Consumer, topics: tuple[str, ...]) -> None:
        """Takes over both. `reader` reads committed records and tells where a log ends; `asker`,
        which reads uncommitted ones, is asked where that is.
        """
        self._reader = reader
        self._asker = asker
        self._topics = topics
        self._ends: dict[Where, int] = {}
        self._next: dict[Where, int] = {}

    def look(self) -> dict[Where, int]:
        """Take note of where the topics end now; where they begin. New partitions are read too.

        Raises:
            Retry: the broker does not answer.
        """
        begins: dict[Where, int] = {}
        for topic in self._topics:
            for partition in self._partitions(topic):
                place = TopicPartition(topic, partition)
                with _asking(f"reading the bounds of {topic} [{partition}]"):
                    low, high = self._asker.get_watermark_offsets(place, timeout=ASK)
                begins[topic, partition], self._ends[topic, partition] = low, high
        fresh = begins.keys() - self._next.keys()
        if fresh:
            with _asking("reading dead letters and their ledger"):
                self._reader.incremental_assign(
                    [TopicPartition(*where, begins[where]) for where in sorted(fresh)]
                )
            self._next.update({where: begins[where] for where in fresh})
        return begins

    def _partitions(self, topic: str) -> list[int]:
        with _asking(f"asking for {topic}"):
            found = self._asker.list_topics(topic, timeout=ASK).topics[topic]
        if found.error is not None:
            raise Retry(f"{topic}: {found.error.str()}")
        return sorted(found.partitions)

    @property
    def caught_up(self) -> bool:
        """Was everything read that was there at the last look?"""
        return all(self._next[where] >= end for where, end in self._ends.items())

    def read(self, seconds: float) -> Iterator[Batch]:
        """What has come; waits so long for it.

        Raises:
            Retry: the broker refuses us.
        """
        while True:
            with _asking("reading dead letters and their ledger"):
                got = self._reader.consume(CHUNK, seconds)
            records = [message for message in got if self._take(message)]
            for topic in self._topics:
                if own := [message for message in records if message.topic() == topic]:
                    yield to_batch(topic, 0, own)
            if len(got) < CHUNK:
                return

    def _take(self, message: Message) -> bool:
        """Is it a record? Takes note of how far was read."""
        error = message.error()
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            meant = translate(error, f"reading {topic}")
            if not isinstance(meant, Retry):
                raise meant
            # Lost connections, a moved leader: the client goes on by itself.
            return False
        if topic is None or partition is None or offset is None:
            return False
        # At the end of the log the offset is that of the record to come.
        self._next[topic, partition] = offset + (error is None)
        return error is None

    def close(self) -> None:
        """End both consumers."""
        self._reader.close()
        self._asker.close()


@contextmanager
def _asking(doing: str) -> Iterator[None]:
    """A topic that is gone is an outage here: there is no record yet whose partition could stop."""
    try:
        with translated(doing):
            yield
    except TopicRefused as refused:
        raise Retry(str(refused)) from refused
