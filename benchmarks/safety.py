"""What the safety net costs where nothing falls: the path with it and without, turn by turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.rig import ROOT
from benchmarks.shadow import of_values
from workers.enrich.batch import Batch, Outcomes
from workers.enrich.policy import FULL
from workers.processes import watchdog
from workers.stream.breaker import Breaker
from workers.stream.caution import CautionState
from workers.stream.clock import SystemClock
from workers.stream.crashes import CrashGuard
from workers.stream.journal import Journal
from workers.stream.outgoing import held_to_size
from workers.stream.retries import AtOnce
from workers.stream.source import Source
from workers.topology import load
from workers.wiring import build_enricher, pick

SIZES = (100, 1_000, 4_000)
ROUNDS = 300
HEADING = "## The safety net where nothing falls"


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds an event, medians; `more` is the median of what each pair of turns says."""

    bare: float
    safe: float
    more: float


class Unused:
    """A source of which nothing is asked: no partition is held."""


def safety(values: list[bytes], folder: Path) -> dict[int, Cost]:
    """By batch size: `enrich` alone; and with crash notes, watchdog, retries, breaker."""
    topology = load(ROOT / "topology.yaml", {})
    worker = pick(topology, None)
    enricher, clock = build_enricher(topology, worker), SystemClock()
    journal = Journal(clock)
    guard = CrashGuard(
        folder / "notes.json", "flights", enricher.enrich, journal, watchdog(worker.watchdog)
    )
    again = AtOnce(worker.retries, guard, lambda _: True, journal.counts.tried)
    source: Source = Unused()  # type: ignore[assignment]
    breaker = Breaker(worker.breaker, source, clock, journal)
    caution = CautionState(4_000, 4_000)

    def safe(batch: Batch) -> Outcomes:
        breaker.release()
        outcomes = held_to_size(again(batch, FULL), worker.output.max_message_bytes)
        outcomes = caution.apply(outcomes)
        if breaker.hold(outcomes) is not None:
            raise RuntimeError("a clean batch was held")
        return outcomes

    def bare(batch: Batch) -> Outcomes:
        return held_to_size(enricher.enrich(batch, FULL), worker.output.max_message_bytes)

    found = {size: _turns(of_values(values[:size]), bare, safe) for size in SIZES}
    guard.close()
    return found


def _turns(
    batch: Batch, bare: Callable[[Batch], Outcomes], safe: Callable[[Batch], Outcomes]
) -> Cost:
    spent: dict[str, list[float]] = {"bare": [], "safe": []}
    ways = {"bare": bare, "safe": safe}
    for number in range(ROUNDS):
        # Whoever comes second finds the caches warm: they take turns at that too.
        for name in sorted(ways, reverse=number % 2 == 1):
            began = time.perf_counter()
            ways[name](batch)
            spent[name].append(time.perf_counter() - began)
    each = {name: float(np.median(times)) * 1e6 / len(batch) for name, times in spent.items()}
    more = float(np.median(np.divide(spent["safe"], spent["bare"]))) - 1
    return Cost(each["bare"], each["safe"], more)


def table(found: dict[int, Cost]) -> list[str]:
    """Markdown."""
    lines = [
        "",
        HEADING,
        "",
        "The path alone, and with crash notes, watchdog, retries at once and breaker, "
        f"turn by turn in one process; medians of {ROUNDS}, `more` of the pairs' own ratios.",
        "",
        "| batch | alone, µs/event | with all of it | more |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {size:,} | {cost.bare:.2f} | {cost.safe:.2f} | {cost.more:+.1%} |"
        for size, cost in found.items()
    ]
    return lines
