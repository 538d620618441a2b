"""A batch on its way to the broker, and what the two threads that know of it tell each other."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import TopicPartition

from workers.errors import Retry
from workers.stream.records import Record


@dataclass(slots=True)
class WatchState:
    """What a publish and the one who waits for it tell each other.

    `abandoned`: nobody waits any more. `seen`: when the publish last showed that it is alive.
    """

    abandoned: threading.Event = field(default_factory=threading.Event)
    seen: float = 0.0

    def pulse(self, now: float, doing: str) -> None:
        """Alive; and raise `Retry` when nobody waits any more."""
        self.seen = now
        if self.abandoned.is_set():
            raise Retry(f"abandoned while {doing}")


@dataclass(frozen=True, slots=True)
class Work:
    """A batch's records, how many they are, and the input offsets that they settle.

    `metadata` is the group's as it was when the batch was polled.
    """

    records: Iterable[Record]
    count: int
    offsets: list[TopicPartition]
    metadata: Any
    watch: WatchState = field(default_factory=WatchState)


def topic_partitions(topic: str, offsets: Mapping[int, int]) -> list[TopicPartition]:
    """The client's form of offsets."""
    return [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
