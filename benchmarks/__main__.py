"""`make bench`: measured on one real broker, part by part, and written into docs/benchmarks.md.

`python -m benchmarks --parts lifecycle` measures what concerns the life of a model alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks import (
    gateway,
    large,
    proxy,
    reasons,
    replicas,
    safety,
    shadow,
    sidecar,
    swaps,
    telemetry,
    versions,
)
from benchmarks.document import written
from benchmarks.environments import FAST, echo, peers, worker
from benchmarks.latency import percentiles
from benchmarks.rig import PARTITIONS, ROOT, Figures, Subject, fill, framed_flights, measure
from benchmarks.scaling import MEASURED, scaling
from benchmarks.scaling_page import write_page
from benchmarks.stages import stages
from workers.testing import RealKafka, real_kafka

RATES = (1_000, 5_000, 20_000)
ROUNDS = 3
DELIVERIES = ("at_least_once", "exactly_once")


@dataclass
class Ground:
    """What parts are measured on."""

    kafka: RealKafka
    folder: Path
    only: str
    turns: int

    @cached_property
    def values(self) -> list[bytes]:
        """Every event of 2013, framed."""
        return framed_flights()

    @cached_property
    def source(self) -> str:
        """A topic with as many events as the fast ones are measured with."""
        say("filling the input topic")
        self.kafka.create_topic("flights", PARTITIONS)
        fill(self.kafka.bootstrap_servers, "flights", self.values, FAST)
        return "flights"


def _throughput(ground: Ground) -> list[str]:
    subjects = [make(d) for d in DELIVERIES for make in (echo, worker)] + peers()
    subjects = [subject for subject in subjects if ground.only in subject.name]
    return side_by_side([f for s in subjects if (f := throughput(s, ground.kafka, ground.source))])


def _latency(ground: Ground) -> list[str]:
    kafka = ground.kafka
    return delays({d: [percentiles(worker(d), kafka, rate) for rate in RATES] for d in DELIVERIES})


def _stages(ground: Ground) -> list[str]:
    return where_it_goes(stages(ground.kafka, ground.source))


def _versions(ground: Ground) -> list[str]:
    return versions.table(versions.versions(ground.kafka, ground.values, ground.folder))


def _swaps(ground: Ground) -> list[str]:
    return swaps.table(swaps.swaps(ground.kafka, ground.values, ground.folder))


def _replicas(ground: Ground) -> list[str]:
    return replicas.table(replicas.replicas(ground.kafka, ground.folder))


def _shadow(ground: Ground) -> list[str]:
    found = shadow.shadow(ground.kafka, ground.values, ground.folder, ground.turns)
    return shadow.table(found, ground.turns)


def _reasons(ground: Ground) -> list[str]:
    return reasons.table(reasons.reasons(ground.values))


def _large(ground: Ground) -> list[str]:
    return large.table(large.large(ground.kafka, ground.source, ground.folder))


def _safety(ground: Ground) -> list[str]:
    return safety.table(safety.safety(ground.values, ground.folder))


def _telemetry(ground: Ground) -> list[str]:
    return telemetry.table(telemetry.telemetry(ground.values))


def _gateway(ground: Ground) -> list[str]:
    return gateway.table(gateway.measured(ground.kafka, ground.folder, gateway.SECONDS))


def _proxy(ground: Ground) -> list[str]:
    return proxy.table(proxy.measured(ground.kafka, ground.folder, proxy.SECONDS))


def _sidecar(ground: Ground) -> list[str]:
    turns, seconds = sidecar.TURNS, sidecar.SECONDS
    found = sidecar.sidecar(ground.kafka, ground.values, ground.folder, turns, seconds)
    return sidecar.table(found, turns, seconds)


PARTS: dict[str, tuple[Callable[[Ground], list[str]], str]] = {
    "throughput": (_throughput, "Side by side"),
    "latency": (_latency, "Event to enriched"),
    "stages": (_stages, "Where the time goes"),
    "versions": (_versions, "Several input versions"),
    "swaps": (_swaps, "Switching models"),
    "replicas": (_replicas, "From a command"),
    "shadow": (_shadow, "A challenger"),
    "reasons": (_reasons, "Reasons"),
    "large": (_large, "Larger models"),
    "safety": (_safety, "The safety net"),
    "telemetry": (_telemetry, "Telemetry"),
    "gateway": (_gateway, "Decisions by HTTP"),
    "proxy": (_proxy, "Through the proxy"),
    "sidecar": (_sidecar, "What a sidecar costs"),
}
"""How each is measured, and how its heading begins; in the order of the document."""
LIFECYCLE = ("swaps", "replicas", "shadow", "reasons", "large")


def main() -> None:
    """Run, print, write after each part: what was measured stays if a later part fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--parts", type=_parts, default=tuple(PARTS), help=", ".join(PARTS))
    parser.add_argument("--only", default="", help="of throughput: subjects whose name holds this")
    parser.add_argument("--turns", type=int, default=shadow.TURNS, help="of shadow, at a rate")
    parser.add_argument("--scaling", action="store_true", help="docs/scaling.md instead")
    parser.add_argument("--events", type=int, default=900_000, help="of each case of --scaling")
    parser.add_argument("--seconds", type=float, default=8.0, help="of load after each restart")
    options = parser.parse_args()
    if options.scaling:
        found = scaling(options.events, seconds=options.seconds)
        MEASURED.write_text(json.dumps(found, indent=1) + "\n")
        write_page()
        return
    failed = []
    with real_kafka() as kafka, tempfile.TemporaryDirectory() as folder:
        ground = Ground(kafka, Path(folder), options.only, options.turns)
        for name in options.parts:
            ground.folder = Path(folder) / name
            ground.folder.mkdir()
            began = time.monotonic()
            say(f"{name} …")
            try:
                lines = PARTS[name][0](ground)
            except Exception as error:  # noqa: BLE001  hours of measuring must not end with one part
                failed.append(name)
                say(f"{name} failed: {type(error).__name__}: {error}")
                continue
            before = options.out.read_text() if options.out.exists() else ""
            options.out.write_text(written(before, [lines], [words for _, words in PARTS.values()]))
            say(f"{name}: {time.monotonic() - began:.0f} s, in {options.out}")
            say("\n".join(lines))
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def _parts(text: str) -> tuple[str, ...]:
    named = [part for word in text.split(",") for part in
             (LIFECYCLE if word == "lifecycle" else (word,))]  # fmt: skip
    for name in named:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"no part {name}; lifecycle is {','.join(LIFECYCLE)}")
    return tuple(named)


