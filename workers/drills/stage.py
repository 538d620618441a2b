"""One drill's stage: topics, topology file, processes, records in, records out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from workers.contracts.catalogue import Catalogue
from workers.drills.ground import AnyBroker, described
from workers.drills.process import WorkerProcess
from workers.drills.report import Check, check
from workers.drills.setup import INSTANCE, Setup, tag, write_topology
from workers.drills.verify import Outcome, outcomes
from workers.errors import ClientHalt
from workers.stream.clock import SystemClock
from workers.testing import EmbeddedBroker, OutRecord, Reader, RealKafka, Sender, Sent
from workers.testing.kafka import LocalProcess
from workers.topology import Delivery, Protocol, Worker, load
from workers.wiring import topics_of

PARTITIONS = 4
PATIENCE = 60.0
"""Seconds until a drill that waits for something says that it did not come."""


Say = Callable[[str], None]
"""Told of each step while a drill runs."""


class Stuck(Exception):  # noqa: N818  what the drill is
    """What a drill waited for did not come: the drill failed."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a drill needs otherwise than the user has it."""

    worker: Mapping[str, Any] = field(default_factory=dict)
    contracts: Mapping[str, Any] | None = None
    models: Path | None = None
    catalogue: Catalogue | None = None
    said: tuple[str, ...] = ()


class Stage:
    """A drill's own topics on a broker. Used as a context manager it ends what it started."""

    def __init__(self, setup: Setup, broker: AnyBroker, say: Say, changes: Changes) -> None:
        """Makes the topics.

        Raises:
            ClientHalt: they cannot be made.
        """
        own, said = _settings(setup, broker)
        self.setup, self.broker, self.say = setup, broker, say
        self.did: list[str] = []
        self.settings = (*said, *changes.said)
        self.clock = SystemClock()
        self.processes: list[WorkerProcess] = []
        self.sent = 0
        self.checks: list[Check] = []
        self.outcomes: list[Outcome] = []
        self.arrived: list[int] = []
        self._one_sends = threading.Lock()
        self._tag = tag()
        self._catalogue = changes.catalogue or setup.catalogue
        self.file = write_topology(
            setup,
            setup.folder / f"{self._tag}.yaml",
            servers=broker.bootstrap_servers,
            tag=self._tag,
            changes=_merged(setup.document, own, changes.worker),
            contracts=changes.contracts,
            models=changes.models,
        )
        loaded = load(self.file, {**os.environ, INSTANCE: "drill"})
        self.worker: Worker = loaded.workers[setup.worker.name]
        for topic in topics_of(self.worker).values():
            _create(broker, topic)
        topics = (self.worker.output.topic, self.worker.dead_letter.topic)
        self._reader = Reader(broker.bootstrap_servers, *topics)
        self._sender = Sender(broker.bootstrap_servers)

    @property
    def place(self) -> str:
        """Broker and guarantee, for the report."""
        return f"{described(self.broker)}, worker {self.worker.name}, {self.worker.delivery.value}"

    def do(self, step: str) -> None:
        """A step of the drill, for the report and whoever watches."""
        self.did.append(step)
        self.say(step)

    def start(self, instance: str = "a") -> WorkerProcess:
        """Start a process of the worker and return at once."""
        log = self.setup.folder / f"{self._tag}.{len(self.processes)}.log"
        process = WorkerProcess(self.file, self.worker.name, instance, log)
        self.processes.append(process)
        return process

    def ready(self, process: WorkerProcess) -> None:
        """Wait until it has partitions.

        Raises:
            Stuck: it never did, or ended.
        """
        self.until(
            f"the process {process.instance} to get partitions",
            lambda: any(line.get("partitions") for line in process.said("partitions.assigned")),
        )

    def send(self, records: Sequence[Sent]) -> None:
        """Send, and wait until the broker holds them.

        Raises:
            Stuck: it does not.
        """
        with self._one_sends:
            for record in records:
                self._sender.send(self.worker.input.topic, record)
            try:
                self._sender.flush()
            except RuntimeError as error:
                raise Stuck(f"records could not be sent: {error}") from error
            self.sent += len(records)

    def good(self, count: int, key: str = "drill", **more: Any) -> list[Sent]:
        """So many good records over thirty keys, stamped with now."""
        events, now = self.setup.events, self.clock.now()
        return [
            Sent(
                events[(self.sent + n) % len(events)],
                f"{key}-{(self.sent + n) % 30}".encode(),
                timestamp=now,
                **more,
            )
            for n in range(count)
        ]

    def read(self, seconds: float = 0.1) -> None:
        """Take what came out: `outcomes`, and in `arrived` the time of each, in milliseconds."""
        got = self._reader.read(seconds)
        self._reader.records.clear()
        self.arrived += [self.clock.now()] * len(got)
        self.outcomes += outcomes(got, self.worker.dead_letter.topic, self._catalogue)

    @property
    def out(self) -> int:
        """Input records that have come out, each counted once."""
        return len({each.origin for each in self.outcomes})

    def until(self, what: str, condition: Callable[[], bool], seconds: float = PATIENCE) -> float:
        """Read on until the condition holds; the seconds it took.

        Raises:
            Stuck: it never did.
        """
        began = self.clock.monotonic()
        while not condition():
            waited = self.clock.monotonic() - began
            ended = [p for p in self.processes if p.ended not in (None, 0, -9)]
            if ended:
                raise Stuck(
                    f"waited for {what}, and process {ended[0].instance} ended with exit code "
                    f"{ended[0].ended}: {ended[0].end_of_log}"
                )
            if waited > seconds:
                logs = self.processes[-1].end_of_log if self.processes else ""
                raise Stuck(f"waited {seconds:g} s for {what}; the worker says: {logs}")
            self.read()
        return self.clock.monotonic() - began

    def all_out(self, seconds: float = PATIENCE) -> float:
        """Wait until everything that was sent has come out, and a little longer for doubles."""
        took = self.until(
            "every record to come out",
            lambda: self.out >= self.sent,
            seconds,
        )
        self.read(0.5)
        return took

    def drain(self) -> list[int | None]:
        """SIGTERM to all that run; their exit codes."""
        running = [process for process in self.processes if process.ended is None]
        codes = [process.drain(self.worker.drain_timeout + 5) for process in running]
        self.read(0.5)
        return codes

    def inputs(self) -> list[OutRecord]:
        """The input topic as it is on the broker.

        Raises:
            Stuck: it has less than was sent.
        """
        with Reader(self.broker.bootstrap_servers, self.worker.input.topic) as reader:
            try:
                reader.until(lambda seen: len(seen) >= self.sent)
            except TimeoutError as error:
                raise Stuck(f"{self.sent} records were sent, and of them {error}") from error
            return reader.records

    def committed(self) -> dict[int, int] | None:
        """The group's offsets; None where the broker keeps none."""
        once = self.worker.delivery is Delivery.EXACTLY_ONCE
        if isinstance(self.broker, EmbeddedBroker) and once:
            return None
        asking = Consumer(
            {"bootstrap.servers": self.broker.bootstrap_servers, "group.id": self.worker.group}
        )
        places = [TopicPartition(self.worker.input.topic, p) for p in range(PARTITIONS)]
        try:
            return {p.partition: p.offset for p in asking.committed(places, timeout=20)}
        finally:
            asking.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> bool:
        stuck = isinstance(error, Stuck)
        if stuck:
            self.checks.append(check("the drill comes to its end", str(error), held=False))
        for process in self.processes:
            if process.ended is None:
                process.kill()
        self._reader.close()
        if isinstance(self.broker, RealKafka):
            for topic in topics_of(self.worker).values():
                self.broker.delete_topic(topic)
        return stuck


