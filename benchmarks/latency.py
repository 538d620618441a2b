"""Event to enriched: from the instant an event is due to be sent until a reader has its result."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.rig import PARTITIONS, ROOT, Subject, framed_flights, running
from workers.testing import RealKafka

SECONDS = 15
SETTLE_MS = 4_000
TICK = 0.002


def pace(servers: str, topic: str, rate: int) -> None:
    """Send at a fixed rate; an event's timestamp is when it was due, not when it got sent."""
    values = framed_flights()[:20_000]
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 0, "acks": "all"})
    produce: Any = producer.produce
    began, sent = time.time(), 0
    while sent < rate * SECONDS:
        due = int((time.time() - began) * rate)
        for number in range(sent, min(due, rate * SECONDS)):
            stamp = int((began + number / rate) * 1000)
            key = b"k%d" % (number % 1000)
            produce(topic, values[number % len(values)], key, timestamp=stamp)
        sent = max(sent, min(due, rate * SECONDS))
        producer.poll(0)
        time.sleep(TICK)
    producer.flush()


Waits = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Seen:
    """Events in the order they were read: when each was due, milliseconds until it was read, and
    key and value.
    """

    stamps: Waits
    waits: Waits
    events: list[tuple[bytes, bytes]]

    @property
    def settled(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Those after the first seconds."""
        found: np.ndarray[Any, np.dtype[np.bool_]] = self.stamps >= self.stamps.min() + SETTLE_MS
        return found


def percentiles(subject: Subject, kafka: RealKafka, rate: int) -> tuple[float, float]:
    """p50 and p99 in ms at `rate` events a second, without the first seconds.

    Raises:
        TimeoutError: not everything came out.
    """
    late = delays(subject, kafka, rate)
    return float(np.percentile(late, 50)), float(np.percentile(late, 99))


def delays(
    subject: Subject, kafka: RealKafka, rate: int, during: Callable[[], None] = lambda: None
) -> Waits:
    """Milliseconds of every event at `rate` events a second, without those of the first seconds.

    `during` runs in a thread of its own while they are sent.

    Raises:
        TimeoutError: not everything came out.
    """
    seen = observed(subject, kafka, rate, during)
    late: Waits = seen.waits[seen.settled]
    return late


def observed(
    subject: Subject, kafka: RealKafka, rate: int, during: Callable[[], None] = lambda: None
) -> Seen:
    """Every event that came out, in the order it was read, as `delays` has them.

    Raises:
        TimeoutError: not everything came out.
    """
    source = f"paced.{rate}.{time.time_ns()}"
    kafka.create_topic(source, PARTITIONS)
    with running(subject, kafka, source) as (_, target):
        reader = Consumer(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                "group.id": "latency",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 5,
                "auto.offset.reset": "earliest",
            }
        )
        reader.assign([TopicPartition(target, p, 0) for p in range(PARTITIONS)])
        time.sleep(10)
        command = [
            "-c",
            f"from benchmarks.latency import pace; pace(*{_arguments(kafka, source, rate)})",
        ]
        sender = subprocess.Popen([sys.executable, *command], cwd=ROOT)
        beside = threading.Thread(target=during)
        beside.start()
        found = _read(reader, rate * SECONDS)
        beside.join()
        sender.wait()
        reader.close()
    kafka.delete_topic(source)
    return found


def _arguments(kafka: RealKafka, source: str, rate: int) -> str:
    return repr((kafka.bootstrap_servers, source, rate))


def _read(reader: Consumer, count: int) -> Seen:
    found, events = np.empty((count, 2)), list[tuple[bytes, bytes]]()
    number, deadline = 0, time.monotonic() + 120
    while number < count:
        message: Any = reader.poll(0.5)
        if message is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{number} of {count} events came out")
            continue
        if message.error() is not None:
            continue
        stamp = message.timestamp()[1]
        found[number] = stamp, time.time() * 1000 - stamp
        events.append((message.key(), message.value()))
        number += 1
    return Seen(found[:, 0], found[:, 1], events)
