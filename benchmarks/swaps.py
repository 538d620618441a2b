"""What a reader notices when the model is switched under load: nothing lost, and how much delay."""

from __future__ import annotations

import io
import itertools
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fastavro
import numpy as np

from benchmarks.bundles import NAME, boosters, promoted, store_of
from benchmarks.environments import worker
from benchmarks.latency import SECONDS, SETTLE_MS, Seen, observed
from benchmarks.rig import ROOT
from benchmarks.shadow import of_values
from workers.contracts.directory import read_directory
from workers.contracts.framing import PREFIX
from workers.enrich.path import Enricher
from workers.models.model import Model
from workers.models.serving import Serving
from workers.models.store import Store
from workers.testing import RealKafka
from workers.topology import load
from workers.wiring import pick, policy_of

RATE = 5_000
EVERY = 2.0
ROWS = 100
"""Of a batch, at that rate and with its 20 ms."""
TAKEN = 40


@dataclass(frozen=True, slots=True)
class Delays:
    """Milliseconds from due to read; each event that was sent came out once.

    `batch`: the median over batches of their slowest event; `first` that of the batches that were
    the first of a version, `longest_first` the worst of those.
    """

    events: int
    p50: float
    p99: float
    batch: float
    longest: float
    switches: int = 0
    first: float = 0.0
    longest_first: float = 0.0


@dataclass(frozen=True, slots=True)
class Taking:
    """CPU milliseconds of the loop's thread: to take another version, and to enrich a batch."""

    switch: float
    batch: float


@dataclass(frozen=True, slots=True)
class Switching:
    """Of one model: what readers saw, by run, and what its switch takes in the loop."""

    runs: dict[str, Delays]
    taking: Taking


def swaps(kafka: RealKafka, values: list[bytes], folder: Path) -> dict[str, Switching]:
    """By model: the worker, exactly once, without switches and with them."""
    found = {}
    for name, text in boosters().items():
        store = store_of(folder / name.replace(" ", "-"), text)
        runs = {"one version": _run(kafka, store, 0.0), "switched": _run(kafka, store, EVERY)}
        found[name] = Switching(runs, _taking(store, values[:ROWS]))
    return found


def _taking(store: Store, values: list[bytes]) -> Taking:
    """By turns: another version is taken, one batch goes through it, and one more."""
    models = [Model(store.bundle(NAME, version)) for version in ("1", "2")]
    job = pick(load(ROOT / "topology.yaml", {}), None)
    catalogue = read_directory(ROOT / "schemas").catalogue
    enricher, batch = Enricher(policy_of(job), catalogue, models[0]), of_values(values)
    spent: dict[str, list[float]] = {"switch": [], "first": [], "second": []}
    for number in range(TAKEN):
        for stage, work in (
            ("switch", lambda m=models[number % 2]: enricher.serve([Serving(m)])),
            ("first", lambda: enricher.enrich(batch)),
            ("second", lambda: enricher.enrich(batch)),
        ):
            began = time.thread_time()
            work()
            spent[stage].append(time.thread_time() - began)
    switch, first, second = (statistics.median(times) * 1000 for times in spent.values())
    # What the first batch takes longer is the switch's too.
    return Taking(switch + max(0.0, first - second), second)


def _run(kafka: RealKafka, store: Store, every: float) -> Delays:
    subject = replace(
        worker("exactly_once"), models=Path(store.place), model=f"name: {NAME}, alias: champion"
    )

    def switch() -> None:
        if not every:
            return
        time.sleep(SETTLE_MS / 1000)
        until = time.monotonic() + SECONDS - SETTLE_MS / 1000 - every
        while time.monotonic() < until:
            promoted(store, "2" if store.aliases(NAME).champion == "1" else "1")
            time.sleep(every)

    return _delays(observed(subject, kafka, RATE, switch))


def _delays(seen: Seen) -> Delays:
    names = [(key, stamp) for (key, _), stamp in zip(seen.events, seen.stamps, strict=True)]
    if len(set(names)) != RATE * SECONDS:
        raise RuntimeError(f"{RATE * SECONDS} events were sent, {len(set(names))} came out")
    slowest, versions = _batches(seen)
    order = sorted(slowest)
    firsts = [at for before, at in itertools.pairwise(order) if versions[at] != versions[before]]
    late = seen.waits[seen.settled]
    p50, p99 = (float(np.percentile(late, share)) for share in (50, 99))
    plain = Delays(
        len(names), p50, p99, float(np.median(list(slowest.values()))), float(late.max())
    )
    if not firsts:
        return plain
    at_first = [slowest[at] for at in firsts]
    return replace(
        plain,
        switches=len(firsts),
        first=float(np.median(at_first)),
        longest_first=max(at_first),
    )


def _batches(seen: Seen) -> tuple[dict[int, float], dict[int, str]]:
    """By the instant that a batch was polled: how long its slowest event took, and its version."""
    catalogue = read_directory(ROOT / "schemas").catalogue
    schema = max(catalogue.versions("flights.enriched-value").items())[1].schema
    slowest: dict[int, float] = defaultdict(float)
    versions: dict[int, str] = {}
    for number in np.flatnonzero(seen.settled).tolist():
        value = io.BytesIO(seen.events[number][1][PREFIX:])
        event: Any = fastavro.schemaless_reader(value, schema.parsed, None)
        at = int(event["enrichment"]["scored_at"].timestamp() * 1000)
        slowest[at] = max(slowest[at], float(seen.waits[number]))
        versions[at] = event["enrichment"]["model_version"]
    return slowest, versions


def table(found: dict[str, Switching]) -> list[str]:
    """Markdown."""
    lines = [
        "",
        "## Switching models under load",
        "",
        f"The worker, exactly once, at {RATE:,} events a second; in the second row of each model "
        f"the champion is promoted anew every {EVERY:g} s: each time the version is proven in a "
        "child process on the same machine and taken between two batches. Every event that was "
        "sent came out, once. A batch's time is its slowest event's, from the instant it was due "
        "until a read-committed reader had it; a batch waits 20 ms for records. In the "
        "loop itself, "
        + "; ".join(
            f"{model}: a switch takes {seen.taking.switch:.1f} ms of CPU where a batch of {ROWS} "
            f"takes {seen.taking.batch:.1f} ms"
            for model, seen in found.items()
        )
        + ".",
        "",
        "| model | | switches | p50 ms | p99 ms | a batch, ms | first batch of a version, ms | the "
        "slowest of those | longest ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for model, both in found.items():
        for name, seen in both.runs.items():
            first = f"{seen.first:.0f} | {seen.longest_first:.0f}" if seen.switches else " | "
            lines.append(
                f"| {model} | {name} | {seen.switches} | {seen.p50:.0f} | {seen.p99:.0f} | "
                f"{seen.batch:.0f} | {first} | {seen.longest:.0f} |"
            )
    return lines
