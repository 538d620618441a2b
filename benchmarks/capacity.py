"""How much of everything a load needs: formulas over what was measured, with your own prices.

`python -m benchmarks.capacity --events 1000000 --core-hour 0.05`
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).parent / "scaling.json"
MARKER = 78
"""Bytes of a transaction's marker in a log: a batch header of 61, a record of 17."""
BILLION = 1e9
GIGABYTE = 1e9
MONTH = 30 * 24.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Of one process on 60 partitions, exactly once: see `of`. CPU in µs, sizes in bytes."""

    cpu: float
    broker_cpu: float
    input: float
    output: float
    decisions: float
    per_batch: float
    memory: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What is yours to say. Prices are placeholders, not anybody's offer."""

    load: float = 0.6
    """Share of a core that is used: the rest is for peaks, and for catching up."""
    replicas: int = 3
    subscribers: int = 2
    """Readers of the whole output; decisions have one."""
    each: int = 3
    """Partitions a process: what one leaves behind spreads over others."""
    decisions: int = 60
    """Partitions of the decisions' topic, which are written by key."""
    partition_mb: float = 5.0
    """MB/s that one partition takes."""
    retention_days: float = 3.0
    zones: int = 3
    broker_mb: float = 1000.0
    """MB/s through one broker's network."""
    broker_partitions: int = 4000
    """Copies of partitions that one broker is given."""
    coordinator_partitions: int = 50
    """Of `__transaction_state`."""
    core_hour: float = 0.04
    gb_between_zones: float = 0.02
    gb_month: float = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a load needs."""

    processes: int
    partitions: int
    memory_gb: float
    broker_cores: float
    written_mb: float
    replicated_mb: float
    read_mb: float
    transactions: float
    markers_key: float
    """Markers a second, output and decisions having all those partitions, written by key."""
    markers_same: float
    """The output written by the input's numbers, decisions having few partitions."""
    stored_tb: float
    cost_cores: float
    cost_network: float
    cost_storage: float

    @property
    def cost(self) -> float:
        """Of a billion events."""
        return self.cost_cores + self.cost_network + self.cost_storage


def of(found: dict[str, Any]) -> Measured:
    """What the model takes from a measurement.

    Raises:
        StopIteration: the case is not among the rows.
    """
    row = next(each for each in found["rows"] if chosen(each))
    return Measured(
        cpu=row["cpu"],
        broker_cpu=row["broker_cpu"],
        per_batch=row["per_batch"],
        memory=row["memory"],
        **found["sizes"],
    )


def chosen(row: dict[str, Any]) -> bool:
    """Is it the row that the model takes?"""
    return (row["processes"], row["partitions"], row["delivery"]) == (1, 60, "exactly_once")


def touched(records: float, partitions: float) -> float:
    """How many of the partitions get at least one of so many records, keys being spread evenly."""
    return partitions * (1 - (1 - 1 / partitions) ** records)


def plan(events: float, of_one: Measured, assumed: Assumptions) -> Plan:
    """What `events` a second need."""
    one, a = of_one, assumed
    bytes_written = one.input + one.output + one.decisions
    processes = math.ceil(events * one.cpu / 1e6 / a.load)
    by_bytes = math.ceil(events * max(one.input, one.output) / (a.partition_mb * 1e6))
    partitions = max(processes * a.each, by_bytes)
    own = partitions / processes
    transactions = events / one.per_batch
    broker_cores = events * one.broker_cpu * a.replicas / 1e6 / a.load
    written = events * bytes_written
    replicated = written * (a.replicas - 1)
    read = events * (one.input + a.subscribers * one.output + one.decisions)
    hours = BILLION / events / 3600
    # Replicas are in other zones; a reader or writer is, with the chance of it.
    crossing = replicated + (written + read) * (a.zones - 1) / a.zones
    kept = (one.output + one.decisions + one.input) * a.replicas * BILLION / GIGABYTE
    return Plan(
        processes=processes,
        partitions=partitions,
        memory_gb=processes * one.memory / 1024,
        broker_cores=broker_cores,
        written_mb=written / 1e6,
        replicated_mb=replicated / 1e6,
        read_mb=read / 1e6,
        transactions=transactions,
        markers_key=transactions * (2 * touched(one.per_batch, partitions) + 1),
        markers_same=transactions * (own + touched(one.per_batch, a.decisions) + 1),
        stored_tb=written * a.replicas * a.retention_days * 86_400 / 1e12,
        cost_cores=(processes + broker_cores) * hours * a.core_hour,
        cost_network=crossing * hours * 3600 / GIGABYTE * a.gb_between_zones,
        cost_storage=kept * a.retention_days * 24 / MONTH * a.gb_month,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a plan."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--events", type=float, default=1e6, help="events a second")
    for each in fields(Assumptions):
        name = f"--{each.name.replace('_', '-')}"
        parser.add_argument(name, type=type(each.default), default=each.default)
    options = vars(parser.parse_args(arguments))
    events = options.pop("events")
    found = plan(events, of(json.loads(MEASURED.read_text())), replace(Assumptions(), **options))
    for name, value in {**asdict(found), "cost": found.cost}.items():
        print(f"{name.replace('_', ' '):>16} {value:>16,.2f}")


if __name__ == "__main__":
    main()
