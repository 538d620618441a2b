"""What fault tests share: a steady stream of records, processes that end on demand, a scene."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition

from tests.conftest import ROOT
from tests.traffic import broken, good
from workers.enrich.path import Enricher
from workers.stream.clock import Clock
from workers.stream.publish import Failpoint, nowhere
from workers.testing import Driver, Sender, Sent, isolated, produce
from workers.testing.cluster import Cluster
from workers.testing.verifier import Expected, Verifier
from workers.topology import Protocol, Topology, Worker
from workers.topology.worker import Backoff
from workers.wiring import pick

FAILPOINTS = ("polled", "begun", "half", "offsets", "committing", "committed")
MAX_RECORDS = 200
LIFE_SECONDS = 25.0
PARTITIONS = 3
SESSION_SECONDS = 3
PAUSE = threading.Event()
FAST: dict[str, Any] = {
    "transaction_timeout": 4.0,
    "drain_timeout": 5.0,
    "retry": Backoff.model_validate({"initial": "100ms", "max": "1s"}),
    "stopped_partition_retry": 1.0,
}
"""Fields of a worker: what takes a minute in production takes seconds here."""
FAST_CLIENT: dict[str, str | int | bool] = {
    "reconnect.backoff.max.ms": 500,
    "socket.timeout.ms": 3000,
}


def topology_file(folder: Path, servers: str, worker: Worker, *, static: bool) -> Path:
    """The worker as an operator would write it down."""
    timeout = {"session.timeout.ms": 1000 * SESSION_SECONDS, "heartbeat.interval.ms": 500}
    if worker.protocol is Protocol.CONSUMER:
        timeout = {}
    text = f"""
version: 1
broker: {{bootstrap_servers: "{servers}", client: {json.dumps(FAST_CLIENT)}}}
contracts: {{directory: {ROOT / "schemas"}}}
models: {{directory: {ROOT / "models"}}}
workers:
  {worker.name}:
    input: {{topic: {worker.input.topic}, subject: flights-value}}
    output: {{topic: {worker.output.topic}, subject: flights.enriched-value}}
    dead_letter: {{topic: {worker.dead_letter.topic}}}
    model: {{name: flight-delay, version: "1"}}
    group: {worker.group}
    transactional_id: {worker.transactional_id}
    protocol: {worker.protocol.value}
    delivery: {worker.delivery.value}
    drain_timeout: {worker.drain_timeout}s
    transaction_timeout: {worker.transaction_timeout}s
    first_start: earliest
    static_membership: {str(static).lower()}
    batch: {{max_records: {MAX_RECORDS}, linger: 50ms}}
    consumer: {timeout}
