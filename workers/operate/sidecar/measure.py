"""How the others of a topic fare, watched for a while. Reads only, and joins no group."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from workers.errors import ClientHalt
from workers.operate.look import Cluster
from workers.operate.sidecar.look import ends, offsets
from workers.operate.sidecar.sight import Offsets
from workers.stream.clients import range_config
from workers.topology import Broker, Worker

PAUSE = 0.25
"""Seconds between two looks."""
CREATE_TIME = 1


@dataclass(frozen=True, slots=True)
class Pace:
    """One neighbour in a window: committed records a second, and its lag in offsets."""

    group: str
    per_second: float
    lag_first: int
    lag_last: int
    lag_most: int


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen in one stretch of time.

    `arrival` is how long after its timestamp a record of the source could be read, where its
    producer stamped it; `answers` is how long the brokers took to say where the source ends. Both
    in milliseconds: median and 99th percentile, None where nothing was seen.
    """

    name: str
    seconds: float
    arrived: int
    neighbours: tuple[Pace, ...]
    arrival: tuple[float, float] | None
    answers: tuple[float, float] | None

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(slots=True)
class _WatchState:
    ends: list[Offsets] = field(default_factory=list)
    committed: dict[str, list[Offsets]] = field(default_factory=dict)
    answers: list[float] = field(default_factory=list)
    arrival: list[float] = field(default_factory=list)


class Watch:
    """Watches a worker's source and the groups that read it beside the worker."""

    def __init__(
        self, cluster: Cluster, broker: Broker, worker: Worker, groups: Sequence[str]
    ) -> None:
        self._cluster = cluster
        self._broker = broker
        self._worker = worker
        self._groups = tuple(groups)

    def window(self, name: str, seconds: float, going: Callable[[], None] = lambda: None) -> Window:
        """Watch for so long. `going` is called at each look, and may raise.

        Raises:
            BrokerUnreachable: no answer.
            ClientHalt: the client or the broker refuses.
        """
        source, seen = self._worker.input.topic, _WatchState()
        reader = _tail(self._broker, self._worker, ends(self._cluster, source))
        began = time.monotonic()
        try:
            while True:
                going()
                _look(self._cluster, source, self._groups, seen)
                if time.monotonic() - began >= seconds and len(seen.ends) > 1:
                    break
                _read(reader, seen)
                threading.Event().wait(PAUSE)
        finally:
            reader.close()
        took = time.monotonic() - began
        return Window(
            name,
            round(took, 3),
            sum(seen.ends[-1].values()) - sum(seen.ends[0].values()),
            tuple(_pace(group, seen, took) for group in self._groups),
            _shares(seen.arrival),
            _shares(seen.answers),
        )


def _tail(broker: Broker, worker: Worker, at: Offsets) -> Consumer:
    """A reader of what comes from now on: no group, no commit."""
    properties = {
        **range_config(broker, worker),
        "client.id": f"{worker.name}.sidecar",
        "enable.partition.eof": False,
        "auto.offset.reset": "latest",
        "queued.max.messages.kbytes": 1024,
    }
    try:
        reader = Consumer(properties)
    except KafkaException as error:
        raise ClientHalt(f"the consumer refuses its properties: {error.args[0].str()}") from error
    reader.assign([TopicPartition(worker.input.topic, n, offset) for n, offset in at.items()])
    return reader


def _look(cluster: Cluster, source: str, groups: Sequence[str], seen: _WatchState) -> None:
    began = time.monotonic()
    seen.ends.append(ends(cluster, source))
    seen.answers.append((time.monotonic() - began) * 1000)
    for group in groups:
        seen.committed.setdefault(group, []).append(offsets(cluster, group).get(source, {}))


def _read(reader: Consumer, seen: _WatchState) -> None:
    messages = reader.consume(1000, 0.01)
    now = time.time() * 1000
    for message in messages:
        kind, stamp = message.timestamp()
        if message.error() is None and kind == CREATE_TIME:
            seen.arrival.append(now - stamp)


def _pace(group: str, seen: _WatchState, seconds: float) -> Pace:
    found = seen.committed[group]
    lags = [
        sum(max(0, end.get(number, at) - at) for number, at in done.items())
        for end, done in zip(seen.ends, found, strict=True)
    ]
    moved = sum(at - found[0].get(number, at) for number, at in found[-1].items())
    return Pace(group, round(moved / seconds, 1), lags[0], lags[-1], max(lags))


def _shares(values: list[float]) -> tuple[float, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    last = len(ordered) - 1
    return round(ordered[last // 2], 1), round(ordered[int(last * 0.99)], 1)


def slowed(before: Window, during: Window, tolerance: float) -> list[str]:
    """Neighbours that committed fewer records a second by more than `tolerance`, and fell behind.

    Fewer records alone say nothing: fewer may have come.
    """
    was = {pace.group: pace for pace in before.neighbours}
    found = []
    for now in during.neighbours:
        then = was.get(now.group)
        if then is None or now.per_second >= then.per_second * (1 - tolerance):
            continue
        if now.lag_last > max(now.lag_first, then.lag_most):
            found.append(now.group)
    return found
