"""How far a worker's group is behind, asked of the cluster: for a group that does not run, too."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from workers.errors import ClientHalt
from workers.operate.offsets import Place
from workers.stream.clients import range_config
from workers.stream.failures import translated
from workers.topology import Broker, Worker

PATIENCE = 15.0
"""Seconds after which records that did not come are left out: their time is not known then."""
UNKNOWN_TIME = 0


@dataclass(frozen=True, slots=True)
class GroupLag:
    """One partition. `lag` is None where the group never committed.

    `oldest` is the timestamp (ms UTC) of the first record not done; None where there is none, or it
    did not come in time. `trend` is by how many records a second the lag grew since the first look.
    """

    partition: int
    committed: int | None
    end: int
    lag: int | None
    oldest: int | None
    trend: float | None = None

    def time_lag(self, now: int) -> float | None:
        """Seconds that the oldest record has waited; 0 where none waits, None: not known."""
        if self.lag == 0:
            return 0.0
        return None if self.oldest is None else max(0.0, (now - self.oldest) / 1000)

    def as_data(self, now: int) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "time_lag_seconds": self.time_lag(now)}


@dataclass(frozen=True, slots=True)
class _First:
    """What there is at the committed offset: a record, or nothing but markers up to the end."""

    empty: bool
    stamp: int | None = None


def group_lags(broker: Broker, worker: Worker, found: Sequence[Place]) -> list[GroupLag]:
    """The lag of each partition, by its records: markers alone are no lag.

    Raises:
        ClientHalt: the client or the broker refuses.
        Retry: the cluster is unwell.
    """
    behind = [place for place in found if place.lag]
    firsts = _firsts(broker, worker, behind) if behind else {}
    return [_lag(place, firsts.get(place.partition)) for place in found]


def _lag(place: Place, first: _First | None) -> GroupLag:
    lag = 0 if first is not None and first.empty else place.lag
    oldest = None if first is None else first.stamp
    return GroupLag(place.partition, place.committed, place.end, lag, oldest)


def _firsts(broker: Broker, worker: Worker, behind: Sequence[Place]) -> dict[int, _First]:
    topic = worker.input.topic
    try:
        consumer = Consumer({**range_config(broker, worker), "queued.min.messages": 1})
    except KafkaException as error:
        raise ClientHalt(f"the consumer refuses its properties: {error.args[0].str()}") from error
    found: dict[int, _First] = {}
    starts = [
        TopicPartition(topic, place.partition, max(place.committed or 0, place.begin))
        for place in behind
    ]
    try:
        with translated(f"reading {topic}"):
            consumer.assign(starts)
            deadline = time.monotonic() + PATIENCE
            while len(found) < len(starts) and time.monotonic() < deadline:
                fresh = [m for m in consumer.consume(100, 0.2) if m.partition() not in found]
                for message in reversed(fresh):
                    _note(found, message)
                consumer.pause([TopicPartition(topic, partition) for partition in found])
    finally:
        consumer.close()
    return found


def _note(found: dict[int, _First], message: Message) -> None:
    """Of several the first one counts, so the last is noted first."""
    error, partition = message.error(), message.partition()
    if partition is None:
        return
    if error is None:
        kind, stamp = message.timestamp()
        found[partition] = _First(empty=False, stamp=None if kind == UNKNOWN_TIME else stamp)
    elif error.code() == KafkaError._PARTITION_EOF:
        found[partition] = _First(empty=True)
