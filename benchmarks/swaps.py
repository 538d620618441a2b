"""What a reader notices when the model is switched under load: nothing lost, and how much delay."""

from __future__ import annotations

import datetime
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.environments import worker
from benchmarks.latency import SECONDS, SETTLE_MS, delays
from benchmarks.rig import ROOT
from workers.models.store import Change, Store
from workers.testing import RealKafka

NAME = "flight-delay"
RATE = 5_000
EVERY = 2.0


@dataclass(frozen=True, slots=True)
class Delays:
    """Milliseconds from due to read; `events` came out, of as many that were sent."""

    events: int
    p50: float
    p99: float
    longest: float
    swaps: int


def swaps(kafka: RealKafka, folder: Path) -> dict[str, Delays]:
    """The worker, exactly once, with and without switches, by turns."""
    store = _store(folder)
    subject = replace(
        worker("exactly_once"), models=store.root, model=f"name: {NAME}, alias: champion"
    )
    found: dict[str, Delays] = {}
    for name, every in (("one version", 0.0), ("switched", EVERY)):
        done: list[str] = []

        def switch(every: float = every, done: list[str] = done) -> None:
            if not every:
                return
            time.sleep(SETTLE_MS / 1000)
            until = time.monotonic() + SECONDS - SETTLE_MS / 1000 - every
            while time.monotonic() < until:
                version = "2" if store.aliases(NAME).champion == "1" else "1"
                store.promote(NAME, version, _why())
                done.append(version)
                time.sleep(every)

        waits = delays(subject, kafka, RATE, switch)
        p50, p99 = (float(np.percentile(waits, share)) for share in (50, 99))
        found[name] = Delays(len(waits), p50, p99, float(waits.max()), len(done))
    return found


def _store(folder: Path) -> Store:
    store = Store(folder / "models")
    first = store.root / NAME / "1"
    shutil.copytree(ROOT / "models" / NAME / "1", first)
    shutil.copytree(first, store.root / NAME / "2")
    manifest = store.root / NAME / "2" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": "1"', '"version": "2"', 1))
    store.promote(NAME, "1", _why())
    return store


def _why() -> Change:
    now = datetime.datetime.now(datetime.UTC)
    return Change(when=now, who="benchmark", why="to measure it", did="promote")


def table(found: dict[str, Delays]) -> list[str]:
    """Markdown."""
    lines = [
        "",
        "## Switching models under load",
        "",
        f"The worker, exactly once, at {RATE:,} events a second; in the second row the champion is "
        f"promoted anew every {EVERY:g} s: each time the version is proven in a child process on "
        "the same machine and taken between two batches. A batch waits 20 ms for records. Every "
        "event that was sent came out.",
        "",
        "| | events | switches | p50 ms | p99 ms | longest ms |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {seen.events:,} | {seen.swaps} | {seen.p50:.0f} | {seen.p99:.0f} | "
        f"{seen.longest:.0f} |"
        for name, seen in found.items()
    ]
    return lines
