"""Offsets that a consumer commits, and those whose commit failed.

At least once, the records are out before their offsets are committed. A commit that fails is
covered by the next one; after the last record of a quiet partition there is none, and whoever takes
it over would repeat what was done. So what failed is sent again, unless something newer was; and
what nobody has answered yet is sent again where a partition or the process goes: a commit that is
on its way when the group begins to change is refused.
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
        """Not known to have arrived."""
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
                self.answered(None, self._consumer.commit(offsets=places, asynchronous=False) or [])
        except KafkaException as error:
            self.answered(error.args[0], places)

    def answered(self, error: KafkaError | None, places: Iterable[TopicPartition]) -> None:
        """The client's `on_commit`: how a commit went. Never raises."""
        refused = list[TopicPartition]()
        for place in places:
            if (why := error or place.error) is not None:
                error = why
                refused.append(place)
            elif self._sent.get(place.partition) == place.offset:
                del self._sent[place.partition]
        if error is not None:
            self._failed(error, refused)

    def _failed(self, error: KafkaError, places: Iterable[TopicPartition]) -> None:
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
        """Send what failed, or was not answered, once more, now: somebody else is to read on."""
        self.send({**self._sent, **self._owed}, asynchronous=False)

    @property
    def owing(self) -> bool:
        """Is there anything of which nobody knows that the broker has it?"""
        return bool(self._sent or self._owed)

    def forget(self, partitions: Collection[int]) -> None:
        """They are read again from what the broker knows, or are another member's now."""
        for partition in partitions:
            self._sent.pop(partition, None)
            self._owed.pop(partition, None)
