"""docs/scaling.md: its text, filled with what was measured and what the model makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from benchmarks.capacity import (
    MARKER,
    MEASURED,
    Assumptions,
    Measured,
    of,
    plan,
    touched,
)
from benchmarks.rig import ROOT

PAGE = ROOT / "docs" / "scaling.md"
TEXT = Path(__file__).with_suffix(".md")
LOADS = (10_000, 100_000, 1_000_000, 10_000_000)
ONCE = "exactly_once"
Found = dict[str, Any]
PLANNED = {
    "processes (one core each)": "processes:,",
    "partitions of the input": "partitions:,",
    "memory of the workers, GB": "memory_gb:,.1f",
    "broker cores": "broker_cores:,.1f",
    "written to leaders, MB/s": "written_mb:,.1f",
    "replicated, MB/s": "replicated_mb:,.1f",
    "read from brokers, MB/s": "read_mb:,.1f",
    "transactions/s": "transactions:,.1f",
    "markers/s, key": "markers_key:,.0f",
    "markers/s, same": "markers_same:,.0f",
    "kept for `retention_days`, TB": "stored_tb:,.2f",
    "a billion events: cores": "cost_cores:,.2f",
    "a billion events: network": "cost_network:,.2f",
    "a billion events: storage": "cost_storage:,.2f",
    "**a billion events**": "cost:,.2f",
}
"""Rows of the table of plans, and how a plan's field is shown."""


def write_page() -> None:
    """Renew docs/scaling.md from what was measured last."""
    PAGE.write_text(page(json.loads(MEASURED.read_text())))


def page(found: Found) -> str:
    """The page. Every figure is measured, assumed, or made of those by `benchmarks.capacity`."""
    one, a = of(found), Assumptions()
    most = LOADS[-1]
    p, calm = plan(most, one, a), plan(most, replace(one, per_batch=20_000), a)
    moved = p.written_mb + p.replicated_mb + p.read_mb
    copies = 2 * p.partitions * a.replicas
    return TEXT.read_text().format(
        machine=f"{found['machine']} {found.get('note', '')}".strip(),
        events=found["events"],
        rows=_rows(found),
        stalls=_stalls(found),
        plans=_plans(one, a),
        checks=_checks(found, one),
        assumed=", ".join(f"`{f.name}` {getattr(a, f.name):g}" for f in fields(a)),
        one=one,
        a=a,
        p=p,
        calm=calm,
        core=1e6 / one.cpu,
        loaded=1e6 / one.cpu * a.load,
        reached=touched(one.per_batch, p.partitions),
        coordinated=p.transactions / a.coordinator_partitions,
        moved=moved,
        by_network=moved / a.broker_mb / a.load,
        copies=copies,
        by_partitions=copies / a.broker_partitions,
        decided=most * one.decisions / 1e6,
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rows(found: Found) -> str:
    head = (
        "guarantee", "partitions", "processes", "events/s", "worker CPU µs/event",
        "broker CPU µs/event", "network bytes/event", "events a batch", "peak RSS MB",
        "start to first commit s",
    )  # fmt: skip
    return _table(
        head,
        (
            (
                row["delivery"].replace("_", " ")
                + (", `partitioning: same`" if row["note"] == "same" else ""),
                f"{row['partitions']}",
                f"{row['processes']}",
                f"{row['rate']:,.0f}",
                f"{row['cpu']:.1f}",
                f"{row['broker_cpu']:.1f}",
                f"{row['network']:,.0f}",
                f"{row['per_batch']:,.0f}",
                f"{row['memory']:.0f}",
                f"{row['start']:.1f}",
            )
            for row in found["rows"]
        ),
    )


def _stalls(found: Found) -> str:
    times = ("quiet", "join", "leave", "rolling", "kill")
    return _table(
        ("membership", "partitions", *times, "events", "lost", "doubled"),
        (
            (
                each["membership"],
                f"{each['partitions']}",
                *(f"{each[name]:,.0f}" for name in times),
                *(f"{each[name]:,}" for name in ("sent", "lost", "doubled")),
            )
            for each in found["stalls"]
        ),
    )


def _plans(one: Measured, a: Assumptions) -> str:
    plans = [plan(load, one, a) for load in LOADS]
    return _table(
        ("", *(f"{load:,}/s" for load in LOADS)),
        ((name, *(f"{{p.{shown}}}".format(p=p) for p in plans)) for name, shown in PLANNED.items()),
    )


def _checks(found: Found, one: Measured) -> str:
    rows = {(r["processes"], r["partitions"], r["delivery"], r["note"]): r for r in found["rows"]}
    lines = []
    for partitions in (6, 60, 600):
        single, two = (rows[number, partitions, ONCE, ""] for number in (1, 2))
        told = 2e6 / (one.cpu + one.broker_cpu)
        what = f"events/s of two processes and the broker on two cores, {partitions} partitions"
        how = f"2 / (c + b) = {told:,.0f}"
        lines.append((what, how, f"{two['rate']:,.0f}", f"{two['rate'] / told:.2f}"))
        busy = (single["cpu"] + single["broker_cpu"]) * single["rate"] / 1e6
        what = f"cores that one process and the broker kept busy, {partitions} partitions"
        told = (one.cpu + one.broker_cpu) * single["rate"] / 1e6
        lines.append((what, f"rate (c + b) = {told:.2f}", f"{busy:.2f}", f"{busy / told:.2f}"))
    # Input is fetched, the others produced: each byte crosses once.
    told, seen = one.input + one.output + one.decisions, rows[1, 60, ONCE, ""]["network"]
    lines.append(
        ("network, bytes/event, 60 partitions", f"i + o + d = {told:.0f}", f"{seen:.0f}",
         f"{seen / told:.2f}")
    )  # fmt: skip
    wide = rows[2, 600, ONCE, ""]["per_batch"]
    told = touched(wide, 600) / wide * MARKER - touched(one.per_batch, 60) / one.per_batch * MARKER
    seen = found["sizes_600"]["output"] - found["sizes"]["output"]
    lines.append(
        ("bytes/event that 600 partitions add to the output's log, against 60",
         f"markers of {MARKER} bytes alone: {told:.1f}", f"{seen:.1f}", f"{seen / told:.2f}")
    )  # fmt: skip
    return _table(("what", "model", "measured", "measured / model"), lines)


if __name__ == "__main__":
    write_page()
