"""Offsets that a consumer commits, and those whose commit failed.

At least once, the records are out before their offsets are committed. A commit that fails is
covered by the next one; after the last record of a quiet partition there is none, and whoever takes
it over would repeat what was done. So what failed is sent again, unless something newer was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from workers.stream.clock import Clock
from workers.stream.journal import Event, Journal
from workers.stream.work import topic_partitions

AGAIN = 1.0
"""Seconds until offsets whose commit failed are sent again."""


class Commits:
    """What one consumer committed of its partitions, and still has to."""

    def __init__(self, consumer: Consumer, topic: str, clock: Clock, journal: Journal) -> None:
        self._consumer = consumer
        self._topic = topic
        self._clock = clock
        self._journal = journal
        self._sent: dict[int, int] = {}
        self._owed: dict[int, int] = {}
        self._again_at = 0.0

    def send(self, offsets: Mapping[int, int], *, asynchronous: bool) -> None:
        """Commit; an answer that is no good comes to `failed`, or is an exception of the client."""
        if not offsets:
            return
        self._sent.update(offsets)
        places = topic_partitions(self._topic, offsets)
        for partition in list(offsets):
            self._owed.pop(partition, None)
        try:
            if asynchronous:
                self._consumer.commit(offsets=places, asynchronous=True)
            else:
                self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            self.failed(error.args[0], places)

    def failed(self, error: KafkaError, places: Iterable[TopicPartition]) -> None:
        """A commit was refused, or its answer never came."""
        self._journal.warn(Event.COMMIT_FAILED, why=error.str())
        self._again_at = self._clock.monotonic() + AGAIN
        for place in places:
            # Never what something newer was sent after, nor what is of before a rewind.
            if self._sent.get(place.partition) == place.offset:
                self._owed[place.partition] = place.offset

    def again(self) -> None:
        """Send what failed once more, when it is time."""
        if self._owed and self._clock.monotonic() >= self._again_at:
            self.send(self._owed, asynchronous=True)

    def settle(self) -> None:
        """Send what failed once more, now: somebody else is to read on."""
        self.send(self._owed, asynchronous=False)

    def forget(self, partitions: Collection[int]) -> None:
        """They are read again from what the broker knows, or are another member's now."""
        for partition in partitions:
            self._sent.pop(partition, None)
            self._owed.pop(partition, None)
