"""Weights of rows whose outcome depends on what was decided.

Inverse propensities, after Horvitz and Thompson 1952, "A generalization of sampling without
replacement from a finite universe": a row that had one chance in ten stands for ten. Means divide
by the sum of the weights (Hájek 1971). Weights are clipped, as Ionides 2008 does ("Truncated
importance sampling"), because few of the largest would decide alone; that biases towards what is
done more often.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from workers.feedback.quality.measures import Values
from workers.topology.feedback import Retrain, Weighting

WEIGHT = "weight"
"""The column; there is none where rows count alike."""


def weight_of(settings: Retrain, rows: pl.DataFrame) -> list[pl.Expr]:
    """Columns to add to decisions: none, or `WEIGHT`, null where the propensity is not known."""
    if settings.weighting is Weighting.NONE:
        return []
    given = pl.col("propensity") if "propensity" in rows.columns else pl.lit(None)
    inverse = (1 / given.cast(pl.Float64)).clip(upper_bound=settings.max_weight)
    return [inverse.alias(WEIGHT)]


def effective(weights: Values) -> float:
    """How many rows that count alike know a mean as well: Kish 1965, "Survey Sampling"."""
    return effective_of(float(weights.sum()), float(np.square(weights).sum()))


def effective_of(total: float, squares: float) -> float:
    """The same, from the sum of the weights and that of their squares; 0 of no rows."""
    return total**2 / squares if squares else 0.0