"""
    path = folder / "topology.yaml"
    path.write_text(text)
    return path


class Zygote:
    """Runs lives of one instance, one after the other."""

    def __init__(self, topology: Path, instance: str, log: Path) -> None:
        self.killed = Counter[str]()
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote", str(topology), instance],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
        )
        self._pid = 0
        self._over = threading.Event()

    @property
    def pid(self) -> int:
        """Of the life under way."""
        return self._pid

    def begin(self, failpoint: str = "-", count: int = 0) -> None:
        """Start a life."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._over.clear()
        self._process.stdin.write(f"{failpoint} {count}\n")
        self._process.stdin.flush()
        self._pid = int(self._process.stdout.readline().split()[1])
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            self.status = int(line.split()[1])
            self._over.set()

    def end(self, number: signal.Signals, within: float = 60.0) -> None:
        """Signal this life and wait until it is over."""
        if not self._over.is_set():
            os.kill(self._pid, number)
        assert self._over.wait(within), "the life does not end"

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        self.end(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM: it drains, or has not come so far as to handle it and ends at once."""
        self.end(signal.SIGTERM)
        assert os.waitstatus_to_exitcode(self.status) in {0, -signal.SIGTERM}, self.status

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end."""
        os.kill(self._pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._pid, signal.SIGCONT)

    def drain(self) -> None:
        """SIGTERM, to which the answer is exit code 0."""
        self.end(signal.SIGTERM)
        assert self.status == 0, self.status

    def life(self, failpoint: str, chance: random.Random) -> None:
        """A life that ends by SIGKILL at a failpoint, or at a random instant."""
        if failpoint == "random":
            self.begin()
            self._over.wait(chance.uniform(0.2, 2.5))
        else:
            self.begin(failpoint, chance.randint(1, 4))
            self._over.wait(LIFE_SECONDS)
        reached = self._over.is_set()
        self.end(signal.SIGKILL)
        assert os.WIFSIGNALED(self.status), f"a life ended by itself: {self.status}"
        assert os.WTERMSIG(self.status) == signal.SIGKILL
        self.killed[failpoint if reached else "random"] += 1

    def close(self) -> None:
        """End it for good."""
        if not self._over.is_set() and self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._over.wait(10)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                pipe.close()


@contextmanager
def zygotes(topology: Path, folder: Path, count: int = 2) -> Iterator[list[Zygote]]:
    """Instances of the worker, named a, b and so on."""
    names = "abcdef"[:count]
    found = [Zygote(topology, name, folder / f"{name}.log") for name in names]
    try:
        yield found
    except BaseException:
        for name in names:
            log = folder / f"{name}.log"
            print(f"{name}: {log.read_text(errors='replace')[-3000:] if log.exists() else None}")
        raise
    finally:
        for zygote in found:
            zygote.close()


class Flow:
    """A steady stream of records in a thread of its own; one in a hundred is a pill."""

    def __init__(self, servers: str, topic: str, flights: list[bytes]) -> None:
        self.sent = 0
        self.pills: list[int] = []
        self._sender = Sender(servers)
        self._topic = topic
        self._flights = flights
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def expected(self) -> Expected:
        """What was written so far; to be asked after `stop`."""
        return Expected(self.sent, self.pills)

    @staticmethod
    def key(place: int) -> int:
        """Which of thirty keys a record has."""
        return place % 30

    def _run(self) -> None:
        pill = broken(self._flights[0])[6]
        for start in itertools.cycle(range(0, len(self._flights), 20)):
            if self._stop.is_set():
                return
            for number, record in enumerate(good(self._flights[start : start + 20])):
                place, key = b"%d" % self.sent, b"key-%d" % self.key(self.sent)
                value = pill.value if (start + number) % 97 == 0 else record.value
                self._sender.send(self._topic, Sent(value, key, [("place", place)]))
                if value == pill.value:
                    self.pills.append(self.sent)
                self.sent += 1
            PAUSE.wait(0.05)

    def stop(self) -> None:
        """Stop, and wait until the broker holds all."""
        self._stop.set()
        self._thread.join()
        self._sender.flush()


class Scene:
    """A worker of the demo on the cluster, in threads, under load, judged at the end."""

    def __init__(
        self,
        cluster: Cluster,
        topology: Topology,
        enricher: Enricher,
        flights: list[bytes],
        **changes: Any,
    ) -> None:
        """`changes` are fields of the worker."""
        plain = pick(topology, None)
        sooner = {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500}
        if changes.get("protocol") is Protocol.CONSUMER:
            sooner = {}
        fields = {"consumer": sooner, **FAST, **changes}
        plain = plain.model_copy(update={"decisions": None})
        top, self.worker = isolated(topology, plain, cluster, partitions=PARTITIONS, **fields)
        broker = top.broker.model_copy(update={"client": FAST_CLIENT})
        self.topology = top.model_copy(update={"broker": broker})
        self.cluster = cluster
        self.drivers: dict[int, Driver] = {}
        self._enricher = enricher
        self._flights = flights
        cluster.until(cluster.healthy)
        self.verifier = Verifier(cluster.inside, self.worker)
        self.flow = Flow(cluster.inside, self.worker.input.topic, flights)

    def start(self, slot: int = 0, at: Failpoint = nowhere, clock: Clock | None = None) -> Driver:
        """The worker as one process runs it, in a thread."""
        driver = Driver(self.topology, self.worker, self._enricher, slot=slot, at=at, clock=clock)
        self.drivers[slot] = driver.start()
        return driver

    @contextmanager
    def process(self, topology: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """`workers run`, as an operator starts it; where it hangs its stacks are printed."""
        command = [sys.executable, "-X", "faulthandler", "-m", "workers", "run", "-t"]
        with (
            log.open("ab") as output,
            # Through a pipe, so that limits of the worker are not limits of its log.
            subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=output) as writer,
        ):
            process = subprocess.Popen(
                [*command, str(topology)], cwd=ROOT, stdout=writer.stdin, stderr=writer.stdin
            )
            try:
                yield process
            finally:
                if hangs := process.poll() is None:
                    process.send_signal(signal.SIGABRT)
                    process.wait()
                if writer.stdin is not None:
                    writer.stdin.close()
                writer.wait()
                if hangs:
                    print(log.read_text(errors="replace")[-6000:])

    def twin(self) -> Driver:
        """Another process by the name of the first; only their transactional ids differ."""
        other = self.worker.model_copy(update={"transactional_id": "twin"})
        return Driver(self.topology, other, self._enricher).start()

    def stop(self, slot: int) -> None:
        """Drain it."""
        self.drivers.pop(slot).stop()

    def transactional_id(self, slot: int = 0) -> str:
        """Of a process."""
        from workers.stream.clients import transactional_id

        return transactional_id(self.worker, slot)

    def progress(self, more: int = 100, seconds: float = 60.0) -> None:
        """Until so many more records came out."""
        wanted = self.verifier.seen + more
        self.until(lambda: self.verifier.seen >= wanted, seconds)

    def until(self, so: Callable[[], bool], seconds: float = 60.0) -> None:
        """Until it is so; raises what ended a worker."""
        deadline = time.monotonic() + seconds
        while not so():
            for driver in self.drivers.values():
                driver.check()
            if time.monotonic() > deadline:
                came = f"{self.verifier.seen} records came out"
                raise TimeoutError(f"not in {seconds:g} s; {came}; {self.verifier.stands()}")
            PAUSE.wait(0.05)

    def all_out(self, seconds: float = 90.0) -> None:
        """Until every record that was sent came out, however long that takes.

        Raises:
            TimeoutError: for so long none came; says where the group stands.
        """
        if not self.verifier.until(self.flow.sent, seconds):
            came = f"{self.verifier.seen} of {self.flow.sent} came out"
            raise TimeoutError(f"{came}, then none in {seconds:g} s: {self.verifier.stands()}")

    def more(self, count: int, partitions: int = PARTITIONS) -> None:
        """Write records when the flow has stopped, to every partition."""
        sent = self.flow.sent
        records = [
            replace(record, headers=[("place", b"%d" % (sent + n))], partition=n % partitions)
            for n, record in enumerate(good(self._flights[:count]))
        ]
        # A key stays in its partition.
        keyed = [replace(r, key=b"more-%d" % r.partition) for r in records]
        produce(self.cluster.inside, self.worker.input.topic, keyed)
        self.flow.sent += count

    def conclude(self, seconds: float = 90.0, doubled: int = 0) -> None:
        """Everything out, everybody drained, and every promise held."""
        self.flow.stop()
        self.all_out(seconds)
        for slot in list(self.drivers):
            self.stop(slot)
        found = self.verifier.faults(self.flow.expected, doubled=doubled)
        assert not found, "; ".join(found)

    def overtake(self, partition: int, records: int) -> int:
        """Delete so many records that the group has not read; where the partition begins then."""
        begin = self._committed(partition) + records
        self.cluster.delete_records(self.worker.input.topic, partition, begin)
        return begin

    def _committed(self, partition: int) -> int:
        asking = Consumer({"bootstrap.servers": self.cluster.inside, "group.id": self.worker.group})
        place = TopicPartition(self.worker.input.topic, partition)
        found: int = asking.committed([place], timeout=20)[0].offset
        asking.close()
        return found

    def set_offset(self, partition: int, offset: int) -> None:
        """What a person does with `kafka-consumer-groups --reset-offsets`."""
        places = [TopicPartition(self.worker.input.topic, partition, offset)]
        asked = [ConsumerGroupTopicPartitions(self.worker.group, places)]
        for answer in self.cluster.admin.alter_consumer_group_offsets(asked).values():
            answer.result(30)

    def conclude_with_loss(self) -> list[str]:
        """As `conclude`, where records were taken away."""
        self.flow.stop()
        self.until(lambda: not self.verifier.uncommitted())
        for slot in list(self.drivers):
            self.stop(slot)
        return self.verifier.faults(self.flow.expected)

    def __enter__(self) -> Self:
        self.verifier.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is not None:
            # Nobody is left waiting for a cluster that a failed test left ill.
            self.cluster.heal()
            with suppress(RuntimeError):
                self.flow.stop()
        for driver in self.drivers.values():
            driver.loop.stop()
        for driver in self.drivers.values():
            with suppress(BaseException):
                driver.wait(30)
        self.verifier.close()
