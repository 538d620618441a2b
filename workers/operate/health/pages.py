"""What each path answers."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from workers.operate.health.probes import Reason, reasons, stuck
from workers.operate.health.words import Word, words, worst
from workers.stream.clock import Clock
from workers.stream.snapshot import Board, PartitionView, Snapshot

EVERY = 5.0
"""Seconds between two samples of the window."""
WINDOW = 12
"""Samples that status words are made of: a minute."""
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

Metrics = Callable[[], bytes]
"""Renders the metrics of this process as Prometheus reads them."""


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    status: int
    kind: str
    body: bytes


class Answering(Protocol):
    """Answers of a process; one thread calls it."""

    def sample(self) -> None:
        """Take note of how it is now; called every `EVERY` seconds."""
        ...

    def __call__(self, path: str) -> Page:
        """The answer to a path."""
        ...


NOT_FOUND = Page(404, TEXT, b"not found; there are /livez /readyz /metrics /status\n")


class Pages:
    """The answers of one process, from its board. One thread calls it."""

    def __init__(
        self, board: Board, patience: float, clock: Clock, metrics: Metrics | None = None
    ) -> None:
        """Without `metrics` there is no such page."""
        self._board = board
        self._patience = patience
        self._clock = clock
        self._window: deque[Snapshot] = deque(maxlen=WINDOW)
        self._paths: Mapping[str, Callable[[], Page]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/status": self._status,
        }
        if metrics is not None:
            render = metrics
            self._paths = {**self._paths, "/metrics": lambda: Page(200, PROMETHEUS, render())}

    def sample(self) -> None:
        """Take note of how it is now; to be called every `EVERY` seconds."""
        self._window.append(self._board.snapshot)

    def __call__(self, path: str) -> Page:
        """The answer to a path."""
        page = self._paths.get(path)
        return NOT_FOUND if page is None else page()

    def _livez(self) -> Page:
        why = stuck(self._board.snapshot, self._clock.monotonic(), self._patience)
        return as_json(200 if why is None else 503, {"alive": why is None, "why": why or ""})

    def _readyz(self) -> Page:
        found = reasons(self._board.snapshot, self._clock.monotonic(), self._patience)
        ready = not any(reason.blocks for reason in found)
        body = {"ready": ready, "reasons": [_told(reason) for reason in found]}
        return as_json(200 if ready else 503, body)

    def _status(self) -> Page:
        now = self._board.snapshot
        said = words([*self._window, now])
        found = reasons(now, self._clock.monotonic(), self._patience)
        body = shown(now, said, self._clock.monotonic(), self._clock.now())
        body["ready"] = not any(reason.blocks for reason in found)
        body["reasons"] = [_told(reason) for reason in found]
        return as_json(200, body)


def shown(snapshot: Snapshot, said: Mapping[int, Word], now: float, wall: int) -> dict[str, Any]:
    """A snapshot for people and programs. Times of the monotonic clock become seconds ago."""
    producer, publishing = snapshot.producer, snapshot.publishing
    return {
        "worker": snapshot.worker,
        "instance": snapshot.instance,
        "build": snapshot.build,
        "status": worst(dict(said)).value,
        "phase": snapshot.phase.value,
        "started_ms": snapshot.started,
        "taken_ms": snapshot.taken,
        "seconds_since_snapshot": round(now - snapshot.at, 3),
        "seconds_since_poll": round(now - snapshot.last_poll, 3),
        "seconds_since_progress": round(now - snapshot.last_progress, 3),
        "seconds_publishing": None if publishing is None else round(now - publishing, 3),
        "assigned": snapshot.assigned,
        "paused": snapshot.paused,
        "lag": snapshot.lag,
        "time_lag_seconds": _rounded(snapshot.time_lag(wall)),
        "partitions": [_partition(view, said, wall) for view in snapshot.partitions],
        "models": [
            {
                "block": model.block,
                "name": model.name,
                "version": model.version,
                "alias": model.alias,
                "bypassed": model.bypassed,
                "backend": model.backend,
                "canary": model.canary,
            }
            for model in snapshot.models
        ],
        "contracts": list(snapshot.contracts),
        "contracts_refused": snapshot.contracts_refused,
        "producer": {
            "well": producer.well,
            "seconds": round(now - producer.since, 3),
            "why": producer.why,
        },
        "counts": dict(snapshot.counts),
    }


def _partition(view: PartitionView, said: Mapping[int, Word], wall: int) -> dict[str, Any]:
    return {
        "partition": view.partition,
        "status": said.get(view.partition, Word.OK).value,
        "position": view.position,
        "end": view.end,
        "lag": view.lag,
        "time_lag_seconds": _rounded(view.time_lag(wall)),
        "trend": _rounded(view.trend),
        "pause": None
        if view.pause is None
        else {"kind": view.pause.kind.value, "why": view.pause.why},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _told(reason: Reason) -> dict[str, Any]:
    told = {"code": reason.code.value, "why": reason.why, "blocks": reason.blocks}
    return told if reason.partition is None else {**told, "partition": reason.partition}


def as_json(status: int, body: Mapping[str, Any]) -> Page:
    """A document as an answer."""
    return Page(status, JSON, json.dumps(body).encode() + b"\n")
