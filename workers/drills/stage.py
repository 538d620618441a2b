"""One drill's stage: topics, topology file, processes, records in, records out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaException, TopicPartition

from workers.drills.changes import Changes, for_broker, merged
from workers.drills.ground import AnyBroker, described
from workers.drills.process import WorkerProcess
from workers.drills.report import Check, check
from workers.drills.setup import INSTANCE, Setup, tag, write_topology
from workers.drills.verify import Origin, Outcome, outcomes
from workers.errors import ClientHalt
from workers.stream.clock import SystemClock
from workers.testing import EmbeddedBroker, OutRecord, Reader, RealKafka, Sender, Sent
from workers.topology import Delivery, Worker, load
from workers.wiring import topics_of

PARTITIONS = 4
PATIENCE = 60.0
"""Seconds until a drill that waits for something says that it did not come."""


Say = Callable[[str], None]
"""Told of each step while a drill runs."""


class Stuck(Exception):  # noqa: N818  what the drill is
    """What a drill waited for did not come: the drill failed."""


class Stage:
    """A drill's own topics on a broker. Used as a context manager it ends what it started."""

    def __init__(self, setup: Setup, broker: AnyBroker, say: Say, changes: Changes) -> None:
        """Makes the topics.

        Raises:
            ClientHalt: they cannot be made.
        """
        own, said = for_broker(setup, broker)
        self.setup, self.broker, self.say = setup, broker, say
        self.did: list[str] = []
        self.settings = (*said, *changes.said)
        self.clock = SystemClock()
        self.processes: list[WorkerProcess] = []
        self.sent = 0
        self.checks: list[Check] = []
        self.outcomes: list[Outcome] = []
        self.arrived: list[int] = []
        self._origins: set[Origin] = set()
        self._one_sends = threading.Lock()
        self._tag = tag()
        self._catalogue = changes.catalogue or setup.catalogue
        self.file = write_topology(
            setup,
            setup.folder / f"{self._tag}.yaml",
            servers=broker.bootstrap_servers,
            tag=self._tag,
            changes=merged(setup.document, own, changes.worker),
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
        found = outcomes(got, self.worker.dead_letter.topic, self._catalogue)
        self._origins.update(each.origin for each in found)
        self.outcomes += found

    @property
    def out(self) -> int:
        """Input records that have come out, each counted once."""
        return len(self._origins)

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
                # A broker that did not come back is in the report already.
                with suppress(KafkaException):
                    self.broker.delete_topic(topic)
        return stuck


def _create(broker: AnyBroker, topic: str) -> None:
    try:
        broker.create_topic(topic, PARTITIONS)
    except (KafkaException, RuntimeError) as error:
        raise ClientHalt(
            f"drills make their own topics, and {topic} could not be made: {error}"
        ) from error
