"""`make bench`: every subject one after the other on one real broker; writes docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks import swaps
from benchmarks.environments import FAST, echo, peers, worker
from benchmarks.latency import percentiles
from benchmarks.rig import (
    PARTITIONS,
    ROOT,
    Figures,
    Subject,
    fill,
    framed_flights,
    machine,
    measure,
)
from benchmarks.safety import safety
from benchmarks.safety import table as safety_table
from benchmarks.scaling import MEASURED, scaling
from benchmarks.scaling_page import write_page
from benchmarks.shadow import in_batches, shadow
from benchmarks.shadow import table as shadow_table
from benchmarks.stages import stages
from benchmarks.versions import table, versions
from workers.testing import RealKafka, real_kafka

RATES = (1_000, 5_000, 20_000)
ROUNDS = 3
DELIVERIES = ("at_least_once", "exactly_once")


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--only", help="measure subjects whose name holds this")
    parser.add_argument("--scaling", action="store_true", help="docs/scaling.md instead")
    parser.add_argument("--events", type=int, default=900_000, help="of each case of --scaling")
    parser.add_argument("--seconds", type=float, default=5.0, help="of load after each restart")
    options = parser.parse_args()
    if options.scaling:
        found = scaling(options.events, seconds=options.seconds)
        MEASURED.write_text(json.dumps(found, indent=1) + "\n")
        write_page()
        return
    subjects = [make(d) for d in DELIVERIES for make in (echo, worker)] + peers()
    if options.only:
        subjects = [subject for subject in subjects if options.only in subject.name]
    with real_kafka() as kafka:
        say("filling the input topic")
        kafka.create_topic("flights", PARTITIONS)
        values = framed_flights()
        fill(kafka.bootstrap_servers, "flights", values, FAST)
        figures = [best for subject in subjects if (best := throughput(subject, kafka))]
        delays = {d: [percentiles(worker(d), kafka, rate) for rate in RATES] for d in DELIVERIES}
        say("stages")
        spent = stages(kafka, "flights")
        say("several versions at once")
        with tempfile.TemporaryDirectory() as folder:
            mixed = table(versions(kafka, values, Path(folder)))
        say("switching models")
        with tempfile.TemporaryDirectory() as folder:
            mixed += swaps.table(swaps.swaps(kafka, Path(folder)))
        say("a challenger beside the champion")
        with tempfile.TemporaryDirectory() as folder:
            beside = shadow(kafka, Path(folder))
        mixed += shadow_table(beside, in_batches(kafka, values), spent["predict"])
        say("the safety net")
        with tempfile.TemporaryDirectory() as folder:
            mixed += safety_table(safety(values, Path(folder)))
    options.out.write_text(document(figures, delays, spent, mixed))
    say(f"wrote {options.out}")


def throughput(subject: Subject, kafka: RealKafka) -> Figures | None:
    """The best of three runs: on a shared machine noise only ever takes away."""
    rounds = ROUNDS if subject.events == FAST else 1
    try:
        runs = [measure(subject, kafka, "flights") for _ in range(rounds)]
    except TimeoutError as error:
        say(f"{subject.name}: {error}")
        return None
    best = max(runs, key=lambda run: run.rate)
    say(
        f"{subject.name}, {subject.guarantee}: {best.rate:,.0f} events/s, {best.cpu:.1f} µs CPU, "
        f"{best.memory:.0f} MB (runs: {', '.join(f'{run.rate:,.0f}' for run in runs)})"
    )
    return best


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def document(
    figures: list[Figures],
    delays: dict[str, list[tuple[float, float]]],
    spent: dict[str, float],
    more: list[str],
) -> str:
    """docs/benchmarks.md."""
    by_name = {(f.name, f.guarantee): f for f in figures}
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`: every subject one after the other, on one Apache Kafka broker on "
        "the same machine, same events, same model, same job. Best of three runs each (the slow "
        "ones run once), measured from a third of the events on, so starts and JIT warm-up are "
        "outside. CPU is the process's own; the broker shares the machine.",
        "",
        machine(),
        "",
        "| subject | guarantee | events/s | CPU µs/event | peak RSS MB | of echo |",
        "|---|---|---|---|---|---|",
    ]
    for f in figures:
        copy = by_name.get(("echo", f.guarantee))
        share = f"{f.rate / copy.rate:.2f}" if copy else ""
        lines.append(
            f"| {f.name} | {f.guarantee.replace('_', ' ')} | {f.rate:,.0f} | {f.cpu:.1f} | "
            f"{f.memory:.0f} | {share} |"
        )
    lines += [
        "",
        "## Event to enriched",
        "",
        "Milliseconds at a fixed rate, from the instant an "
        "event was due until a read-committed reader had its result: p50 / p99.",
        "",
    ]
    lines += [
        "| guarantee | " + " | ".join(f"{rate:,}/s" for rate in RATES) + " |",
        "|---" * (len(RATES) + 1) + "|",
    ]
    for delivery, found in delays.items():
        cells = " | ".join(f"{p50:.0f} / {p99:.0f}" for p50, p99 in found)
        lines.append(f"| {delivery.replace('_', ' ')} | {cells} |")
    lines += [
        "",
        "## Where the time goes",
        "",
        "Microseconds an event, each stage alone, batches "
        "of 4,000, one thread. `enrich` is the whole pure path, the four stages above it "
        "included.",
        "",
        "| stage | µs/event |",
        "|---|---|",
    ]
    lines += [f"| {stage} | {cost:.2f} |" for stage, cost in spent.items()]
    return "\n".join([*lines, *more]) + "\n"


if __name__ == "__main__":
    main()
