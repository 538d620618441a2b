"""Kill -9 at random instants and at every failpoint, on real Kafka, watched by a reader."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.traffic import broken, good, ids, places_by_key, split
from workers.contracts.catalogue import Catalogue
from workers.testing import Reader, RealKafka, Sender, Sent, isolated
from workers.topology import Delivery, Topology, Worker
from workers.wiring import pick

FAILPOINTS = ("polled", "begun", "half", "offsets", "committing", "committed")
MAX_RECORDS = 200
LIFE_SECONDS = 25.0
PAUSE = threading.Event()


def topology_file(folder: Path, servers: str, worker: Worker, *, static: bool) -> Path:
    """The worker as an operator would write it down."""
    timeout = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}
    text = f"""
version: 1
broker: {{bootstrap_servers: "{servers}"}}
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
    delivery: {worker.delivery.value}
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

    def begin(self, failpoint: str, count: int) -> None:
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
        self.status = int(self._process.stdout.readline().split()[1])
        self._over.set()

    def end(self, number: signal.Signals, within: float = 60.0) -> None:
        """Signal this life and wait until it is over."""
        if not self._over.is_set():
            os.kill(self._pid, number)
        assert self._over.wait(within), "the life does not end"

    def life(self, failpoint: str, chance: random.Random) -> None:
        """A life that ends by SIGKILL at a failpoint, or at a random instant."""
        if failpoint == "random":
            self.begin("-", 0)
            self._over.wait(chance.uniform(0.5, 4.0))
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
            os.kill(self._pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                pipe.close()


class Flow:
    """A steady stream of records in a thread of its own."""

    def __init__(self, servers: str, topic: str, flights: list[bytes]) -> None:
        self.sent = 0
        self.pills = 0
        self._sender = Sender(servers)
        self._topic = topic
        self._flights = flights
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pill = broken(self._flights[0])[6]
        for start in itertools.cycle(range(0, len(self._flights), 20)):
            if self._stop.is_set():
                return
            for number, record in enumerate(good(self._flights[start : start + 20])):
                place, key = b"%d" % self.sent, b"key-%d" % (self.sent % 30)
                value = pill.value if (start + number) % 97 == 0 else record.value
                self._sender.send(self._topic, Sent(value, key, [("place", place)]))
                self.sent += 1
                self.pills += value == pill.value
            PAUSE.wait(0.05)

    def stop(self) -> None:
        """Stop, and wait until the broker holds all."""
        self._stop.set()
        self._thread.join()
        self._sender.flush()


@contextmanager
def zygotes(topology: Path, folder: Path) -> Iterator[list[Zygote]]:
    """Two instances of the worker."""
    found = [Zygote(topology, name, folder / f"{name}.log") for name in ("a", "b")]
    try:
        yield found
    finally:
        for zygote in found:
            zygote.close()


def drive(found: list[Zygote], plan: list[str], seed: int) -> list[threading.Thread]:
    """Each instance lives its half of the plan; both at once."""

    def lives(number: int, zygote: Zygote) -> None:
        chance = random.Random(seed + number)
        for failpoint in plan[number::2]:
            zygote.life(failpoint, chance)
        zygote.begin("-", 0)

    threads = [threading.Thread(target=lives, args=pair) for pair in enumerate(found)]
    for thread in threads:
        thread.start()
    return threads


def read_while(reader: Reader, threads: list[threading.Thread]) -> None:
    """The concurrent reader: it sees what downstream sees while workers die."""
    while any(thread.is_alive() for thread in threads):
        reader.read(0.2)


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.timeout(900)
def test_exactly_once_survives_kill_9(
    kafka: RealKafka,
    topology: Topology,
    flights: list[bytes],
    contracts: Catalogue,
    tmp_path: Path,
) -> None:
    """Sixty lives cut short: every record once, in order per key, no transaction left open."""
    _, worker = isolated(topology, pick(topology, None), kafka)
    path = topology_file(tmp_path, kafka.bootstrap_servers, worker, static=True)
    plan = [*FAILPOINTS * 6, *["random"] * 24]
    seed = 20131001
    random.Random(seed).shuffle(plan)

    with (
        Reader(kafka.bootstrap_servers, worker.output.topic, worker.dead_letter.topic) as reader,
        zygotes(path, tmp_path) as found,
    ):
        flow = Flow(kafka.bootstrap_servers, worker.input.topic, flights)
        read_while(reader, drive(found, plan, seed))
        flow.stop()
        reader.until(lambda seen: len(seen) >= flow.sent, 120)
        reader.read(1.0)
        killed = found[0].killed + found[1].killed

        enriched, dead = split(reader.records, worker.dead_letter.topic)
        places = Counter(int(record.header("place")) for record in reader.records)
        assert (len(enriched), len(dead)) == (flow.sent - flow.pills, flow.pills), seed
        assert places == Counter(range(flow.sent)), seed
        assert len(set(ids(enriched, contracts))) == len(enriched), seed
        for key, order in places_by_key(enriched).items():
            assert order == sorted(order), (seed, key)
        assert killed.total() >= 60
        assert all(killed[name] for name in FAILPOINTS), killed

        # No transaction is left open: a record a partition goes through to a committed reader.
        sender = Sender(kafka.bootstrap_servers)
        for partition in range(4):
            last = Sent(good(flights[:1])[0].value, b"last", [("place", b"-1")], 0, partition)
            sender.send(worker.input.topic, last)
        sender.flush()
        reader.until(lambda seen: len(seen) >= flow.sent + 4, 60)
        for zygote in found:
            zygote.end(signal.SIGTERM)
            assert zygote.status == 0
    print(f"{killed.total()} kills {dict(killed)}, {flow.sent} records, {flow.pills} dead letters")


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.timeout(600)
def test_at_least_once_loses_nothing_and_bounds_what_is_doubled(
    kafka: RealKafka,
    topology: Topology,
    flights: list[bytes],
    tmp_path: Path,
) -> None:
    """A kill doubles at most the batch being written and the one whose offsets were on the way."""
    _, worker = isolated(topology, pick(topology, None), kafka, delivery=Delivery.AT_LEAST_ONCE)
    path = topology_file(tmp_path, kafka.bootstrap_servers, worker, static=True)
    plan = ["polled", "begun", "half", "committing", "committed", "random"] * 2
    seed = 7

    with (
        Reader(kafka.bootstrap_servers, worker.output.topic, worker.dead_letter.topic) as reader,
        zygotes(path, tmp_path) as found,
    ):
        flow = Flow(kafka.bootstrap_servers, worker.input.topic, flights)
        read_while(reader, drive(found, plan, seed))
        flow.stop()
        wanted = set(range(flow.sent))
        reader.until(lambda seen: {int(r.header("place")) for r in seen} >= wanted, 120)
        for zygote in found:
            zygote.end(signal.SIGTERM)
            assert zygote.status == 0
        reader.read(1.0)
        killed = found[0].killed + found[1].killed

    places = Counter(int(record.header("place")) for record in reader.records)
    doubled = places.total() - len(places)
    assert set(places) == wanted
    assert doubled <= killed.total() * 2 * MAX_RECORDS
    print(f"{killed.total()} kills, {flow.sent} records, {doubled} doubled")
