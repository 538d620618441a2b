"""Keeps a worker's snapshot new: after a batch or an idle turn, twice a second at most."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from workers.enrich.batch import Batch
from workers.stream.clock import Clock
from workers.stream.lag import LagState
from workers.stream.snapshot import (
    Board,
    ModelView,
    Pause,
    Phase,
    ProducerView,
    Snapshot,
)

EVERY = 0.5
"""Seconds between two snapshots, where nothing of note happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Where a snapshot's contents come from. All of it is asked in the loop's thread."""

    assigned: Callable[[], Collection[int]]
    ends: Callable[[], Mapping[int, int]]
    pauses: Callable[[], Mapping[int, Pause]]
    counts: Callable[[], Mapping[str, Any]]
    models: Callable[[], tuple[ModelView, ...]] = tuple
    contracts: Callable[[], tuple[tuple[str, ...], str | None]] = lambda: ((), None)
    paused: Callable[[], str | None] = lambda: None
    close: Callable[[], None] = lambda: None
    """Called when the worker has stopped."""
    failed: Callable[[Exception], None] = lambda _: None
    """Told, once, of a snapshot that could not be made."""


@dataclass(slots=True)
class _TurnsState:
    """What changes between two snapshots."""

    phase: Phase = Phase.STARTING
    producer: ProducerView = field(default_factory=ProducerView)
    last_progress: float = 0.0
    publishing: float | None = None
    assigned: bool = False
    due: float = 0.0
    failed: bool = False


class Reporter:
    """What a loop tells of itself. Its thread alone calls it; the board may be read by any."""

    def __init__(self, board: Board, lag: LagState, parts: Parts, clock: Clock) -> None:
        """`lag` is the source's."""
        self._board = board
        self._lag = lag
        self._parts = parts
        self._clock = clock
        now = clock.monotonic()
        self._state = _TurnsState(producer=ProducerView(since=now), last_progress=now)

    def phase(self, phase: Phase) -> None:
        """The worker is there in its life from now on."""
        self._state.phase = phase
        self._report(self._clock.monotonic())
        if phase is Phase.STOPPED:
            self._parts.close()

    def turn(self) -> None:
        """The loop came back from the group."""
        now = self._clock.monotonic()
        self._board.alive(now)
        if now >= self._state.due:
            self._report(now)

    def moved(self, member: bool) -> None:  # noqa: FBT001  what it is told
        """Partitions were given to us, or taken; are we a member of the group still?"""
        self._state.assigned = member
        self._state.due = 0.0

    def publishing(self) -> None:
        """A batch is on its way to the broker."""
        self._state.publishing = self._clock.monotonic()

    def settled(self, batch: Batch) -> None:
        """It has arrived."""
        self._lag.settled(batch)
        self._state.last_progress = self._clock.monotonic()
        self._state.publishing = None

    def unwell(self, why: str) -> None:
        """Nothing can be written; what was in hand is read again."""
        producer = self._state.producer
        since = self._clock.monotonic() if producer.well else producer.since
        self._state.producer = ProducerView(well=False, since=since, why=why)
        self._state.publishing = None
        self._state.due = 0.0

    def well(self) -> None:
        """A producer is in place."""
        self._state.producer = ProducerView(well=True, since=self._clock.monotonic(), why="")
        self._state.due = 0.0

    def _report(self, now: float) -> None:
        self._state.due = now + EVERY
        try:
            self._put(now)
        except Exception as error:  # noqa: BLE001  a bug in telling of it must not end a worker
            if not self._state.failed:
                self._state.failed = True
                self._parts.failed(error)

    def _put(self, now: float) -> None:
        state, parts = self._state, self._parts
        wall = self._clock.now()
        contracts, refused = parts.contracts()
        self._board.put(
            replace(
                self._board.snapshot,
                taken=wall,
                phase=state.phase,
                at=now,
                last_poll=now,
                last_progress=state.last_progress,
                publishing=state.publishing,
                assigned=state.assigned,
                partitions=self._lag.views(
                    parts.assigned(), parts.ends(), parts.pauses(), (now, wall)
                ),
                models=parts.models(),
                contracts=contracts,
                contracts_refused=refused,
                paused=parts.paused(),
                producer=state.producer,
                counts=MappingProxyType(dict(parts.counts())),
            )
        )


def first_snapshot(clock: Clock, *, build: str, worker: str, instance: str) -> Snapshot:
    """A worker that is about to start."""
    now = clock.monotonic()
    return Snapshot(
        build=build,
        worker=worker,
        instance=instance,
        started=clock.now(),
        taken=clock.now(),
        at=now,
        last_poll=now,
        last_progress=now,
        producer=ProducerView(since=now),
    )