def throughput(subject: Subject, kafka: RealKafka, source: str) -> Figures | None:
    """The best of three runs: on a shared machine noise only ever takes away."""
    rounds = ROUNDS if subject.events == FAST else 1
    try:
        runs = [measure(subject, kafka, source) for _ in range(rounds)]
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


def side_by_side(figures: list[Figures]) -> list[str]:
    """Markdown."""
    by_name = {(f.name, f.guarantee): f for f in figures}
    lines = [
        "",
        "## Side by side",
        "",
        "Every subject one after the other. Best of three runs each (the slow ones run once), "
        "measured from a third of the events on, so starts and JIT warm-up are outside.",
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
    return lines


def delays(found: dict[str, list[tuple[float, float]]]) -> list[str]:
    """Markdown."""
    lines = [
        "",
        "## Event to enriched",
        "",
        "Milliseconds at a fixed rate, from the instant an "
        "event was due until a read-committed reader had its result: p50 / p99.",
        "",
        "| guarantee | " + " | ".join(f"{rate:,}/s" for rate in RATES) + " |",
        "|---" * (len(RATES) + 1) + "|",
    ]
    for delivery, each in found.items():
        cells = " | ".join(f"{p50:.0f} / {p99:.0f}" for p50, p99 in each)
        lines.append(f"| {delivery.replace('_', ' ')} | {cells} |")
    return lines


def where_it_goes(spent: dict[str, float]) -> list[str]:
    """Markdown."""
    lines = [
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
    return lines + [f"| {stage} | {cost:.2f} |" for stage, cost in spent.items()]


if __name__ == "__main__":
    main()
