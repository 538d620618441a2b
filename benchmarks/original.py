"""A system that was there first: one process produces, another one consumes and commits.

At a rate an event's timestamp is when it was due, not when it got sent. Without a rate both do what
they can; the producer waits where the consumer is `BEHIND` events behind, so that neither hides the
other.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from benchmarks.latency import TICK, Waits
from benchmarks.rig import cpu_seconds, framed_flights
from workers.testing import RealKafka
from workers.testing.kafka import LocalProcess

BEHIND = 50_000
SAMPLE = 0.1
"""Seconds between two looks at the counters."""
START = 120.0
"""Seconds until its consumer reads."""
SPAWN = multiprocessing.get_context("spawn")


@dataclass
class Shared:
    """What its processes and we have in common: counts of the whole run."""

    ready: Any = field(default_factory=SPAWN.Event)
    stop: Any = field(default_factory=SPAWN.Event)
    acknowledged: Any = field(default_factory=lambda: SPAWN.Value("q", 0, lock=False))
    consumed: Any = field(default_factory=lambda: SPAWN.Value("q", 0, lock=False))


@dataclass
class Heard:
    """What it saw.

    `answers` and `delays`, a row an event, empty without a rate: when it was due (seconds since
    1970), and milliseconds from its sending until the broker had it, and from when it was due until
    it was consumed. `counts`, a row a look: when, acknowledged, consumed, the broker's CPU seconds.
    """

    answers: Waits = field(default_factory=lambda: np.empty((0, 2)))
    delays: Waits = field(default_factory=lambda: np.empty((0, 2)))
    counts: Waits = field(default_factory=lambda: np.empty((0, 4)))


def produce(servers: str, topic: str, rate: int | None, shared: Shared, out: Connection) -> None:
    """Send until it is stopped, then what it saw."""
    values, answers = framed_flights()[:20_000], array("d")
    failed: list[str] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failed.append(error.str())
            return
        answers.extend((message.timestamp()[1] / 1000, (message.latency() or 0.0) * 1000))

    producer = Producer({"bootstrap.servers": servers, "acks": "all", "linger.ms": 5})
    send: Any = producer.produce
    report = {} if rate is None else {"on_delivery": delivered}
    shared.ready.wait()
    began, sent = time.time(), 0
    while not shared.stop.is_set() and not failed:
        due = int((time.time() - began) * rate) if rate else shared.consumed.value + BEHIND
        for number in range(sent, min(due, sent + 1000)):
            stamp = began + number / rate if rate else time.time()
            key = b"k%d" % (number % 1000)
            send(topic, values[number % len(values)], key, timestamp=int(stamp * 1000), **report)
        idle = due - sent < 1000
        sent = max(sent, min(due, sent + 1000))
        producer.poll(0)
        shared.acknowledged.value = sent - len(producer)
        if idle:
            time.sleep(TICK)
    producer.flush(30)
    out.send((answers.tobytes(), failed))


def consume(servers: str, topic: str, rate: int | None, shared: Shared, out: Connection) -> None:
    """Read what comes until it is stopped, then what it saw."""
    delays, failed = array("d"), list[str]()
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"{topic}.original",
            "auto.offset.reset": "error",
            "auto.commit.interval.ms": 250,
            "fetch.queue.backoff.ms": 10,
        }
    )

    def from_the_end(consumer: Consumer, places: list[TopicPartition]) -> None:
        for place in places:
            place.offset = consumer.get_watermark_offsets(place, timeout=20)[1]
        consumer.assign(places)
        shared.ready.set()

    consumer.subscribe([topic], on_assign=from_the_end)
    while not shared.stop.is_set():
        first = consumer.poll(0.1)
        if first is None:
            continue
        messages = [first, *consumer.consume(1000, 0)]
        now = time.time()
        failed += [str(m.error()) for m in messages if m.error() is not None]
        shared.consumed.value += len(messages)
        if rate is not None:
            for message in messages:
                stamp = message.timestamp()[1] / 1000
                delays.extend((stamp, (now - stamp) * 1000))
    consumer.close()
    out.send((delays.tobytes(), failed))


@contextmanager
def original(kafka: RealKafka, topic: str, rate: int | None) -> Iterator[Heard]:
    """Runs while it is entered; what it saw is there when it has ended.

    Raises:
        RuntimeError: an event of it failed.
        TimeoutError: it does not come to read.
    """
    shared, heard, ends = Shared(), Heard(), list[Connection]()
    processes, ended = [], threading.Event()
    for target in (consume, produce):
        here, there = SPAWN.Pipe(duplex=False)
        arguments = (kafka.bootstrap_servers, topic, rate, shared, there)
        processes.append(SPAWN.Process(target=target, args=arguments, daemon=True))
        processes[-1].start()
        ends.append(here)
    rows = list[tuple[float, ...]]()
    meter = threading.Thread(target=lambda: rows.extend(_counts(kafka, shared, ended)))
    try:
        _reading(shared)
        meter.start()
        yield heard
        ended.set()
        meter.join()
        shared.stop.set()
        heard.counts = np.array(rows)
        heard.delays, heard.answers = (_received(end) for end in ends)
    finally:
        ended.set()
        for process in processes:
            process.kill()
            process.join()


def _reading(shared: Shared) -> None:
    deadline = time.monotonic() + START
    while not shared.consumed.value:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the original reads nothing after {START:g} s")
        time.sleep(SAMPLE)


def _received(end: Connection) -> Waits:
    content, failed = end.recv()
    if failed:
        raise RuntimeError(f"{len(failed)} events of the original failed: {failed[0]}")
    found: Waits = np.frombuffer(content).reshape(-1, 2)
    return found


def _counts(
    kafka: RealKafka, shared: Shared, ended: threading.Event
) -> Iterator[tuple[float, ...]]:
    """Looks; the broker's CPU is no number where it is not ours."""
    server = kafka.server
    while not ended.wait(SAMPLE):
        spent = cpu_seconds(server.pid) if isinstance(server, LocalProcess) else float("nan")
        yield time.time(), shared.acknowledged.value, shared.consumed.value, spent
