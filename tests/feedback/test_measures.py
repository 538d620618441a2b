"""Measures are those of the textbooks: held to scikit-learn, to brute force, and to repetition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from tests.feedback.lakes import seeded
from workers.feedback.quality import measures
from workers.feedback.quality.costs import cheapest_bands, mean_cost, thresholds
from workers.feedback.quality.drift import score_drift
from workers.models.bundle import Feature
from workers.models.reference import reference_of
from workers.topology import Cost

Drawn = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    """Scores with ties, and labels of both kinds."""
    count = draw(st.integers(4, 60))
    scores = draw(
        st.lists(st.sampled_from([0.05, 0.2, 0.4, 0.7, 0.95]), min_size=count, max_size=count)
    )
    labels = draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=count - 2, max_size=count - 2))
    return np.array([0.0, 1.0, *labels]), np.array(scores)


@settings(max_examples=80, deadline=None)
@given(drawn())
def test_measures_are_scikit_learns(found: Drawn) -> None:
    """AUC with ties, log loss, Brier."""
    labels, scores = found

    assert measures.auc(labels, scores).value == pytest.approx(
        sklearn.roc_auc_score(labels, scores)
    )
    assert measures.log_loss(labels, scores).value == pytest.approx(
        sklearn.log_loss(labels, scores)
    )
    assert measures.brier(labels, scores).value == pytest.approx(
        sklearn.brier_score_loss(labels, scores)
    )


def test_the_error_of_an_auc_is_how_much_it_scatters() -> None:
    """DeLong's error beside the spread of 400 samples; likewise for a paired difference."""
    found, errors, differences, paired = [], [], [], []
    for seed in range(400):
        scores, labels = seeded(400, seed)
        noisy = np.clip(scores + np.random.default_rng(seed + 9999).normal(0, 0.1, 400), 0, 1)
        one = measures.auc(labels, scores)
        two = measures.auc_difference(labels, scores, noisy)
        found.append(one.value)
        errors.append(one.error)
        differences.append(two.value)
        paired.append(two.error)

    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.15)
    assert np.mean(paired) == pytest.approx(np.std(differences), rel=0.15)
    assert np.mean(paired) < np.mean(errors)


def test_estimated_quality_is_the_real_one_where_scores_are_probabilities() -> None:
    """Without a label; and it does not see that scores have lost their meaning."""
    scores, labels = seeded(60_000)

    guess = measures.estimated(scores)

    assert guess.auc == pytest.approx(measures.auc(labels, scores).value, abs=0.01)
    assert guess.log_loss == pytest.approx(measures.log_loss(labels, scores).value, abs=0.01)
    assert guess.brier == pytest.approx(measures.brier(labels, scores).value, abs=0.01)
    shuffled = np.random.default_rng(1).permutation(labels)
    assert measures.auc(shuffled, scores).value < 0.52 < guess.auc


def test_calibration_says_how_far_scores_are_from_shares() -> None:
    """Nothing for calibrated ones; the offset for those that are off by it."""
    scores, labels = seeded(50_000)

    good = measures.calibration(labels, scores)
    off = measures.calibration(labels, scores / 2)

    assert sum(each.rows for each in good) == 50_000
    assert measures.calibration_error(good) < 0.01
    assert measures.calibration_error(off) == pytest.approx(float(scores.mean()) / 2, abs=0.01)


def test_what_cannot_be_said_is_not_a_number() -> None:
    """One kind of label alone, no row at all."""
    none = np.array([])

    assert math.isnan(measures.auc(np.ones(5), np.ones(5)).value)
    assert math.isnan(measures.auc(none, none).value)
    assert math.isnan(measures.log_loss(none, none).value)
    assert math.isnan(measures.estimated(none).auc)
    assert measures.calibration(none, none) == []


def test_stability_is_none_of_the_same_and_grows_with_the_shift() -> None:
    """An index, not a test: also where a bin is empty."""
    base = np.array([100.0, 200, 300, 0])

    same = measures.population_stability(base, base * 3)
    near = measures.population_stability(base, np.array([110.0, 200, 290, 0]))
    far = measures.population_stability(base, np.array([300.0, 200, 100, 50]))

    assert same == pytest.approx(0, abs=1e-3)
    assert same < near < 0.1 < far


def test_drift_of_scores_is_to_those_of_the_training() -> None:
    """Little for more of the same, also beyond the reference's edges; much for others."""
    scores, _ = seeded(20_000)
    features = (Feature(name="f", sql="f"),)
    reference = reference_of(features, scores[:, None], scores)

    same, _ = seeded(5_000, seed=2)

    assert score_drift(reference, same) < 0.02
    assert score_drift(reference, np.append(same, [-1.0, 2.0])) < 0.02
    assert score_drift(reference, same**2) > 0.25


COSTS = {
    "on_time": Cost(positive=10, negative=0),
    "review": Cost(positive=3, negative=1),
    "late": Cost(positive=0, negative=5),
    "never": Cost(positive=20, negative=20),
}


def test_bands_are_the_cheapest_decision_at_every_score() -> None:
    """Held to trying every decision at every score; one that is never cheapest has no band."""
    decisions = cheapest_bands(COSTS, "review")

    assert decisions is not None
    assert [band.decision for band in decisions.bands] == ["on_time", "review", "late"]
    starts = [band.since for band in decisions.bands]
    for p in np.linspace(0, 1, 999):
        chosen = decisions.bands[int(np.searchsorted(starts, p, side="right")) - 1].decision
        price = {n: p * c.positive + (1 - p) * c.negative for n, c in COSTS.items()}
        assert price[chosen] == pytest.approx(min(price.values()))
    assert cheapest_bands({}, "review") is None


def test_costs_and_thresholds_are_counted() -> None:
    """By hand, of four rows."""
    labels, scores = np.array([1.0, 0, 1, 0]), np.array([0.9, 0.8, 0.2, 0.1])
    decided = np.array(["late", "late", "on_time", "unpriced"], dtype=object)

    cost = mean_cost(COSTS, decided, labels)
    (half,) = thresholds(labels, scores, [0.5])

    assert cost.value == pytest.approx((0 + 5 + 10) / 3)
    assert (half.share, half.precision, half.recall, half.lift) == (0.5, 0.5, 0.5, 1.0)
