"""What a worker knows of itself at one moment, for whoever asks from another thread.

The loop puts a new snapshot in the place of the last one; nobody else ever asks its consumer: calls
into it are taken one at a time, and a poll lasts as long as it likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class Phase(StrEnum):
    """Where a worker is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


class PauseKind(StrEnum):
    """Why a partition of ours is not read."""

    SCHEMA = "schema"
    """Records need a schema that is being looked up."""
    STOPPED = "stopped"
    """It cannot be read or written on, and is tried again."""
    BREAKER = "breaker"
    """Too many dead letters."""
    RETRY = "retry"
    """Records of a retry topic wait for their time."""
    SEQUENCE = "sequence"
    """A key's last dead letters are being replayed."""
    OPERATOR = "operator"
    """Somebody said so."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A partition is not read, and why."""

    kind: PauseKind
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionView:
    """One partition of ours.

    `position` is the next offset that is not done: everything before it is settled. `end` is where
    the log ended when we last heard of it. `lag` is in records; markers of transactions count as
    records until the end of the log is seen. `oldest` is the timestamp (ms UTC) of the oldest
    record that is not done, or the latest moment before it that is known; None: nothing waits, or
    nothing is known of it. `trend` is by how many records a second the lag grew over the last
    minute.
    """

    partition: int
    position: int | None = None
    end: int | None = None
    lag: int | None = None
    oldest: int | None = None
    trend: float | None = None
    pause: Pause | None = None

    def time_lag(self, now: int) -> float | None:
        """Seconds that the oldest record not done has waited, at `now` (ms UTC).

        0 when caught up; None while nothing is known.
        """
        if self.lag == 0:
            return 0.0
        return None if self.oldest is None else max(0.0, (now - self.oldest) / 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """What decides in one block of the output. `alias` None: the version is pinned."""

    block: str
    name: str
    version: str
    alias: str | None
    bypassed: str | None
    backend: str
    canary: str | None = None


@dataclass(frozen=True, slots=True)
class ProducerView:
    """Can the worker write? `since` is monotonic; `why` is empty while it is well."""

    well: bool = False
    since: float = 0.0
    why: str = "not connected yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A worker at one moment. Never changes.

    Times without a unit are seconds of the monotonic clock; `started` and `taken` are ms UTC.
    `last_poll` is when the loop last came back from the group; `last_progress` when it last settled
    a batch; `publishing` since when a batch has been on its way to the broker, None if none is.
    """

    build: str = ""
    worker: str = ""
    instance: str = ""
    started: int = 0
    taken: int = 0
    phase: Phase = Phase.STARTING
    at: float = 0.0
    last_poll: float = 0.0
    last_progress: float = 0.0
    publishing: float | None = None
    assigned: bool = False
    """Has the group given us an assignment, be it empty, since the start?"""
    partitions: tuple[PartitionView, ...] = ()
    models: tuple[ModelView, ...] = ()
    contracts: tuple[str, ...] = ()
    contracts_refused: str | None = None
    """Why newer contracts are not in use, if so."""
    paused: str | None = None
    """What an operator's pause says that covers the worker or some of its partitions."""
    producer: ProducerView = ProducerView()
    counts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """As `worker.progress` logs them."""

    @property
    def lag(self) -> int | None:
        """Records not done, of all partitions; None while one is not known."""
        known = [found.lag for found in self.partitions if found.lag is not None]
        return sum(known) if len(known) == len(self.partitions) else None

    def time_lag(self, now: int) -> float | None:
        """The longest of all partitions; None where none is known."""
        found = [seconds for p in self.partitions if (seconds := p.time_lag(now)) is not None]
        return max(found, default=None if self.partitions else 0.0)


class Board:
    """Where a worker's newest snapshot is.

    One thread writes, any may read: what is swapped is one reference.
    """

    def __init__(self, first: Snapshot) -> None:
        self._snapshot = first
        self._polled = first.last_poll

    @property
    def snapshot(self) -> Snapshot:
        """The newest, with the newest sign of life."""
        return replace(self._snapshot, last_poll=max(self._polled, self._snapshot.last_poll))

    def put(self, snapshot: Snapshot) -> None:
        """Replace it."""
        self._snapshot = snapshot

    def alive(self, now: float) -> None:
        """The loop came back from the group at `now`."""
        self._polled = now
