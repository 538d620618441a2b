"""A worker under test: in a thread of this process, on topics of its own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from workers.enrich.path import Enricher
from workers.models.shadow.process import COMMAND
from workers.models.shadow.shadow import Shadow
from workers.stream.clock import Clock
from workers.stream.journal import Journal
from workers.stream.publish import Failpoint, nowhere
from workers.stream.snapshot import Board
from workers.telemetry.registry import Registry
from workers.testing.embedded import EmbeddedBroker
from workers.topology import Broker, Topology, Worker
from workers.wiring import build_loop, topics_of

LOOP = "loop of"
"""How the names of the threads begin in which workers run."""


class TopicMaker(Protocol):
    """Either broker."""

    bootstrap_servers: str

    def create_topic(self, name: str, partitions: int) -> None:
        """Make a topic."""
        ...


def isolated(
    topology: Topology, worker: Worker, broker: TopicMaker, *, partitions: int = 4, **changes: Any
) -> tuple[Topology, Worker]:
    """The same worker on this broker with topics, group and transactional id of its own.

    The topics are made. `changes` are fields of the worker.
    """
    tag = uuid.uuid4().hex[:8]
    own = {
        role: getattr(worker, role).model_copy(update={"topic": f"{topic}.{tag}"})
        for role, topic in topics_of(worker).items()
        if role not in ("retry", "ledger")
    }
    names = {"group": f"{worker.group}.{tag}", "transactional_id": f"{worker.name}.{tag}"}
    if isinstance(broker, EmbeddedBroker):
        # It keeps a member that left until its session ends.
        changes = {"consumer": {"session.timeout.ms": 1500, "heartbeat.interval.ms": 500}} | changes
    moved = worker.model_copy(update={**own, **names, **changes})
    for topic in topics_of(moved).values():
        broker.create_topic(topic, partitions)
    place = Broker(bootstrap_servers=broker.bootstrap_servers)
    workers = {worker.name: moved}
    return topology.model_copy(update={"broker": place, "workers": workers}), moved


class Driver:
    """Runs a worker's loop in a thread; what the loop raises is raised here.

    Used as a context manager it drains the worker at the end.
    """

    def __init__(
        self,
        topology: Topology,
        worker: Worker,
        enricher: Enricher,
        *,
        slot: int = 0,
        at: Failpoint = nowhere,
        clock: Clock | None = None,
        challenger: Sequence[str] = COMMAND,
        registry: Registry | None = None,
    ) -> None:
        """Nothing connects before `start`; `challenger` starts the process of the shadow."""
        running = build_loop(
            topology,
            worker,
            enricher,
            slot=slot,
            clock=clock,
            at=at,
            challenger=challenger,
            registry=registry,
        )
        self.loop = running.loop
        self.board: Board = running.board
        self.registry: Registry = running.registry
        self._shadow = running.shadow
        self._enricher = enricher
        self.journal: Journal = running.journal
        self._error: BaseException | None = None
        name = f"{LOOP} {worker.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            self.loop.run()
        except BaseException as error:  # noqa: BLE001  carried over to the test
            self._error = error

    @property
    def serving(self) -> str:
        """The version that scores now."""
        return self._enricher.model.manifest.version

    @property
    def bypass(self) -> str | None:
        """Why decisions are made without the model, while they are."""
        return self._enricher.bypass

    @property
    def canary(self) -> float:
        """The share of the keys for which the challenger decides."""
        found = self._enricher.servings[0].canary
        return 0.0 if found is None else found.share

    @property
    def refused(self) -> frozenset[str]:
        """Versions that failed their checks."""
        return frozenset(self.journal.counts.refused_models)

    @property
    def shadow(self) -> Shadow:
        """The worker's shadow.

        Raises:
            ValueError: its topology has none.
        """
        if self._shadow is None:
            raise ValueError("the worker has no shadow")
        return self._shadow.shadow

    @property
    def ended(self) -> bool:
        """Is the loop over?"""
        return not self._thread.is_alive()

    def check(self) -> None:
        """Raise what the loop raised, if it did."""
        if self._error is not None:
            raise self._error

    def wait(self, seconds: float = 60.0) -> None:
        """Until the loop has ended by itself; raises what it raised.

        Raises:
            TimeoutError: it goes on.
        """
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise TimeoutError(f"the worker still runs after {seconds:g} s")
        self.check()

    def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Until `condition`, looking twenty times a second; raises what the loop raised.

        Raises:
            TimeoutError: it never came true.
        """
        pause = threading.Event()
        for _ in range(int(seconds * 20)):
            self.check()
            if condition():
                return
            pause.wait(0.05)
        raise TimeoutError(f"not within {seconds:g} s")

    def stop(self, seconds: float = 60.0) -> None:
        """Drain, as SIGTERM does."""
        self.loop.stop()
        self.wait(seconds)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.loop.stop()
        self._thread.join(60)
        if kind is None:
            self.check()
