"""How the others of a topic fare, watched for a while. Reads only, and joins no group."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from workers.enrich.headers import rfc3339
from workers.operate.look import Cluster
from workers.operate.sidecar.arrivals import Arrivals
from workers.operate.sidecar.look import ends, offsets
from workers.operate.sidecar.sight import Offsets
from workers.topology import Broker, Worker

PAUSE = 0.25
"""Seconds between two looks."""


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
    """What was seen in one stretch of time, which `began` then (RFC 3339, UTC).

    `arrival` is how long after its timestamp a record of the source could be read, where its
    producer stamped it; `answers` is how long the brokers took to say where the source ends. Both
    in milliseconds: median and 99th percentile, None where nothing was seen.
    """

    name: str
    began: str
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
    at: list[float] = field(default_factory=list)
    ends: list[Offsets] = field(default_factory=list)
    committed: dict[str, list[Offsets]] = field(default_factory=dict)
    answers: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Between the first look and the last: what lies outside has not been looked at."""
        return self.at[-1] - self.at[0]


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
        began = rfc3339(int(time.time() * 1000))
        with Arrivals(self._broker, self._worker, ends(self._cluster, source)) as arrivals:
            while True:
                going()
                _look(self._cluster, source, self._groups, seen)
                if seen.seconds >= seconds:
                    break
                threading.Event().wait(PAUSE)
        return Window(
            name,
            began,
            round(seen.seconds, 3),
            sum(seen.ends[-1].values()) - sum(seen.ends[0].values()),
            tuple(_pace(group, seen) for group in self._groups),
            _shares(arrivals.milliseconds),
            _shares(seen.answers),
        )


def _look(cluster: Cluster, source: str, groups: Sequence[str], seen: _WatchState) -> None:
    began = time.monotonic()
    seen.at.append(began)
    seen.ends.append(ends(cluster, source))
    seen.answers.append((time.monotonic() - began) * 1000)
    for group in groups:
        seen.committed.setdefault(group, []).append(offsets(cluster, group).get(source, {}))


def _pace(group: str, seen: _WatchState) -> Pace:
    found = seen.committed[group]
    lags = [
        sum(max(0, end.get(number, at) - at) for number, at in done.items())
        for end, done in zip(seen.ends, found, strict=True)
    ]
    moved = sum(at - found[0].get(number, at) for number, at in found[-1].items())
    return Pace(group, round(moved / seen.seconds, 1), lags[0], lags[-1], max(lags))


def _shares(values: Sequence[float]) -> tuple[float, float] | None:
    if not values:
        return None
    median, high = np.percentile(values, [50, 99], method="lower")
    return round(float(median), 1), round(float(high), 1)


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
