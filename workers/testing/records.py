"""Producing what a test wants to see enriched, and reading what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from workers.contracts.framing import Header


@dataclass(frozen=True, slots=True)
class Sent:
    """A record to be produced."""

    value: bytes | None
    key: bytes | None = None
    headers: list[Header] = field(default_factory=list)
    timestamp: int = 0
    partition: int = -1


@dataclass(frozen=True, slots=True)
class OutRecord:
    """A record as a downstream reader gets it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    timestamp: tuple[int, int]

    def header(self, name: str) -> str:
        """The last header of that name, as text; empty where there is none."""
        found = [content for key, content in self.headers if key == name]
        return (found[-1] or b"").decode() if found else ""


class Sender:
    """An idempotent producer that partitions by key as Java's does."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._failed: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "log_level": 0,
                "delivery.report.only.error": True,
                "on_delivery": self._report,
            }
        )

    def _report(self, error: object, _: Message) -> None:
        if error is not None:
            self._failed.append(str(error))

    def send(self, topic: str, sent: Sent) -> None:
        """Hand a record over; waits while the queue is full."""
        produce: Callable[..., None] = self._producer.produce
        while True:
            try:
                produce(
                    topic,
                    sent.value,
                    sent.key,
                    sent.partition,
                    timestamp=sent.timestamp,
                    headers=sent.headers,
                )
                break
            except BufferError:
                self._producer.poll(0.05)

    def flush(self) -> None:
        """Wait until the broker holds everything.

        Raises:
            RuntimeError: not all was acknowledged within a minute.
        """
        left = self._producer.flush(60)
        if left or self._failed:
            raise RuntimeError(
                f"{left} records not acknowledged, {len(self._failed)} failed: {self._failed[:3]}"
            )


def produce(bootstrap_servers: str, topic: str, records: Iterable[Sent]) -> int:
    """Write records and wait until the broker holds them all; how many they were.

    Raises:
        RuntimeError: not all were acknowledged.
    """
    sender, count = Sender(bootstrap_servers), 0
    for sent in records:
        sender.send(topic, sent)
        count += 1
    sender.flush()
    return count


class Reader:
    """Reads topics from their beginning as a downstream team would: committed records only."""

    def __init__(self, bootstrap_servers: str, *topics: str) -> None:
        """Every partition of `topics`, without a group.

        Raises:
            TimeoutError: one of them is not there.
        """
        self.records: list[OutRecord] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "reader-without-commits",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(*place, 0) for place in self._places(topics)])

    def _places(self, topics: Iterable[str]) -> list[tuple[str, int]]:
        # What was made a moment ago is not known to every broker yet.
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            known = self._consumer.list_topics(timeout=30).topics
            if all(topic in known for topic in topics):
                return [(topic, p) for topic in topics for p in known[topic].partitions]
            time.sleep(0.1)
        self.close()
        raise TimeoutError(f"not all of {', '.join(topics)} are there")

    def read(self, seconds: float) -> list[OutRecord]:
        """What arrives within that time; it is kept in `records` too."""
        got = []
        for message in self._consumer.consume(5000, seconds):
            if message.error() is None:
                got.append(_record(message))
        self.records.extend(got)
        return got

    def until(
        self, enough: Callable[[list[OutRecord]], bool], seconds: float = 60.0
    ) -> list[OutRecord]:
        """Read on until `enough` says so of all records.

        Raises:
            TimeoutError: it never did.
        """
        deadline = time.monotonic() + seconds
        while not enough(self.records):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.records)} records after {seconds:g} s")
            self.read(0.1)
        return self.records

    def close(self) -> None:
        """End the consumer."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()


def _record(message: Message) -> OutRecord:
    return OutRecord(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        key=message.key(),
        value=message.value(),
        headers=list(message.headers() or []),  # type: ignore[arg-type]
        timestamp=message.timestamp(),
    )
