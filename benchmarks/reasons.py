"""What a reason costs beside a prediction."""

from __future__ import annotations

from benchmarks.bundles import boosters, flights_schema, with_reasons
from examples.flights.train import REASONS
from workers.contracts.codec import Decoder
from workers.contracts.framing import PREFIX
from workers.models.costs import ReasonsCost, cost_of_reasons
from workers.models.model import Model

ROWS = 1_000


def reasons(values: list[bytes]) -> dict[str, ReasonsCost]:
    """Of each model, as many rows as a batch explains at most."""
    rows = Decoder(flights_schema()).decode([value[PREFIX:] for value in values[:ROWS]]).table
    return {
        name: cost_of_reasons(Model(with_reasons(text)), rows) for name, text in boosters().items()
    }


def table(found: dict[str, ReasonsCost]) -> list[str]:
    """Markdown."""
    most = REASONS.rows_per_batch
    lines = [
        "",
        "## Reasons",
        "",
        "CPU of one thread, rows of a batch together. Only rows whose decision asks for reasons "
        f"pay for them, and at most `reasons.rows_per_batch` of a batch, {most} where nothing is "
        "written.",
        "",
        f"| model | prediction, µs a row | reasons, µs a row | times | {most} rows of a batch |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {cost.prediction * 1e6:.1f} | {cost.reasons * 1e6:,.0f} | "
        f"{cost.reasons / cost.prediction:,.0f} | {cost.reasons * most * 1e3:,.0f} ms |"
        for name, cost in found.items()
    ]
    return lines
