"""Outcomes of parts of a batch, put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from workers.enrich.batch import Opinion, Outcomes

Value = TypeVar("Value")


def merged(whole: Outcomes, part: Outcomes, rows: Sequence[int]) -> Outcomes:
    """The whole batch's outcomes with those of `rows` taken from `part`, which has only these.

    What the model was given stays the whole's: rows that were tried again are not in it.
    """
    again = set(rows)

    def both(first: dict[int, Value], second: dict[int, Value]) -> dict[int, Value]:
        kept = {row: value for row, value in first.items() if row not in again}
        return kept | {rows[row]: value for row, value in second.items()}

    unknown = {
        key: [row for row in found if row not in again] for key, found in whole.unknown.items()
    }
    for key, found in part.unknown.items():
        unknown[key] = [*unknown.get(key, ()), *(rows[row] for row in found)]
    return replace(
        whole,
        enriched=both(whole.enriched, part.enriched),
        rejected=both(whole.rejected, part.rejected),
        dropped=(whole.dropped - again) | {rows[row] for row in part.dropped},
        decisions=both(whole.decisions, part.decisions),
        decided=both(whole.decided, part.decided),
        unknown={key: found for key, found in unknown.items() if found},
        added=both(whole.added, part.added),
        explained=whole.explained + part.explained,
        opinions=whole.opinions + moved(part.opinions, rows),
    )


def moved(opinions: Iterable[Opinion], places: Sequence[int]) -> tuple[Opinion, ...]:
    """Opinions of a part, as ones of the batch where its rows are at `places`."""
    return tuple(
        replace(opinion, rows=[places[row] for row in opinion.rows]) for opinion in opinions
    )
