"""`python -m benchmarks --scaling`: processes, partitions and guarantees on one real broker.

Writes benchmarks/scaling.json, what was measured, and docs/scaling.md, which is made of that and
of the formulas of `benchmarks.capacity`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.document import machine
from benchmarks.plant import (
    INSTANCES,
    Case,
    Done,
    Plant,
    Process,
    network_bytes,
    running,
    topics,
    topology,
)
from benchmarks.restarts import stalls
from benchmarks.rig import cpu_seconds, framed_flights, peak_megabytes
from workers.testing import Sender, Sent

PARTITIONS = (6, 60, 600)
DELIVERIES = ("at_least_once", "exactly_once")
KEYS = 20_000
SAMPLE = 0.1
PATIENCE = 120.0
MEASURED = Path(__file__).parent / "scaling.json"


@dataclass(frozen=True, slots=True)
class Row:
    """What one case costs in steady state; CPU in µs an event, network in bytes an event."""

    processes: int
    partitions: int
    delivery: str
    note: str
    rate: float
    cpu: float
    broker_cpu: float
    network: float
    memory: float
    start: float
    per_batch: float


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes an event in the log, with the batches' headers: of the three topics."""

    input: float
    output: float
    decisions: float


@dataclass(frozen=True, slots=True)
class _Instant:
    done: int
    at: float
    cpu: float
    broker: float
    network: int


def cases() -> list[Case]:
    """Every combination, and two that show what partitions cost a transaction."""
    every = [
        Case(processes, partitions, delivery)
        for delivery in DELIVERIES
        for partitions in PARTITIONS
        for processes in (1, 2)
    ]
    return [
        *every,
        Case(1, 600, "exactly_once", note="same"),
        Case(2, 600, "exactly_once", note="same"),
    ]


def scaling(events: int, *, seconds: float) -> dict[str, Any]:
    """Measure all; `events` each, `seconds` of load for each kind of restart."""
    values = framed_flights()
    with tempfile.TemporaryDirectory() as folder:
        plant = Plant(Path(folder))
        try:
            for partitions in PARTITIONS:
                fill(plant, partitions, values, events)
            measured = [measure(plant, case, events) for case in cases()]
            stalled = stalls(plant, values, seconds)
        finally:
            plant.close()
    rows, sizes = [row for row, _ in measured], [size for _, size in measured]
    once = next(
        size for row, size in measured if (row.partitions, row.delivery) == (60, "exactly_once")
    )
    return {
        "machine": machine(),
        "events": events,
        "sizes": asdict(once),
        "sizes_600": asdict(sizes[-3]),
        "rows": [asdict(row) for row in rows],
        "stalls": [asdict(stall) for stall in stalled],
    }


def fill(plant: Plant, partitions: int, values: Sequence[bytes], events: int) -> None:
    """An input topic with so many partitions and events, keyed."""
    say(f"filling {partitions} partitions with {events:,} events")
    topic = f"in.{partitions}"
    plant.kafka.create_topic(topic, partitions)
    sender = Sender(plant.servers)
    for number in range(events):
        key = b"key-%d" % (number * 7919 % KEYS)
        sender.send(topic, Sent(values[number % len(values)], key=key))
    sender.flush()


def measure(plant: Plant, case: Case, events: int) -> tuple[Row, Sizes]:
    """Steady state: from a third of the events to nine tenths, all processes at work."""
    with topics(plant, f"in.{case.partitions}", case.partitions) as names:
        files = [topology(plant, case, names, each) for each in INSTANCES[: case.processes]]
        done = Done(plant, names.tag, names.source, case.partitions)
        with running(files) as processes:
            reach(plant, done, processes, 1)
            start = time.monotonic() - processes[0].began
            first = reach(plant, done, processes, events // 3)
            last = reach(plant, done, processes, events * 9 // 10)
            memory = max(peak_megabytes(process.pid) for process in processes)
            reach(plant, done, processes, events)
            logs = [process.end() for process in processes]
        done.close()
        row = _row(case, first, last, start=start, memory=memory, per_batch=per_batch(logs))
        sizes = Sizes(
            input=plant.stored(names.source) / events,
            output=plant.stored(names.output) / events,
            decisions=plant.stored(names.decisions) / events,
        )
    say(
        f"{case.processes} processes, {case.partitions} partitions, {case.delivery} {case.note}: "
        f"{row.rate:,.0f}/s, {row.cpu:.1f} µs, broker {row.broker_cpu:.1f} µs, "
        f"{row.network:.0f} bytes, {row.memory:.0f} MB, {row.start:.1f} s"
    )
    return row, sizes


def _row(
    case: Case, first: _Instant, last: _Instant, *, start: float, memory: float, per_batch: float
) -> Row:
    count = last.done - first.done
    return Row(
        processes=case.processes,
        partitions=case.partitions,
        delivery=case.delivery,
        note=case.note,
        rate=count / (last.at - first.at),
        cpu=(last.cpu - first.cpu) * 1e6 / count,
        broker_cpu=(last.broker - first.broker) * 1e6 / count,
        network=(last.network - first.network) / count,
        memory=memory,
        start=start,
        per_batch=per_batch,
    )


def per_batch(logs: Sequence[str]) -> float:
    """Events in a batch, which is a transaction, by what the processes said when they drained."""
    found = [json.loads(line) for log in logs for line in log.splitlines() if line[:1] == "{"]
    ends = [line for line in found if line["event"] == "worker.drained"]
    return sum(end["enriched"] for end in ends) / max(1, sum(end["batches"] for end in ends))


def reach(plant: Plant, done: Done, processes: Sequence[Process], wanted: int) -> _Instant:
    """The instant at which so many events are done.

    Raises:
        TimeoutError: nothing was done for too long.
        RuntimeError: a process ended.
    """
    before, moved = -1, time.monotonic()
    while True:
        count, now = done.count(), time.monotonic()
        if count >= wanted:
            cpu = sum(cpu_seconds(process.pid) for process in processes)
            return _Instant(count, now, cpu, plant.broker_cpu(), network_bytes())
        for process in processes:
            process.check()
        if count != before:
            before, moved = count, now
        if now - moved > PATIENCE:
            raise TimeoutError(f"{count} of {wanted} events, then nothing for {PATIENCE:g} s")
        time.sleep(SAMPLE)


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


__all__ = ["MEASURED", "scaling"]
