"""Measures of scores against what happened, each with its standard error.

Labels are 0 or 1, scores probabilities. Intervals are normal approximations for independent rows;
where outcomes of one day hang together, as delays in a storm do, they are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
_TINY = 1e-15


@dataclass(frozen=True, slots=True)
class Measure:
    """A value and its standard error; NaN where it cannot be said."""

    value: float
    error: float

    def interval(self, confidence: float) -> tuple[float, float]:
        """Where it is with this confidence."""
        wide = NormalDist().inv_cdf(0.5 + confidence / 2) * self.error
        return self.value - wide, self.value + wide

    def less(self, other: Measure) -> Measure:
        """The difference of two that were measured on different rows."""
        return Measure(self.value - other.value, math.hypot(self.error, other.error))


def auc(labels: Values, scores: Values) -> Measure:
    """Area under the ROC curve: how often one that happened has the higher score; ties are half.

    Standard error after DeLong, DeLong and Clarke-Pearson 1988.
    """
    if _one_sided(labels):
        return Measure(math.nan, math.nan)
    value, hits, misses = _placements(labels, scores)
    return Measure(value, math.sqrt(_variance(hits) + _variance(misses)))


def auc_difference(labels: Values, scores: Values, others: Values) -> Measure:
    """AUC of `scores` less that of `others`, on the same rows: DeLong's test for paired scores."""
    if _one_sided(labels):
        return Measure(math.nan, math.nan)
    value, hits, misses = _placements(labels, scores)
    other, other_hits, other_misses = _placements(labels, others)
    spread = _variance(hits - other_hits) + _variance(misses - other_misses)
    return Measure(value - other, math.sqrt(spread))


def log_loss(labels: Values, scores: Values) -> Measure:
    """Mean negative log-likelihood, in nats; lower is better."""
    return _mean(losses(labels, scores))


def losses(labels: Values, scores: Values) -> Values:
    """Each row's part of the log loss."""
    clipped = np.clip(scores, _TINY, 1 - _TINY)
    return np.asarray(-(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped)))


def log_loss_difference(labels: Values, scores: Values, others: Values) -> Measure:
    """Log loss of `scores` less that of `others`, on the same rows."""
    return _mean(losses(labels, scores) - losses(labels, others))


def brier(labels: Values, scores: Values) -> Measure:
    """Mean squared difference; lower is better."""
    return _mean((scores - labels) ** 2)


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of neighbouring scores: their mean score, and the share of them that happened."""

    rows: int
    score: float
    happened: float


def calibration(labels: Values, scores: Values, bins: int = 10) -> list[Bin]:
    """Bins of about as many rows each, ascending by score."""
    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [
        Bin(len(part), float(scores[part].mean()), float(labels[part].mean())) for part in parts
    ]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: how far scores are from shares, weighted by rows."""
    whole = sum(each.rows for each in bins)
    if not whole:
        return math.nan
    return sum(each.rows * abs(each.score - each.happened) for each in bins) / whole


@dataclass(frozen=True, slots=True)
class Estimate:
    """What measures would be if the scores were right as probabilities: before labels are there."""

    auc: float
    log_loss: float
    brier: float


def estimated(scores: Values) -> Estimate:
    """Confidence-based: each row counts as what happened by its score, and by the rest as not.

    As in CBPE (NannyML). It sees scores that get less sure; it cannot see that what they mean has
    changed, nor scores that were never calibrated.
    """
    if not len(scores):
        return Estimate(math.nan, math.nan, math.nan)
    p = np.clip(scores, _TINY, 1 - _TINY)
    values, inverse = np.unique(p, return_inverse=True)
    ones = np.bincount(inverse, weights=p, minlength=len(values))
    zeros = np.bincount(inverse, weights=1 - p, minlength=len(values))
    below = np.cumsum(zeros) - zeros
    whole = ones.sum() * zeros.sum()
    area = float((ones * (below + zeros / 2)).sum() / whole) if whole else math.nan
    entropy = -(p * np.log(p) + (1 - p) * np.log1p(-p))
    return Estimate(area, float(entropy.mean()), float((p * (1 - p)).mean()))


def population_stability(expected: Values, actual: Values) -> float:
    """Population stability index of two histograms over the same bins; 0 is the same.

    Empty bins count as half a row, so that one of them is not infinite.
    """
    if not expected.sum() or not actual.sum():
        return math.nan
    p, q = (np.where(each == 0, 0.5, each) for each in (expected, actual))
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def _one_sided(labels: Values) -> bool:
    return len(labels) == 0 or labels.min() == labels.max()


def _mean(values: Values) -> Measure:
    if not len(values):
        return Measure(math.nan, math.nan)
    error = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Measure(float(values.mean()), error)


def _placements(labels: Values, scores: Values) -> tuple[float, Values, Values]:
    """AUC, and for each hit and each miss the share of the other kind that it is right about.

    By mid-ranks (Sun and Xu 2014), so that it takes sorting and no pairs.
    """
    hit = labels == 1
    hits, misses = scores[hit], scores[~hit]
    whole = _ranks(scores)
    hit_places = (whole[hit] - _ranks(hits)) / len(misses)
    miss_places = 1 - (whole[~hit] - _ranks(misses)) / len(hits)
    return float(hit_places.mean()), hit_places, miss_places


def _ranks(values: Values) -> Values:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse], dtype=np.float64)


def _variance(places: Values) -> float:
    return float(places.var(ddof=1) / len(places)) if len(places) > 1 else math.nan
