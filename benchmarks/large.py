"""The worker with a larger model, on LightGBM and compiled, beside the demo's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bundles import NAME, boosters, store_of
from benchmarks.environments import worker
from benchmarks.rig import Figures, measure
from workers.testing import RealKafka

ROUNDS = 2
EVENTS = 300_000
BACKENDS = ("lightgbm", "compiled")


@dataclass(frozen=True, slots=True)
class Run:
    """A model on a back end, and the best of its runs."""

    model: str
    backend: str
    figures: Figures


def large(kafka: RealKafka, source: str, folder: Path) -> list[Run]:
    """Exactly once; the back ends take turns."""
    found = []
    for name, text in boosters().items():
        root = folder / name.replace(" ", "-")
        store_of(root, text, versions=1)
        runs: dict[str, list[Figures]] = {backend: [] for backend in BACKENDS}
        for _ in range(ROUNDS):
            for backend in BACKENDS:
                subject = replace(
                    worker("exactly_once"),
                    events=EVENTS,
                    models=root,
                    model=f'name: {NAME}, version: "1", backend: {backend}',
                )
                runs[backend].append(measure(subject, kafka, source))
        found += [Run(name, b, max(r, key=lambda f: f.rate)) for b, r in runs.items()]
    return found


def table(found: list[Run]) -> list[str]:
    """Markdown."""
    lines = [
        "",
        "## Larger models",
        "",
        f"The worker, exactly once, best of {ROUNDS} runs. What libraries score these models at is "
        "in [inference.md](inference.md).",
        "",
        "| model | back end | events/s | CPU µs/event | peak RSS MB |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {run.model} | {run.backend} | {run.figures.rate:,.0f} | {run.figures.cpu:.1f} | "
        f"{run.figures.memory:.0f} |"
        for run in found
    ]
    return lines
