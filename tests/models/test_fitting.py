"""Platt's line is found again from outcomes drawn by it."""

from __future__ import annotations

import numpy as np
import pytest

from workers.errors import ModelError
from workers.models.bundle import Platt
from workers.models.fitting import fit_platt, log_loss
from workers.models.model import calibrated


def test_a_known_line_is_found_again() -> None:
    """And scores are likelier with it."""
    random = np.random.default_rng(1)
    scores = random.uniform(0.01, 0.99, 50_000)
    line = Platt(method="platt", slope=0.5, intercept=-0.7)
    labels = (random.uniform(size=len(scores)) < calibrated(scores, line)).astype(np.float64)

    found = fit_platt(scores, labels)

    assert (found.slope, found.intercept) == pytest.approx((0.5, -0.7), abs=0.03)
    assert log_loss(calibrated(scores, found), labels) < log_loss(scores, labels)


def test_scores_that_separate_outcomes_give_a_finite_line() -> None:
    """Platt's smoothed targets see to it; 0 and 1 are scores too."""
    scores = np.array([0.0, 0.1, 0.2, 0.8, 0.9, 1.0])

    found = fit_platt(scores, (scores > 0.5).astype(np.float64))

    assert 0 < found.slope < 100
    assert abs(found.intercept) < 100


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], [0, 1, 2], [1, 0, 0]])
def test_what_cannot_be_calibrated_is_refused(labels: list[float]) -> None:
    """One outcome alone, another one, or an order upside down."""
    with pytest.raises(ModelError, match="Platt"):
        fit_platt(np.array([0.1, 0.5, 0.9]), np.array(labels, dtype=np.float64))
