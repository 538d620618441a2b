"""Faults at random, under load, for as long as one likes; then the judge.

`python -m tests.faults.chaos --seconds 600 --seed 7` (`make chaos SECONDS=600 SEED=7`) says what it
does as it does it, and ends with a verdict. The same seed draws the same faults in the same order.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.flights.encode import encode
from examples.flights.events import shipped_month
from tests.conftest import ROOT
from tests.faults.rig import PAUSE, SESSION_SECONDS, Scene, Zygote, topology_file, zygotes
from workers.contracts.directory import read_directory
from workers.testing.cluster import Broker, Cluster
from workers.testing.proxy import CLEAR, END_TXN, Weather
from workers.topology import load
from workers.wiring import build_enricher, pick

Say = Callable[[str], None]
SLACK = 90.0
"""Seconds in which everything must be out when the last fault is over."""
PROGRESS = 60.0
"""Seconds without a record, faults or not, that are a hang."""


class Chaos:
    """Draws faults and carries them out; each is over when the next one begins."""

    def __init__(self, cluster: Cluster, live: Scene, lives: list[Zygote], seed: int) -> None:
        self._cluster = cluster
        self._live = live
        self._lives = lives
        self._chance = random.Random(seed)
        cluster.network.chance = random.Random(seed + 1)
        self._faults: dict[str, Callable[[], None]] = {
            "a worker is killed": self._kill_worker,
            "a worker stands still past its session": self._stop_worker,
            "a worker is restarted": self._restart_worker,
            "a broker is killed": self._kill_broker,
            "two brokers are killed": self._kill_two,
            "all brokers stand still": self._stop_brokers,
            "the network is slow and breaks": self._bad_network,
            "connections are half open": self._half_open,
            "one way to a broker is lost": self._one_way,
            "a commit request is held back": self._late_end,
        }

    def step(self, say: Say) -> None:
        """One fault, to its end."""
        name = self._chance.choice(list(self._faults))
        say(name)
        self._faults[name]()

    def _wait(self, least: float, most: float) -> None:
        PAUSE.wait(self._chance.uniform(least, most))

    def _worker(self) -> Zygote:
        return self._chance.choice(self._lives)

    def _broker(self) -> Broker:
        return self._chance.choice(list(self._cluster.brokers.values()))

    def _kill_worker(self) -> None:
        worker = self._worker()
        worker.kill()
        self._wait(0, 2)
        worker.begin()

    def _stop_worker(self) -> None:
        with self._worker().stopped():
            self._wait(1.5 * SESSION_SECONDS, 3 * SESSION_SECONDS)

    def _restart_worker(self) -> None:
        worker = self._worker()
        worker.terminate()
        worker.begin()

    def _kill_broker(self) -> None:
        self._broker().kill()
        self._wait(0, 6)
        self._cluster.heal()

    def _kill_two(self) -> None:
        for broker in self._chance.sample(list(self._cluster.brokers.values()), 2):
            broker.kill()
        self._wait(1, 8)
        self._cluster.heal()

    def _stop_brokers(self) -> None:
        for broker in self._cluster.brokers.values():
            broker.pause()
        self._wait(1, 8)
        self._cluster.heal()

    def _bad_network(self) -> None:
        delay, resets = self._chance.uniform(0, 0.3), self._chance.uniform(0, 0.1)
        self._cluster.network.weather(Weather(delay=delay, resets=resets))
        self._wait(2, 6)
        self._cluster.network.weather(CLEAR)

    def _half_open(self) -> None:
        self._broker().proxy.half_open()
        self._wait(0, 4)

    def _one_way(self) -> None:
        deaf = self._chance.random() < 0.5
        proxy = self._broker().proxy
        proxy.weather = Weather(deaf=deaf, mute=not deaf)
        self._wait(1, 6)
        proxy.weather = CLEAR

    def _late_end(self) -> None:
        held = self._cluster.network.hold(END_TXN)
        self._wait(2, 5)
        for request in held:
            request.try_to_deliver()


def run(scene: Scene, folder: Path, seconds: float, seed: int, say: Say) -> str:
    """Three processes of the worker and `seconds` of faults; a summary in words.

    Raises:
        AssertionError: a promise did not hold; says which.
        TimeoutError: it hangs.
    """
    cluster = scene.cluster
    path = topology_file(folder, cluster.bootstrap_servers, scene.worker, static=False)
    steps = 0
    with scene as live, zygotes(path, folder, 3) as lives:
        for life in lives:
            life.begin()
        live.progress()
        chaos = Chaos(cluster, live, lives, seed)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            chaos.step(say)
            live.progress(1, PROGRESS)
            steps += 1
            say(f"  {live.flow.sent} records sent, {live.verifier.seen} came out")
        cluster.heal()
        live.flow.stop()
        live.all_out(SLACK)
        for life in lives:
            life.drain()
        live.conclude()
        return f"{steps} faults, {live.flow.sent} records, {len(live.flow.pills)} dead letters"


@contextmanager
def world(seed: int) -> Iterator[Scene]:
    """A cluster and the demo's worker on it."""
    topology = load(ROOT / "topology.yaml", {})
    schema = read_directory(ROOT / "schemas").catalogue.versions("flights-value")[1].schema
    flights = encode(shipped_month().head(4000), schema.text)
    with Cluster(seed) as cluster:
        yield Scene(cluster, topology, build_enricher(topology, pick(topology, None)), flights)


def main() -> int:
    """Run, say, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    options = parser.parse_args()
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", file=sys.stderr, flush=True)

    say(f"seed {options.seed}, {options.seconds:g} s of faults")
    with tempfile.TemporaryDirectory() as folder, world(options.seed) as scene:
        try:
            summary = run(scene, Path(folder), options.seconds, options.seed, say)
        except (AssertionError, TimeoutError) as broken:
            say(f"BROKEN with seed {options.seed}: {broken}")
            for log in sorted(Path(folder).glob("*.log")):
                say(f"{log.name}: {log.read_text(errors='replace')[-3000:]}")
            return 1
    say(f"every promise held: {summary}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
