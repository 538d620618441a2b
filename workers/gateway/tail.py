"""Follows topics from a place on: every record, in the order of its partition."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from workers.stream.clients import Config

WAIT = 0.1
ASK = 10.0
DRAIN = 2000
Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Read:
    """A record: where it is, key, value, and the time that its partition has for it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    stamp: int


Begin = Callable[[Consumer, str, Sequence[int]], list[TopicPartition]]
"""Where to begin in the partitions of a topic."""


class Tail:
    """A thread with a consumer of its own."""

    def __init__(
        self,
        config: Config,
        topics: Sequence[str],
        begin: Begin,
        take: Callable[[list[Read]], None],
        unwell: Callable[[str | None], None],
    ) -> None:
        """`take` is called in the thread with each batch; `unwell` when that changes, and why."""
        self._config = config
        self._topics = topics
        self._begin = begin
        self._take = take
        self._unwell = unwell
        self._closed = threading.Event()
        self._fault: str | None = None
        self._ends: dict[Place, int] = {}
        self.caught_up = threading.Event()
        """Everything that was there at the start has been taken."""
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self, seconds: float = 2.0) -> None:
        """End."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        consumer = Consumer(self._config)
        try:
            self._open(consumer)
            while not self._closed.is_set():
                self._step(consumer)
        finally:
            consumer.close()

    def _open(self, consumer: Consumer) -> None:
        while not self._closed.is_set():
            try:
                places = list[TopicPartition]()
                for topic in self._topics:
                    known = consumer.list_topics(topic, timeout=ASK).topics[topic].partitions
                    places += self._begin(consumer, topic, sorted(known))
                for place in places:
                    low, high = consumer.get_watermark_offsets(place, timeout=ASK)
                    # All that is there may be older than where we begin.
                    begins = low if place.offset == OFFSET_BEGINNING else place.offset
                    if 0 <= begins < high:
                        self._ends[place.topic, place.partition] = high
                consumer.assign(places)
            except KafkaException as error:
                self._say(error.args[0].str())
                self._closed.wait(1.0)
            else:
                self._say(None)
                self._look_caught_up()
                return

    def _step(self, consumer: Consumer) -> None:
        first = consumer.poll(WAIT)
        if first is None:
            return
        # What is there besides; `consume` would wait for more.
        found = list[Read]()
        for message in (first, *consumer.consume(DRAIN, 0)):
            error = message.error()
            place = (message.topic() or "", message.partition() or 0)
            if error is None:
                stamp = message.timestamp()[1]
                offset = message.offset() or 0
                found.append(Read(*place, offset, message.key(), message.value(), stamp))
                if offset + 1 >= self._ends.get(place, 0):
                    self._ends.pop(place, None)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ends.pop(place, None)
            else:
                self._say(error.str())
        if found:
            self._say(None)
            self._hand_over(found)
        self._look_caught_up()

    def _hand_over(self, found: list[Read]) -> None:
        try:
            self._take(found)
        except Exception as error:  # noqa: BLE001  a dead thread would follow nothing any more
            self._say(f"unexpected {type(error).__name__}")

    def _look_caught_up(self) -> None:
        if not self._ends:
            self.caught_up.set()

    def _say(self, fault: str | None) -> None:
        if fault != self._fault:
            self._fault = fault
            self._unwell(fault)


def newest(count: int) -> Begin:
    """Begin so many records before the end, spread over the partitions."""

    def begin(consumer: Consumer, topic: str, partitions: Sequence[int]) -> list[TopicPartition]:
        places = []
        each = -(-count // max(1, len(partitions)))
        for partition in partitions:
            place = TopicPartition(topic, partition)
            low, high = consumer.get_watermark_offsets(place, timeout=ASK)
            places.append(TopicPartition(topic, partition, max(low, high - each)))
        return places

    return begin


def since(stamp: int) -> Begin:
    """Begin with the first record of this time, in ms, or later."""

    def begin(consumer: Consumer, topic: str, partitions: Sequence[int]) -> list[TopicPartition]:
        asked = [TopicPartition(topic, partition, max(0, stamp)) for partition in partitions]
        found = consumer.offsets_for_times(asked, timeout=ASK)
        places = []
        for place in found:
            offset = place.offset
            if offset < 0:
                # None so new, or a broker that does not know: what is older does no harm.
                offset, _ = consumer.get_watermark_offsets(place, timeout=ASK)
            places.append(TopicPartition(topic, place.partition, offset))
        return places

    return begin
