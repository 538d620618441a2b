"""The worker with a larger model beside the demo's, on LightGBM.

What a compiled one does is in docs/inference.md: compiling takes longer than a run here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.bundles import NAME, boosters, store_of
from benchmarks.environments import worker
from benchmarks.rig import Figures, measure
from workers.testing import RealKafka

ROUNDS = 2
EVENTS = 300_000
Runs = dict[str, Figures]


def large(kafka: RealKafka, source: str, folder: Path) -> Runs:
    """By model, the best of its runs, exactly once."""
    found = Runs()
    for name, text in boosters().items():
        root = folder / name.replace(" ", "-")
        store_of(root, text, versions=1)
        subject = replace(
            worker("exactly_once"),
            events=EVENTS,
            models=root,
            model=f'name: {NAME}, version: "1"',
        )
        runs = [measure(subject, kafka, source) for _ in range(ROUNDS)]
        found[name] = max(runs, key=lambda run: run.rate)
    return found


def table(found: Runs) -> list[str]:
    """Markdown."""
    lines = [
        "",
        "## Larger models",
        "",
        f"The worker, exactly once, best of {ROUNDS} runs. What other libraries score these "
        "models at, and the compiled back end, is in [inference.md](inference.md).",
        "",
        "| model | events/s | CPU µs/event | peak RSS MB |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {model} | {run.rate:,.0f} | {run.cpu:.1f} | {run.memory:.0f} |"
        for model, run in found.items()
    ]
    return lines
