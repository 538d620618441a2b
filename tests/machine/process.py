"""One worker process: the real loop and all its parts, on the simulated client."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.machine.clients import SimulatedConsumer, SimulatedProducer
from tests.machine.cluster import Cluster
from tests.machine.tasks import Task, current, pause
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import SchemaKey
from workers.enrich.batch import Batch, Outcomes, Rejection
from workers.enrich.policy import Effort
from workers.errors import Code, Reject
from workers.stream import pending, publish
from workers.stream.breaker import Breaker
from workers.stream.clock import Clock
from workers.stream.deadletters import Origin
from workers.stream.drifting import Drifting
from workers.stream.journal import Journal
from workers.stream.loop import Loop
from workers.stream.outgoing import Outgoing
from workers.stream.pausing import Pauses
from workers.stream.publish import AcknowledgedPublisher, Publisher, TransactionalPublisher
from workers.stream.recorder import Recorder
from workers.stream.reporting import Parts, Reporter, first_snapshot
from workers.stream.schemas import Schemas
from workers.stream.slot import Slot
from workers.stream.snapshot import Board
from workers.stream.source import Source
from workers.stream.tracing import Traces
from workers.telemetry.registry import Registry as Numbers
from workers.telemetry.spans import NoExports, Untraced
from workers.topology import Delivery, Worker

UNKNOWN: SchemaKey = 7


class Registry:
    """What a loop asks of a resolver, as one whose registry does not answer, or denies."""

    def __init__(self) -> None:
        self.denies = False
        self.catalogue = Catalogue()
        self.snapshot = SimpleNamespace(revision=0, catalogue=self.catalogue)

    def ask(self, _: Any) -> None:
        """Noted."""

    def settled(self, _: SchemaKey) -> bool:
        """Was the schema denied?"""
        return self.denies

    def why(self, key: SchemaKey) -> str:
        """Why a partition waits."""
        return f"schema {key!r} is being looked up"

    def close(self) -> None:
        """Nothing to close."""


def enrich(batch: Batch, _: Effort) -> Outcomes:
    """By the kind of each record, which is its value."""
    enriched, rejected = dict[int, bytes | None](), dict[int, Rejection]()
    unknown: dict[SchemaKey, list[int]] = {}
    for row, value in enumerate(batch.values):
        kind = value or b""
        if kind in (b"bad", b"unknown"):
            code = Code.MALFORMED if kind == b"bad" else Code.UNKNOWN_SCHEMA
            reject = Reject(code, "scripted")
            rejected[row] = Rejection(reject, "decode")
        else:
            enriched[row] = b"enriched " + kind
        if kind == b"unknown":
            unknown.setdefault(UNKNOWN, []).append(row)
    return Outcomes(batch, enriched, rejected, frozenset(), unknown=unknown)


def _reporter(source: Source, clock: Clock, slot: int) -> Reporter:
    parts = Parts(
        assigned=lambda: source.assigned,
        ends=source.ends,
        pauses=lambda: source.pauses,
        counts=dict,
    )
    board = Board(first_snapshot(clock, build="1", worker="worker", instance=f"machine.{slot}"))
    return Reporter(board, source.lag, parts, clock)


def _recorder(worker: Worker, journal: Journal, clock: Clock) -> Recorder:
    return Recorder(
        worker=worker,
        registry=Numbers(),
        journal=journal,
        clock=clock,
        drifting=Drifting(None),
        traces=Traces(worker, Untraced(), clock),
        exports=NoExports(),
    )


class Process:
    """A worker process. `main` is its loop, `publishes` every publish that it began."""

    def __init__(self, cluster: Cluster, worker: Worker, slot: int, registry: Registry) -> None:
        clock = cluster.clock
        self.slot = slot
        self.consumer = SimulatedConsumer(cluster, slot)
        self.publishes: list[Task] = []
        self.killed = False
        self._cluster = cluster
        journal = Journal(clock, slot=slot)
        client: Any = self.consumer
        source = Source(client, worker, clock, journal)
        self.consumer.answered = source.commits.answered
        resolver: Any = registry
        self.loop = Loop(
            worker=worker,
            source=source,
            publisher=self._publisher(worker, journal),
            enrich=enrich,
            schemas=Schemas(resolver, lambda _: None, source, journal),
            breaker=Breaker(worker.breaker, source, clock, journal),
            slot=Slot([], lambda _: None, journal),
            pauses=Pauses(lambda: None, source, journal),
            outgoing=Outgoing(worker, _origin(worker)),
            clock=clock,
            journal=journal,
            reporter=_reporter(source, clock, slot),
            recorder=_recorder(worker, journal, clock),
        )
        self.main = Task(self.loop.run)
        _OF_TASK[self.main] = self

    def _publisher(self, worker: Worker, journal: Journal) -> Publisher:
        config: dict[str, Any] = {
            "simulated.cluster": self._cluster,
            "simulated.slot": self.slot,
            "transaction.timeout.ms": worker.transaction_timeout * 1000,
        }
        if worker.delivery is Delivery.AT_LEAST_ONCE:
            return AcknowledgedPublisher(config, self._cluster.clock, journal)
        config["transactional.id"] = f"worker.{self.slot}"
        return TransactionalPublisher(config, self._cluster.clock, journal)

    @property
    def running(self) -> bool:
        """Is its loop not over?"""
        return not self.main.over

    def publishing(self) -> list[Task]:
        """Publishes under way; more than one where some were left behind."""
        return [task for task in self.publishes if not task.over]

    def kill(self) -> None:
        """As kill -9: nothing is said to anybody."""
        self.killed = True
        for task in (self.main, *self.publishes):
            task.kill()
        _OF_TASK.pop(self.main, None)


_OF_TASK: dict[Task, Process] = {}


class SimulatedThread:
    """What `Pending` starts a publish in."""

    def __init__(self, *, target: Callable[..., None], args: tuple[Any, ...], daemon: bool) -> None:
        assert daemon
        asking = current()
        assert asking is not None
        self._process = _OF_TASK[asking]
        self._target, self._args = target, args
        self._task: Task | None = None

    def start(self) -> None:
        """It runs when the test says so."""
        self._task = Task(lambda: self._target(*self._args))
        self._process.publishes.append(self._task)

    def is_alive(self) -> bool:
        """Not over?"""
        return self._task is not None and not self._task.over

    def join(self, seconds: float) -> None:
        """Wait so long at most."""
        if not self.is_alive():
            return
        pause()
        if self.is_alive():
            self._process._cluster.clock.wait(seconds)


def simulate(patch: pytest.MonkeyPatch) -> None:
    """Put the simulated producer and thread where the real ones are made."""
    patch.setattr(publish, "Producer", SimulatedProducer)
    patch.setattr(pending, "threading", SimpleNamespace(Thread=SimulatedThread))


def _origin(worker: Worker) -> Origin:
    return Origin(
        topic=worker.dead_letter.topic,
        worker=worker.name,
        instance="simulated",
        build="0",
        model=worker.model.name,
        limit=worker.dead_letter.max_message_bytes,
    )
