"""What a worker says and counts. Names are a closed list; no text holds a payload."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import structlog

from workers.contracts.notes import ContractEvent
from workers.enrich.batch import NOTHING, Explained, Outcomes
from workers.models.following import ModelEvent
from workers.models.shadow.counts import CountsState as ShadowCountsState
from workers.models.shadow.counts import ShadowEvent
from workers.stream.clock import Clock
from workers.stream.failures import without_answer
from workers.telemetry import names
from workers.telemetry.events import TelemetryEvent
from workers.telemetry.kinds import Metric
from workers.telemetry.registry import Registry

PROGRESS_SECONDS = 10.0
QUIET_SECONDS = 10.0


class Event(StrEnum):
    """Every event name a worker logs."""

    STARTED = "worker.started"
    PROGRESS = "worker.progress"
    STOPPING = "worker.stopping"
    DRAINED = "worker.drained"
    DRAIN_ABANDONED = "worker.drain_abandoned"
    ASSIGNED = "partitions.assigned"
    REVOKED = "partitions.revoked"
    LOST = "partitions.lost"
    STOPPED = "partition.stopped"
    TRIED_AGAIN = "partition.tried_again"
    FIRST_START = "partition.first_start"
    UNWELL = "kafka.unwell"
    RECOVERED = "kafka.recovered"
    COMMITTED = "batch.committed"
    NARROWED = "batch.narrowed"
    COMMIT_FAILED = "offsets.commit_failed"
    PRODUCER_REPLACED = "producer.replaced"
    CLIENT = "kafka.client"
    HELD = "partition.held"
    RELEASED = "partition.released"
    BREAKER_OPEN = "partition.breaker_open"
    BREAKER_CLOSED = "partition.breaker_closed"
    PROBING = "partition.probing"
    CRASH_NOTED = "crash.noted"
    CRASH_FOUND = "crash.found"
    CRASH_NOT_NOTED = "crash.not_noted"
    CONTRACTS_TAKEN = "contracts.taken"
    CONTRACTS_REFUSED = "contracts.refused"
    MODEL_SERVED = "model.served"
    MODEL_REFUSED = "model.does_not_fit"
    PROCESS_ENDED = "process.ended"
    PAUSED = "worker.paused"
    RESUMED = "worker.resumed"
    HEALTH = "health.listening"
    SNAPSHOT_FAILED = "health.snapshot_failed"
    HEALTH_UNAVAILABLE = "health.unavailable"


AnyEvent = Event | ContractEvent | ModelEvent | ShadowEvent | TelemetryEvent
_COUNTED: Mapping[AnyEvent, tuple[Metric, *tuple[str, ...]]] = {
    Event.ASSIGNED: (names.REBALANCES, "assigned"),
    Event.REVOKED: (names.REBALANCES, "revoked"),
    Event.LOST: (names.REBALANCES, "lost"),
    Event.COMMIT_FAILED: (names.COMMITS_FAILED,),
}
"""Events that have a metric of their own, besides being counted as events."""


@dataclass(slots=True)
class CountsState:
    """Committed outcomes since the start, of this process."""

    enriched: int = 0
    dropped: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    batches: int = 0
    recoveries: int = 0
    tried_again: int = 0
    delayed: int = 0
    refused_models: Counter[str] = field(default_factory=Counter)
    given_up: Counter[str] = field(default_factory=Counter)
    breaches: Counter[str] = field(default_factory=Counter)
    explained: Explained = NOTHING
    shadow: ShadowCountsState | None = None

    def tried(self, rows: int) -> None:
        """So many rows were tried again at once."""
        self.tried_again += rows


class Journal:
    """Logs events and counts committed outcomes."""

    def __init__(self, clock: Clock, registry: Registry | None = None, **bound: Any) -> None:
        """`bound` goes into every line; events are counted in `registry`."""
        self.counts = CountsState()
        self._registry = registry or Registry()
        self._clock = clock
        self._log = structlog.get_logger().bind(**bound)
        self._progress_at = clock.monotonic() + PROGRESS_SECONDS
        self._progress_enriched = 0
        self._held: deque[tuple[AnyEvent, dict[str, Any]]] = deque()

    def soon(self, event: AnyEvent, **fields: Any) -> None:
        """As `info`, with the time of now, but written when `tell` is called.

        Or before the next line of another event, so that lines stand in the order of their times.
        Several that are written at once cost less than as many that are written one by one.
        """
        self._held.append((event, {**fields, "timestamp": time.time_ns()}))

    def tell(self) -> None:
        """Write the lines that are held."""
        while self._held:
            try:
                event, fields = self._held.popleft()
            except IndexError:
                # Another thread was faster.
                return
            self._count(event)
            self._log.info(event.value, **fields)

    def info(self, event: AnyEvent, **fields: Any) -> None:
        """Something an operator may want to know."""
        self._next(event)
        self._log.info(event.value, **fields)

    def warn(self, event: AnyEvent, **fields: Any) -> None:
        """Something that is not well and that the worker deals with."""
        self._next(event)
        self._log.warning(event.value, **fields)

    def error(self, event: AnyEvent, **fields: Any) -> None:
        """Something that needs a person."""
        self._next(event)
        self._log.error(event.value, **fields)

    def _next(self, event: AnyEvent) -> None:
        """Before the line of an event."""
        self.tell()
        self._count(event)

    def _count(self, event: AnyEvent) -> None:
        self._registry.add(names.LOG_EVENTS, 1, event.value)
        if (counted := _COUNTED.get(event)) is not None:
            metric, *values = counted
            self._registry.add(metric, 1, *values)

    def committed(self, outcomes: Outcomes, later: Collection[int] = ()) -> None:
        """Count a batch that the broker has acknowledged whole; rows of `later` come again."""
        counts = self.counts
        counts.batches += 1
        counts.enriched += len(outcomes.enriched)
        counts.dropped += len(outcomes.dropped)
        counts.delayed += len(later)
        if outcomes.rejected:
            counts.rejected.update(
                why.reject.verdict.value
                for row, why in outcomes.rejected.items()
                if row not in later
            )
        counts.decisions.update(outcomes.decided.values())
        counts.explained += outcomes.explained

    def progress(self) -> None:
        """One line every ten seconds: what was committed."""
        now = self._clock.monotonic()
        if now < self._progress_at:
            return
        seconds = now - self._progress_at + PROGRESS_SECONDS
        counts = self.counts
        rate = (counts.enriched - self._progress_enriched) / seconds
        self._progress_at, self._progress_enriched = now + PROGRESS_SECONDS, counts.enriched
        self.info(Event.PROGRESS, events_per_second=round(rate, 1), **self.totals())

    def totals(self) -> dict[str, Any]:
        """The counts, for a line or a summary."""
        counts = self.counts
        latency = {"given_up": +counts.given_up, "latency_breaches": +counts.breaches}
        again = {"tried_again": counts.tried_again, "delayed": counts.delayed}
        return {
            "enriched": counts.enriched,
            "dead_lettered": dict(counts.rejected),
            "dropped": counts.dropped,
            "decisions": dict(counts.decisions),
            "batches": counts.batches,
            "recoveries": counts.recoveries,
            **{name: count for name, count in again.items() if count},
            **({"reasons": _told(counts.explained)} if counts.explained.rows else {}),
            **{name: dict(counted) for name, counted in latency.items() if counted},
            **({} if counts.shadow is None else {"shadow": counts.shadow.totals()}),
        }


def _told(explained: Explained) -> dict[str, float]:
    """What reasons cost: rows, seconds, and microseconds of the loop a row."""
    rows, seconds = explained.rows, explained.seconds
    return {"rows": rows, "seconds": round(seconds, 3), "us_a_row": round(seconds * 1e6 / rows, 1)}


class ClientLog:
    """Receives a client's own log lines; given to it as its `logger`.

    `suspect` turns true when a line says that a request to the transaction coordinator was lost or
    timed out: librdkafka then sends EndTxn again and the commit looks fine, but the first request
    may still arrive and end a later transaction (Jepsen, bufstream-0.1.0; librdkafka #5423).

    In an outage a client says the same many times a second: of each kind one line in
    `QUIET_SECONDS` is kept, with the number of those left out before it.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        """Lines of level warning and above go to `journal`."""
        self.suspect = False
        self._journal = journal
        self._clock = clock
        self._quiet_until: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()

    def log(self, level: int, form: str, *parts: Any) -> None:
        """Called by the client while it is polled; never raises."""
        line = form % parts if parts else form
        if "TxnCoordinator" in line and ("FAIL" in line or "REQTMOUT" in line):
            self.suspect = True
        if level < logging.WARNING:
            return
        kind, now = line.partition(" ")[0], self._clock.monotonic()
        if now < self._quiet_until.get(kind, 0.0):
            self._left_out[kind] += 1
            return
        self._quiet_until[kind] = now + QUIET_SECONDS
        self._journal.info(
            Event.CLIENT, line=without_answer(line), left_out=self._left_out.pop(kind, 0)
        )
