"""Decisions with what is known of their outcomes, by columns, for whoever measures them."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from workers.feedback.dataset import KNOWN, DatasetState, Joiner, Window
from workers.feedback.quality.measures import Values
from workers.feedback.quality.weights import WEIGHT, weight_of
from workers.feedback.records import CATEGORY, NUMBER

_COLUMNS = {
    "decision_id": pl.String(),
    "model_version": pl.String(),
    "arm": pl.String(),
    "decision": pl.String(),
    "fallback_reason": pl.String(),
    "rule": pl.String(),
    "score": pl.Float64(),
    "label": pl.Float64(),
    "outcome": pl.String(),
    "event_at": pl.Datetime("ms", "UTC"),
    "known_at": pl.Datetime("ms", "UTC"),
}


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows of a window; columns as `_COLUMNS`, and a column of text for each segment.

    With `weighting` one more, `WEIGHT`.
    """

    frame: pl.DataFrame
    state: DatasetState

    def of(self, predicate: pl.Expr) -> Judged:
        """Some of the rows; the counts stay those of all."""
        return Judged(self.frame.filter(predicate), self.state)

    @property
    def scored(self) -> Judged:
        """Those with a score."""
        return self.of(pl.col("score").is_not_null())

    @property
    def known(self) -> Judged:
        """Those whose outcome is known, or was taken for negative, and what they count for."""
        needed = ["label", WEIGHT] if WEIGHT in self.frame.columns else ["label"]
        return self.of(pl.all_horizontal(pl.col(needed).is_not_null()))

    @property
    def labelled(self) -> Judged:
        """Of those that are known the ones with a score."""
        return self.known.scored

    @property
    def scores(self) -> Values:
        """A score a row."""
        return self.frame["score"].to_numpy().astype(np.float64)

    @property
    def labels(self) -> Values:
        """A label a row."""
        return self.frame["label"].to_numpy().astype(np.float64)

    @property
    def weights(self) -> Values | None:
        """A weight a row; None where they count alike."""
        if WEIGHT not in self.frame.columns:
            return None
        return self.frame[WEIGHT].to_numpy().astype(np.float64)

    @property
    def decisions(self) -> npt.NDArray[np.object_]:
        """A decision a row."""
        return np.array(self.frame["decision"].to_list(), dtype=object)

    def __len__(self) -> int:
        return self.frame.height


@dataclass(frozen=True, slots=True)
class Day:
    """One day, whole, and the part of it that is kept of all days."""

    rows: pl.DataFrame
    kept: pl.DataFrame


def days(
    joiner: Joiner, window: Window, segments: Sequence[str], state: DatasetState
) -> Iterator[Day]:
    """Days of the window in their order."""
    for rows in joiner.days(window, state):
        weight = weight_of(joiner.loop.retrain, rows)
        yield Day(rows, rows.select(*_kept(rows), *weight, *_segments(rows, segments)))


def judged(joiner: Joiner, window: Window, segments: Sequence[str] = ()) -> Judged:
    """All of the window: about a hundred bytes of memory a decision."""
    state = DatasetState()
    return whole([day.kept for day in days(joiner, window, segments, state)], state)


def whole(parts: Sequence[pl.DataFrame], state: DatasetState) -> Judged:
    """Days put together."""
    frame = pl.concat(parts) if parts else pl.DataFrame(schema=_COLUMNS)
    return Judged(frame, state)


def coverage(found: Judged, matured_before: datetime.datetime) -> float:
    """Of the decisions whose outcome should be known by now, the share whose is."""
    due = found.frame.filter(pl.col("event_at") <= matured_before)
    return float((due["outcome"] == KNOWN).mean() or 0.0) if due.height else float("nan")  # type: ignore[arg-type]  # a mean of booleans is a number


def _kept(rows: pl.DataFrame) -> list[pl.Expr]:
    return [
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in _COLUMNS.items()
    ]


def _segments(rows: pl.DataFrame, segments: Sequence[str]) -> list[pl.Expr]:
    """By name: a category as it was logged, a number rounded down, missing as such."""
    found = []
    for name in segments:
        if f"{CATEGORY}{name}" in rows.columns:
            value = pl.col(f"{CATEGORY}{name}")
        elif f"{NUMBER}{name}" in rows.columns:
            value = pl.col(f"{NUMBER}{name}").floor().cast(pl.Int64, strict=False).cast(pl.String)
        else:
            value = pl.lit(None, pl.String)
        found.append(value.fill_null("(missing)").alias(f"segment.{name}"))
    return found
