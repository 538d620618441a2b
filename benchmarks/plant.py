"""What scaling is measured on: one broker of our own, processes of `workers run`, their figures."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks.rig import ROOT, cpu_seconds
from workers.testing import RealKafka
from workers.testing.kafka import LocalProcess

INSTANCES = ("a", "b")
_GIVEN = re.compile(r'"event": "partitions\.assigned".*"partitions": \[\d')


@dataclass(frozen=True, slots=True)
class Case:
    """One setting: `more` are further keys of the worker, a line of YAML each."""

    processes: int
    partitions: int
    delivery: str
    more: tuple[str, ...] = ()
    note: str = ""


class Plant:
    """A broker, and what it costs. Its process must be ours: nothing else shows its CPU."""

    def __init__(self, folder: Path) -> None:
        self._server = LocalProcess(heap="1g")
        self.kafka = RealKafka(self._server)
        self.folder = folder

    @property
    def servers(self) -> str:
        """Where it is."""
        return self.kafka.bootstrap_servers

    def broker_cpu(self) -> float:
        """CPU seconds of the broker so far."""
        return cpu_seconds(self._server.pid)

    def stored(self, topic: str) -> int:
        """Bytes of a topic's log: what went over the network to write it, and goes to read it."""
        found = (self._server.folder / "data").glob(f"{topic}-*/*.log")
        return sum(file.stat().st_size for file in found)

    def close(self) -> None:
        """End the broker."""
        self.kafka.stop()


class Done:
    """Events whose outcomes are committed, by the group's offsets."""

    def __init__(self, plant: Plant, group: str, topic: str, partitions: int) -> None:
        # It asks, and never joins. An AdminClient that was asked for offsets while the coordinator
        # was being found ended this process now and then.
        self._consumer = Consumer({"bootstrap.servers": plant.servers, "group.id": group})
        self._places = [TopicPartition(topic, p) for p in range(partitions)]

    def count(self) -> int:
        """Now; none while the coordinator is being found."""
        try:
            found = self._consumer.committed(self._places, timeout=10)
        except KafkaException:
            return 0
        return sum(max(0, place.offset) for place in found)

    def close(self) -> None:
        """End the client."""
        self._consumer.close()


def network_bytes() -> int:
    """Bytes that loopback carried since the machine started, headers of TCP and IP included."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    line = next(line for line in lines if line.strip().startswith("lo:"))
    return int(line.partition(":")[2].split()[0])


@dataclass(frozen=True, slots=True)
class Names:
    """Topics and group of one run."""

    source: str
    tag: str

    @property
    def output(self) -> str:
        """Where enriched events go."""
        return f"out.{self.tag}"

    @property
    def decisions(self) -> str:
        """Where decisions go."""
        return f"decisions.{self.tag}"

    @property
    def dead_letters(self) -> str:
        """Where dead letters go."""
        return f"dlq.{self.tag}"

    @property
    def topics(self) -> tuple[str, ...]:
        """All that are written."""
        return (self.output, self.decisions, self.dead_letters)


@contextmanager
def topics(plant: Plant, source: str, partitions: int) -> Iterator[Names]:
    """Topics of a run, removed after it."""
    names = Names(source, f"run-{uuid.uuid4().hex[:8]}")
    for topic in names.topics:
        plant.kafka.create_topic(topic, 1 if topic == names.dead_letters else partitions)
    # A broker at work knows of them a moment later.
    while not set(names.topics) <= plant.kafka.admin.list_topics(timeout=30).topics.keys():
        time.sleep(0.1)
    try:
        yield names
    finally:
        for topic in names.topics:
            plant.kafka.delete_topic(topic)


def topology(plant: Plant, case: Case, names: Names, instance: str) -> Path:
    """The demo's worker, decisions included; what is not written is the default."""
    more = "".join(f"    {line}\n" for line in case.more)
    path = plant.folder / f"{names.tag}.{instance}.yaml"
    path.write_text(
        f"""
version: 1
broker: {{bootstrap_servers: "{plant.servers}"}}
contracts: {{directory: {ROOT / "schemas"}}}
models: {{directory: {ROOT / "models"}}}
state: {plant.folder / instance}
workers:
  scaling:
    input: {{topic: {names.source}, subject: flights-value}}
    output: {{topic: {names.output}, subject: flights.enriched-value, partitioning: PARTITIONING}}
    decisions: {{topic: {names.decisions}, subject: flights.decisions-value}}
    dead_letter: {{topic: {names.dead_letters}}}
    model: {{name: flight-delay, version: "1"}}
    group: {names.tag}
    transactional_id: {names.tag}
    delivery: {case.delivery}
    first_start: earliest
    instance: {instance}
{more}""".replace("PARTITIONING", "same" if case.note == "same" else "key")
    )
    return path


class Process:
    """One process of `workers run`."""

    def __init__(self, file: Path) -> None:
        self._log = file.with_suffix(".log")
        self.began = time.monotonic()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers", "run", "-t", str(file)],
                cwd=ROOT, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def at_work(self) -> bool:
        """Has it partitions? A member that joins is at first given none."""
        return _GIVEN.search(self._log.read_text()) is not None

    def check(self) -> None:
        """It must run.

        Raises:
            RuntimeError: it ended; the end of its log.
        """
        if self._process.poll() is not None:
            raise RuntimeError(self._log.read_text()[-3000:])

    def end(self, number: signal.Signals = signal.SIGTERM) -> str:
        """End it, and its log."""
        if self._process.poll() is None:
            os.kill(self.pid, number)
            self._process.wait()
        return self._log.read_text()


@contextmanager
def running(files: Sequence[Path]) -> Iterator[list[Process]]:
    """Processes, ended at the end."""
    found = [Process(file) for file in files]
    try:
        yield found
    finally:
        for process in found:
            process.end(signal.SIGKILL)
