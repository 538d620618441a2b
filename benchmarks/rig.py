"""Broker, input and the measuring of one subject's process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from examples.flights.encode import encode
from examples.flights.events import full_year
from workers.contracts.directory import read_directory
from workers.contracts.framing import frame
from workers.testing import RealKafka, Sender, Sent

ROOT = Path(__file__).parents[1]
PARTITIONS = 4
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Subject:
    """A program that enriches (or copies) `input` to `output` until it is ended.

    `command` has {servers}, {input}, {output}, {group} in it; `events` is how many are measured;
    `contracts` and `models` are the directories that its topology names, `model` which of them;
    `more` are further keys of the worker, a line of YAML with {output} in it, which needs a topic
    `{output}.comparisons`.
    """

    name: str
    guarantee: str
    command: tuple[str, ...]
    events: int
    contracts: Path = ROOT / "schemas"
    models: Path = ROOT / "models"
    model: str = 'name: flight-delay, version: "1"'
    more: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """Events a second, CPU microseconds an event, peak resident memory in MB."""

    name: str
    guarantee: str
    rate: float
    cpu: float
    memory: float


@cache
def framed_flights() -> list[bytes]:
    """Every event of 2013, framed."""
    schema = read_directory(ROOT / "schemas").catalogue.versions("flights-value")[1].schema
    return [frame(1) + datum for datum in encode(full_year(), schema.text)]


def fill(servers: str, topic: str, values: list[bytes], count: int) -> None:
    """Write `count` events, keyed."""
    sender = Sender(servers)
    for number in range(count):
        sender.send(topic, Sent(values[number % len(values)], key=b"k%d" % (number % 1000)))
    sender.flush()


class Ends:
    """How many records a topic holds, transaction markers included."""

    def __init__(self, servers: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": servers, "group.id": "ends"})
        self._places = [TopicPartition(topic, p) for p in range(PARTITIONS)]

    def count(self) -> int:
        """Now."""
        return sum(self._consumer.get_watermark_offsets(p, timeout=20)[1] for p in self._places)

    def close(self) -> None:
        """End the client."""
        self._consumer.close()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_megabytes(pid: int) -> float:
    """The most resident memory it ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def topology_text(names: dict[str, str], subject: Subject) -> str:
    """The worker's topology; what is not written is the default."""
    return f"""
version: 1
broker: {{bootstrap_servers: "{names["servers"]}"}}
contracts: {{directory: {subject.contracts}}}
models: {{directory: {subject.models}}}
workers:
  bench:
    input: {{topic: {names["input"]}, subject: flights-value}}
    output: {{topic: {names["output"]}, subject: flights.enriched-value}}
    dead_letter: {{topic: {names["output"]}.dlq}}
    model: {{{subject.model}}}
    group: {names["group"]}
    delivery: {subject.guarantee}
    first_start: earliest
    {subject.more.format(**names)}
"""


@contextmanager
def running(subject: Subject, kafka: RealKafka, source: str) -> Iterator[tuple[int, str]]:
    """The subject's process id and its output topic."""
    tag = uuid.uuid4().hex[:8]
    target = f"out.{tag}"
    kafka.create_topic(target, PARTITIONS)
    kafka.create_topic(f"{target}.dlq", 1)
    kafka.create_topic(f"{target}.comparisons", PARTITIONS)
    with tempfile.TemporaryDirectory() as folder:
        names = {
            "servers": kafka.bootstrap_servers,
            "input": source,
            "output": target,
            "group": f"bench-{tag}",
            "topology": f"{folder}/topology.yaml",
        }
        Path(names["topology"]).write_text(topology_text(names, subject))
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [part.format(**names) for part in subject.command], stdout=out, stderr=out, cwd=ROOT
            )
        try:
            yield process.pid, target
        finally:
            if process.poll() is not None:
                print(log.read_text()[-3000:], file=sys.stderr)
            process.kill()
            process.wait()
    kafka.delete_topic(target)
    kafka.delete_topic(f"{target}.comparisons")


def measure(subject: Subject, kafka: RealKafka, source: str) -> Figures:
    """Steady state: from a third of the events on, so that starts and warm-up are outside.

    Raises:
        TimeoutError: nothing came out for a minute.
    """
    with running(subject, kafka, source) as (pid, target):
        ends = Ends(kafka.bootstrap_servers, target)
        first = _reach(ends, subject.events // 3, pid)
        last = _reach(ends, subject.events, pid)
        memory = peak_megabytes(pid)
        ends.close()
    events = last[0] - first[0]
    rate, cpu = events / (last[1] - first[1]), (last[2] - first[2]) * 1e6 / events
    return Figures(subject.name, subject.guarantee, rate, cpu, memory)


def _reach(ends: Ends, wanted: int, pid: int) -> tuple[int, float, float]:
    before, moved = -1, time.monotonic()
    while True:
        count, now = ends.count(), time.monotonic()
        if count >= wanted:
            return count, now, cpu_seconds(pid)
        if count != before:
            before, moved = count, now
        if now - moved > 60:
            raise TimeoutError(f"{count} of {wanted} events, then nothing for a minute")
        time.sleep(0.05)
