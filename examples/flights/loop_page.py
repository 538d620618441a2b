"""The page of the demo: quality and cost by month, with the loop and without it."""

from __future__ import annotations

from collections.abc import Sequence

from workers.feedback.page import MORE
from workers.feedback.plots import Line, curve
from workers.models.aliases import Change
from workers.models.markup import Part, page, table, tag

Months = Sequence[dict[str, float | str]]


def page_of(months: Months, history: Sequence[Change]) -> str:
    """HTML that needs nothing beside it."""
    shown = [m for m in months if m["month"] != "all"]
    names = [str(m["month"]) for m in shown]
    plots: list[Part] = [
        curve(
            what,
            names,
            [
                Line("with the loop", _column(shown, key)),
                Line("version 1 all year", _column(shown, f"{key}_without")),
            ],
        )
        for key, what in (
            ("auc", "AUC by month"),
            ("log_loss", "Log loss by month"),
            ("cost", "Declared cost of a decision by month"),
        )
    ]
    head = [
        "month",
        "flights",
        "late",
        "AUC",
        "without",
        "log loss",
        "without",
        "difference, 95 %",
        "cost",
        "without",
    ]
    rows: list[list[Part]] = [[*_cells(m)] for m in months]
    changes: list[list[Part]] = [[f"{c.when:%Y-%m-%d}", c.did, c.why] for c in history]
    parts: list[Part] = [
        tag("h1", "Flights of 2013: with the feedback loop and without"),
        tag(
            "p",
            "Both columns are of the same events. Without: what the model of January to March "
            "says of them, scored afterwards from the logged features.",
        ),
        *plots,
        table(head, rows),
        tag("h2", "What was changed, and why"),
        table(["as of", "change", "why"], changes),
    ]
    return page("Flights: the feedback loop", MORE, parts)


def table_of(months: Months) -> str:
    """Markdown, for the terminal and the docs."""
    head = (
        "| month | flights | late | AUC | without | log loss | without | difference, 95 % "
        "| cost | without |"
    )
    lines = [head, "|---|---|---|---|---|---|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(_cells(m))} |" for m in months)])


def _cells(m: dict[str, float | str]) -> list[str]:
    low, high = m["log_loss_difference_low"], m["log_loss_difference_high"]
    return [
        str(m["month"]),
        f"{m['flights']:,.0f}",
        f"{m['late']:.1%}",
        f"{m['auc']:.4f}",
        f"{m['auc_without']:.4f}",
        f"{m['log_loss']:.4f}",
        f"{m['log_loss_without']:.4f}",
        f"{low:+.4f} to {high:+.4f}",
        f"{m['cost']:.4f}",
        f"{m['cost_without']:.4f}",
    ]


def _column(months: Months, key: str) -> list[float]:
    return [float(m[key]) for m in months]
