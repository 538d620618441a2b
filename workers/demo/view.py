"""What the demo puts on the screen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table

from workers.contracts.codec import Decoder
from workers.contracts.directory import read_directory
from workers.demo.flights import Traffic
from workers.demo.replay import SeenState
from workers.errors import ExitCode
from workers.topology import Worker

BAR = 40


def progress_line(state: SeenState, seconds: float) -> str:
    """One line: for logs and CI. The clock begins with the first event that comes out."""
    if not state.out:
        return f"  0.0 s  {state.lag:,} records wait: the worker starts and proves its model"
    return (
        f"{seconds:5.1f} s  out {state.out:>8,}  {_rate(state, seconds):>8,.0f}/s  "
        f"lag {state.lag:>6,}  decided: {_counts(state.decisions)}; "
        f"dead letters: {_counts(state.verdicts) or 'none'}"
    )


def live_view(state: SeenState, total: int, seconds: float) -> RenderableType:
    """The view while it runs."""
    table = Table.grid(padding=(0, 2))
    table.add_row("events out", f"{state.out:,} of {total:,}")
    table.add_row("rate", f"{_rate(state, seconds):,.0f} events/s")
    table.add_row("lag", f"{state.lag:,}")
    most = max(state.decisions.values(), default=1)
    for decision, count in sorted(state.decisions.items()):
        bar = "█" * max(1, round(BAR * count / most))
        table.add_row(f"decided {decision}", f"{bar} {count:,}")
    for verdict, count in sorted(state.verdicts.items()):
        table.add_row(f"dead letter: {verdict}", str(count))
    return Group(ProgressBar(total=total, completed=state.out, width=BAR * 2), table)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))


def _rate(state: SeenState, seconds: float) -> float:
    return state.out / seconds if seconds > 0.2 else 0.0


def summary(
    console: Console, root: Path, worker: Worker, sent: Traffic, state: SeenState, seconds: float
) -> ExitCode:
    """Counts, quality, three events, every dead letter; OK when the counts add up."""
    _examples(console, root, worker, sent, state)
    _dead_letters(console, state)
    once = len(state.ids) == state.enriched
    adds_up = state.sent == state.out and once and len(state.dead) == len(sent.broken)
    # A rate over less than a second says nothing.
    rate = f", {_rate(state, seconds):,.0f} events/s" if seconds >= 1 else ""
    console.print(
        f"\n{state.sent:,} records in = {state.enriched:,} enriched + {len(state.dead)} dead "
        f"letters; every decision id {'once' if once else 'NOT once'}. "
        f"{seconds:.1f} s{rate}."
    )
    console.print(
        f"Decisions: {_counts(state.decisions)}. "
        f"AUC against the real delays: {_auc(sent, state):.4f}."
    )
    if not adds_up:
        console.print("[red]The counts do not add up.[/red]")
        return ExitCode.BUG
    return ExitCode.OK


def _auc(sent: Traffic, state: SeenState) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney U), ties shared."""
    scores = np.array([state.scores[flight] for flight in state.scores])
    late = np.array([sent.late[flight] for flight in state.scores])
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = int(late.sum())
    negative = len(late) - positive
    if not positive or not negative:
        return float("nan")
    return float((ranks[late].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _examples(
    console: Console, root: Path, worker: Worker, sent: Traffic, state: SeenState
) -> None:
    known = read_directory(root / "schemas").catalogue.versions(worker.output.subject)
    registered = known[max(known)]
    records = [record for _, record in sorted(state.examples.items())][:3]
    table = Decoder(registered.schema).decode([(r.value or b"")[5:] for r in records]).table
    console.print(f"\nThree enriched events from {worker.output.topic}:")
    for event in table.to_pylist():
        console.print_json(json.dumps(_brief(event, sent), default=str))


def _brief(event: dict[str, Any], sent: Traffic) -> dict[str, Any]:
    shown = ("flight_id", "origin", "dest", "departure_delay")
    return {
        **{name: event[name] for name in shown},
        "…": "the input's other fields, byte for byte",
        "enrichment": event["enrichment"],
        "(later known) over 15 minutes late": sent.late[event["flight_id"]],
    }


def _dead_letters(console: Console, state: SeenState) -> None:
    table = Table(title="Dead letters", title_justify="left")
    for column in ("sent as", "verdict", "code", "why", "partition", "offset"):
        table.add_column(column)
    for record in state.dead:
        table.add_row(
            (record.key or b"").decode(),
            record.header("__workers.verdict"),
            record.header("__workers.code"),
            record.header("__connect.errors.exception.message"),
            record.header("__connect.errors.partition"),
            record.header("__connect.errors.offset"),
        )
    console.print(table)
