"""Measures of scores against what happened, each with its standard error.

Labels are 0 or 1, scores probabilities. Intervals are normal approximations for independent rows;
where outcomes of one day hang together, as delays in a storm do, they are too narrow.
`weights`, where given, has one a row: means are weighted, and errors are those of weighted means.
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


def auc(labels: Values, scores: Values, weights: Values | None = None) -> Measure:
    """Area under the ROC curve: how often one that happened has the higher score; ties are half.

    Standard error after DeLong, DeLong and Clarke-Pearson 1988.
    """
    if _one_sided(labels):
        return Measure(math.nan, math.nan)
    hits, misses = _placements(labels, scores, weights)
    of_hits, of_misses = _kinds(labels, weights)
    ours = weighted_mean(hits, of_hits)
    return Measure(ours.value, math.hypot(ours.error, weighted_mean(misses, of_misses).error))


def auc_difference(
    labels: Values, scores: Values, others: Values, weights: Values | None = None
) -> Measure:
    """AUC of `scores` less that of `others`, on the same rows: DeLong's test for paired scores."""
    if _one_sided(labels):
        return Measure(math.nan, math.nan)
    hits, misses = _placements(labels, scores, weights)
    other_hits, other_misses = _placements(labels, others, weights)
    of_hits, of_misses = _kinds(labels, weights)
    found = weighted_mean(hits - other_hits, of_hits)
    return Measure(
        found.value, math.hypot(found.error, weighted_mean(misses - other_misses, of_misses).error)
    )


def log_loss(labels: Values, scores: Values, weights: Values | None = None) -> Measure:
    """Mean negative log-likelihood, in nats; lower is better."""
    return weighted_mean(losses(labels, scores), weights)


def losses(labels: Values, scores: Values) -> Values:
    """Each row's part of the log loss."""
    clipped = np.clip(scores, _TINY, 1 - _TINY)
    return np.asarray(-(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped)))


def log_loss_difference(
    labels: Values, scores: Values, others: Values, weights: Values | None = None
) -> Measure:
    """Log loss of `scores` less that of `others`, on the same rows."""
    return weighted_mean(losses(labels, scores) - losses(labels, others), weights)


def brier(labels: Values, scores: Values, weights: Values | None = None) -> Measure:
    """Mean squared difference; lower is better."""
    return weighted_mean((scores - labels) ** 2, weights)


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of neighbouring scores: their mean score, and the share of them that happened.

    `weight` is what they count for; as many as `rows` where rows count alike.
    """

    rows: int
    score: float
    happened: float
    weight: float


def calibration(
    labels: Values, scores: Values, weights: Values | None = None, bins: int = 10
) -> list[Bin]:
    """Bins of about as many rows each, ascending by score."""
    order = np.argsort(scores, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [_bin(labels[part], scores[part], _some(weights, part)) for part in parts]


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: how far scores are from shares, by what bins count for."""
    whole = sum(each.weight for each in bins)
    if not whole:
        return math.nan
    return sum(each.weight * abs(each.score - each.happened) for each in bins) / whole


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


def weighted_mean(values: Values, weights: Values | None = None) -> Measure:
    """NaN of no rows. With weights a ratio of two sums; its error is by linearization (Särndal,
    Swensson and Wretman 1992, "Model Assisted Survey Sampling", 5.7).

    The same as without where they are all alike.
    """
    count = len(values)
    if not count:
        return Measure(math.nan, math.nan)
    if weights is None:
        error = float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
        return Measure(float(values.mean()), error)
    whole = float(weights.sum())
    value = float(weights @ values) / whole
    spread = float(np.square(weights * (values - value)).sum())
    error = math.sqrt(spread * count / (count - 1)) / whole if count > 1 else math.nan
    return Measure(value, error)


def _bin(labels: Values, scores: Values, weights: Values | None) -> Bin:
    weight = float(len(labels) if weights is None else weights.sum())
    return Bin(
        len(labels),
        weighted_mean(scores, weights).value,
        weighted_mean(labels, weights).value,
        weight,
    )


def _some(weights: Values | None, rows: npt.NDArray[np.intp]) -> Values | None:
    return None if weights is None else weights[rows]


def _kinds(labels: Values, weights: Values | None) -> tuple[Values | None, Values | None]:
    """Weights of what happened, and of the rest."""
    return (None, None) if weights is None else (weights[labels == 1], weights[labels != 1])


def _placements(labels: Values, scores: Values, weights: Values | None) -> tuple[Values, Values]:
    """For each hit and each miss the share of the other kind that it is right about.

    Their mean is AUC. By mid-ranks (Sun and Xu 2014), so that it takes sorting and no pairs; with
    weights ranks are sums of them.
    """
    hit = labels == 1
    hits, misses = scores[hit], scores[~hit]
    of_hits, of_misses = _kinds(labels, weights)
    whole = _ranks(scores, weights)
    below_hits = whole[hit] - _ranks(hits, of_hits)
    below_misses = whole[~hit] - _ranks(misses, of_misses)
    hits_weigh = len(hits) if of_hits is None else of_hits.sum()
    misses_weigh = len(misses) if of_misses is None else of_misses.sum()
    return below_hits / misses_weigh, 1 - below_misses / hits_weigh


def _ranks(values: Values, weights: Values | None) -> Values:
    """Mid-ranks: what is below a value, and half of what is the same and itself."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    if weights is None:
        return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse], dtype=np.float64)
    weigh = np.bincount(inverse, weights=weights, minlength=len(counts))
    return np.asarray((np.cumsum(weigh) - weigh / 2)[inverse], dtype=np.float64)
