"""The reference: how features and scores were spread over the events a model was made with.

Served features and scores are compared with it, so it counts what the booster saw: values after the
feature's own rules, codes as their categories.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, model_validator

from workers.errors import ModelError
from workers.models.manifest import Feature, Part

Values = npt.NDArray[np.float64]
BINS = 20
SCORE_BINS = 50
Count = Annotated[int, Field(ge=0, le=10**15)]


class Bins(Part):
    """Numbers: `counts[i]` are those from `edges[i]` up to `edges[i + 1]`, the last edge included.

    `missing` are those that were no number.
    """

    edges: Annotated[tuple[float, ...], Field(min_length=2, max_length=101)]
    counts: Annotated[tuple[Count, ...], Field(min_length=1, max_length=100)]
    missing: Count = 0

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError("`edges` must ascend, each its own")
        if len(self.counts) != len(self.edges) - 1:
            raise ValueError("`counts` has one entry between two edges")
        return self


class Categories(Part):
    """Categories: `counts` has one entry for each of the feature's, in their order.

    `missing` are those that were null, or none of them.
    """

    counts: Annotated[tuple[Count, ...], Field(min_length=1, max_length=100_000)]
    missing: Count = 0


class Reference(Part):
    """reference.json. Features by their names."""

    format: Literal[1] = 1
    rows: Annotated[int, Field(ge=1, le=10**15)]
    features: dict[str, Bins | Categories]
    scores: Bins

    @model_validator(mode="after")
    def _every_row_counts(self) -> Self:
        for name, spread in (*self.features.items(), ("the scores", self.scores)):
            counted = sum(spread.counts) + spread.missing
            if counted != self.rows:
                raise ValueError(f"{name}: {counted} are counted, of {self.rows} rows")
        return self


def reference_of(features: Sequence[Feature], matrix: Values, scores: Values) -> Reference:
    """Count a matrix with a column for each of `features` and a row for each of `scores`.

    Raises:
        ModelError: there is no row, or a value is not finite where it must be.
    """
    if matrix.shape != (len(scores), len(features)):
        shape = (len(scores), len(features))
        raise ModelError(f"reference: the matrix is {matrix.shape}, scores and features {shape}")
    try:
        spreads: dict[str, Bins | Categories] = {
            feature.name: _codes(column, len(feature.categories))
            if feature.categories
            else _numbers(column)
            for feature, column in zip(features, matrix.T, strict=True)
        }
        return Reference(rows=len(scores), features=spreads, scores=_even(scores))
    except ValidationError as error:
        raise ModelError(f"reference: {error.errors()[0]['msg']}") from error


def _codes(column: Values, categories: int) -> Categories:
    codes = column[~np.isnan(column)].astype(np.int64)
    known = codes[(codes >= 0) & (codes < categories)]
    counts = np.bincount(known, minlength=categories)
    return Categories(counts=tuple(counts.tolist()), missing=len(column) - len(known))


def _numbers(column: Values) -> Bins:
    """Few values one bin each, many in bins with about as many each: what drift measures want."""
    seen = column[~np.isnan(column)]
    values = np.unique(seen)
    if len(values) < 2:
        return _histogram(seen, len(column), _around(values[0] if len(values) else 0.0))
    if len(values) <= BINS:
        middles = values[:-1] / 2 + values[1:] / 2
        edges = np.concatenate((values[:1], middles, values[-1:]))
    else:
        # Edges that are values: nothing is interpolated, so nothing can overflow.
        steps = np.linspace(0, 1, BINS + 1)
        edges = np.quantile(seen, steps, method="inverted_cdf")
    return _histogram(seen, len(column), np.unique(edges))


def _even(scores: Values) -> Bins:
    """Bins of one width, from the lowest score to the highest: what a plot wants."""
    seen = scores[~np.isnan(scores)]
    if not len(seen) or seen.min() == seen.max():
        return _histogram(seen, len(scores), _around(seen[0] if len(seen) else 0.0))
    edges = np.unique(np.linspace(seen.min(), seen.max(), SCORE_BINS + 1))
    return _histogram(seen, len(scores), edges)


def _around(value: float) -> Values:
    """The narrowest bin with this value."""
    towards = -np.inf if value > 0 else np.inf
    return np.sort(np.array([value, np.nextafter(value, towards)]))


def _histogram(seen: Values, rows: int, edges: Values) -> Bins:
    counts, _ = np.histogram(seen, edges)
    return Bins(
        edges=tuple(edges.tolist()), counts=tuple(counts.tolist()), missing=rows - len(seen)
    )
