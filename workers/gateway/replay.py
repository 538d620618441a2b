"""Spilled decisions into their topic: each once, whatever was there already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from workers.errors import Retry
from workers.gateway.spill import Places, Segment, Spilled
from workers.stream.clients import Config
from workers.stream.failures import translate, translated

ASK = 10.0
IdsOf = Callable[[Sequence[bytes]], list[str]]


@dataclass(frozen=True, slots=True)
class Replay:
    """Writes segments. `ids_of` has, by topic, what reads decision ids off records.

    What a segment holds may have reached the broker before it was spilled, or in a replay that was
    killed: the topic is read from the segment's offsets to its end, and only what is not there is
    written.
    """

    producer: Config
    consumer: Config
    ids_of: Mapping[str, IdsOf]

    def write(self, segment: Segment) -> int:
        """How many records had to be written; when this returns the broker holds all.

        Raises:
            Retry: it is not known whether it does.
        """
        wanted = {name: record for record in segment.records for name in self._ids([record])}
        with translated("replaying spilled decisions"):
            there = self._there(segment.since, {record.topic for record in segment.records})
            missing = [record for name, record in wanted.items() if name not in there]
            self._produce(missing)
        return len(missing)

    def _ids(self, records: Sequence[Spilled]) -> list[str]:
        return [self.ids_of[r.topic]([r.value])[0] for r in records if r.topic in self.ids_of]

    def _there(self, since: Places, topics: set[str]) -> set[str]:
        """Decision ids that the topics have from these offsets on."""
        consumer = Consumer(self.consumer)
        try:
            found: set[str] = set()
            for topic in topics & self.ids_of.keys():
                found |= self._read(consumer, topic, since)
            return found
        finally:
            consumer.close()

    def _read(self, consumer: Consumer, topic: str, since: Places) -> set[str]:
        known = consumer.list_topics(topic, timeout=ASK).topics[topic].partitions
        ends, begins = {}, []
        for number in known:
            place = TopicPartition(topic, number)
            low, high = consumer.get_watermark_offsets(place, timeout=ASK)
            begin = max(low, since.get((topic, number), low))
            if begin < high:
                ends[number] = high
                begins.append(TopicPartition(topic, number, begin))
        consumer.assign(begins)
        found: set[str] = set()
        while ends:
            messages = consumer.consume(1000, 0.2)
            for message in messages:
                if (error := message.error()) is not None:
                    _ended(error, message, ends)
                elif (message.offset() or 0) + 1 >= ends.get(message.partition() or 0, 0):
                    ends.pop(message.partition() or 0, None)
            values = [m.value() or b"" for m in messages if m.error() is None and m.value()]
            found.update(self.ids_of[topic](values) if values else ())
        return found

    def _produce(self, records: Sequence[Spilled]) -> None:
        failed: list[KafkaError] = []

        def report(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error)

        producer = Producer({**self.producer, "on_delivery": report})
        produce: Callable[..., None] = producer.produce
        for topic, key, value, stamp in records:
            while True:
                try:
                    produce(topic, value, key, timestamp=stamp)
                    break
                except BufferError:
                    producer.poll(0.05)
        left = producer.flush(ASK)
        if failed:
            raise translate(failed[0], "replaying spilled decisions")
        if left:
            producer.purge()
            raise Retry(f"{left} spilled decisions are not acknowledged")


def _ended(error: KafkaError, message: Message, ends: dict[int, int]) -> None:
    """The end of a partition may be offsets without records: those of transactions' markers.

    Raises:
        KafkaException: anything else.
    """
    if error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    ends.pop(message.partition() or 0, None)


def reading(config: Config, **changes: Any) -> Config:
    """A consumer that reads topics without a group, to their very end, uncommitted records too."""
    return {
        **config,
        # The client wants a name; nobody subscribes, so nobody joins it.
        "group.id": "gateway-without-commits",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "allow.auto.create.topics": False,
        "auto.offset.reset": "earliest",
        # Ours are outside of transactions: they are there although another's is still open.
        "isolation.level": "read_uncommitted",
        "enable.partition.eof": True,
        **changes,
    }
