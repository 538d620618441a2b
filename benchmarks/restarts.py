"""How long events wait while processes come, go and are restarted, and whether each comes once."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.plant import INSTANCES, Case, Names, Plant, Process, topics, topology

RATE = 2_000
TICK = 0.005
BEFORE_NEXT = 3.0
"""Seconds before the next happening whose events count for neither."""
WARM = 6.0
"""Seconds of load before anything happens."""
AFTER = 60.0
"""Seconds without any event, after which those that have not come are lost."""
KINDS: dict[str, tuple[str, ...]] = {
    "dynamic": (),
    "static": ("static_membership: true",),
    "KIP-848": ("protocol: consumer",),
}
SETTINGS = (("dynamic", 60), ("static", 60), ("KIP-848", 60))
"""Not 600 partitions: on two cores two processes and the broker do not keep up with `RATE` there,
and what waits for that hides what waits for a restart.
"""


@dataclass(frozen=True, slots=True)
class Stall:
    """The longest that an event waited, in ms, by what happened; and what was lost or doubled."""

    membership: str
    partitions: int
    sent: int
    lost: int
    doubled: int
    quiet: float
    join: float
    leave: float
    rolling: float
    kill: float


def stalls(plant: Plant, values: Sequence[bytes], seconds: float) -> list[Stall]:
    """Every setting: a process joins, leaves, both are restarted in turn, one is killed."""
    found = []
    for kind, partitions in SETTINGS:
        found.append(_stall(plant, values, kind, partitions, seconds))
        print(f"restarts: {found[-1]}", file=sys.stderr, flush=True)
    return found


class Paced:
    """Sends numbered events at a fixed rate; an event's timestamp is when it was due."""

    def __init__(self, servers: str, topic: str, values: Sequence[bytes]) -> None:
        self.sent = 0
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 0, "acks": "all"})
        self._topic, self._values = topic, values
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        produce: Any = self._producer.produce
        began = time.time()
        while not self._stop.wait(TICK):
            due = int((time.time() - began) * RATE)
            for number in range(self.sent, due):
                produce(
                    self._topic, self._values[number % len(self._values)], b"k%d" % (number % 5000),
                    timestamp=int((began + number / RATE) * 1000),
                    headers=[("number", b"%d" % number)],
                )  # fmt: skip
            self.sent = max(self.sent, due)
            self._producer.poll(0)

    def stop(self) -> None:
        """Stop, and wait until the broker holds all."""
        self._stop.set()
        self._thread.join()
        self._producer.flush()


class Seen:
    """Reads the output, committed records only: which event, due when, come when (ms)."""

    def __init__(self, servers: str, topic: str, partitions: int) -> None:
        self.numbers = Counter[int]()
        self.times: list[tuple[float, float]] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "restarts",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 5,
                "enable.auto.commit": False,
            }
        )
        self._consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(500, 0.02):
                now = time.time() * 1000
                if message.error() is not None:
                    continue
                headers: Any = message.headers()
                number = next(int(value) for key, value in headers if key == "number")
                self.numbers[number] += 1
                self.times.append((message.timestamp()[1], now))

    def until(self, count: int) -> None:
        """So many different events have come, or none came for long: those are lost."""
        before, moved = 0, time.monotonic()
        while len(self.numbers) < count and time.monotonic() - moved < AFTER:
            if len(self.numbers) != before:
                before, moved = len(self.numbers), time.monotonic()
            time.sleep(0.1)

    def close(self) -> None:
        """End the reader."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def worst(self, since: float, until: float) -> float:
        """The longest wait of events that were due in that time (ms since the epoch)."""
        every = np.array(self.times)
        inside = every[(every[:, 0] >= since) & (every[:, 0] < until)]
        return float((inside[:, 1] - inside[:, 0]).max()) if len(inside) else float("nan")


class Crew:
    """The two processes of a run."""

    def __init__(self, plant: Plant, case: Case, names: Names) -> None:
        self._files = {each: topology(plant, case, names, each) for each in INSTANCES}
        self._live: dict[str, Process] = {}

    def start(self, name: str) -> None:
        """Until it has partitions."""
        file = self._files[name]
        file.with_suffix(".log").unlink(missing_ok=True)
        process = self._live[name] = Process(file)
        while not process.at_work:
            process.check()
            time.sleep(0.05)

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Drained or killed."""
        self._live.pop(name).end(number)

    def roll(self) -> None:
        """One after the other, as a rolling update does it."""
        for name in INSTANCES:
            self.end(name)
            self.start(name)

    def lose(self) -> None:
        """SIGKILL, and long enough for its session to end before it is started again."""
        self.end("b", signal.SIGKILL)
        time.sleep(20)
        self.start("b")

    def close(self) -> None:
        """End all."""
        for name in list(self._live):
            self.end(name, signal.SIGKILL)


Span = tuple[float, float]


def _stall(
    plant: Plant, values: Sequence[bytes], kind: str, partitions: int, seconds: float
) -> Stall:
    case = Case(2, partitions, "exactly_once", KINDS[kind])
    source = f"paced.{kind}.{partitions}"
    plant.kafka.create_topic(source, partitions)
    with topics(plant, source, partitions) as names:
        crew, seen = Crew(plant, case, names), Seen(plant.servers, names.output, partitions)
        try:
            crew.start("a")
            paced = Paced(plant.servers, source, values)
            time.sleep(WARM)
            spans = _events(crew, seconds)
            paced.stop()
            seen.until(paced.sent)
        finally:
            crew.close()
            seen.close()
    plant.kafka.delete_topic(source)
    doubled = sum(count - 1 for count in seen.numbers.values())
    lost = paced.sent - len(seen.numbers)
    worst = {name: seen.worst(*span) for name, span in spans.items()}
    return Stall(kind, partitions, paced.sent, lost, doubled, **worst)


def _events(crew: Crew, seconds: float) -> dict[str, Span]:
    """Everything that may happen, and when it did; `seconds` of peace after each."""

    def during(act: Callable[[], None]) -> Span:
        began = time.time() * 1000
        act()
        time.sleep(seconds)
        # What is due at the very end may wait for what happens next.
        return began, (time.time() - BEFORE_NEXT) * 1000

    spans = {
        "quiet": during(lambda: None),
        "join": during(lambda: crew.start("b")),
        "leave": during(lambda: crew.end("b")),
    }
    during(lambda: crew.start("b"))
    return {**spans, "rolling": during(crew.roll), "kill": during(crew.lose)}