class Load:
    """Good records at a steady pace from a thread of its own; a context manager."""

    def __init__(self, stage: Stage, every: float = 0.05, size: int = 10) -> None:
        """`size` records `every` so many seconds."""
        self._stage, self._every, self._size = stage, every, size
        self._stop = threading.Event()
        self._failed: Stuck | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._every):
                self._stage.send(self._stage.good(self._size))
        except Stuck as stuck:
            self._failed = stuck

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failed is not None and kind is None:
            raise self._failed


def _create(broker: AnyBroker, topic: str) -> None:
    try:
        broker.create_topic(topic, PARTITIONS)
    except (KafkaException, RuntimeError) as error:
        raise ClientHalt(
            f"drills make their own topics, and {topic} could not be made: {error}"
        ) from error


def _settings(setup: Setup, broker: AnyBroker) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the broker asks for: short sessions, so that a member that dies is missed soon."""
    embedded = isinstance(broker, EmbeddedBroker)
    classic = setup.worker.protocol is Protocol.CLASSIC
    if not (classic or embedded):
        return {}, ()
    ours = not isinstance(broker, RealKafka) or isinstance(broker.server, LocalProcess)
    session = 1500 if ours else 6000
    consumer = {"session.timeout.ms": session, "heartbeat.interval.ms": session // 3}
    said = [f"session.timeout.ms {session}"]
    changed: dict[str, Any] = {"consumer": consumer}
    if not classic:
        changed["protocol"] = Protocol.CLASSIC.value
        said.append("protocol classic (the embedded broker has no other)")
    return changed, tuple(said)


def _merged(document: Mapping[str, Any], *more: Mapping[str, Any]) -> dict[str, Any]:
    """Changes over the document; of mappings key by key, where None takes a key away."""
    made: dict[str, Any] = {}
    for changes in more:
        for key, value in changes.items():
            before = made.get(key, document.get(key))
            if isinstance(before, Mapping) and isinstance(value, Mapping):
                both = {**before, **value}
                made[key] = {name: each for name, each in both.items() if each is not None}
            else:
                made[key] = value
    return made
