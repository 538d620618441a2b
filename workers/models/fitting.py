"""Fit a calibration to outcomes: for training scripts. Fit it on rows the booster has not seen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workers.errors import ModelError
from workers.models.bundle import Platt

Values = npt.NDArray[np.float64]
_STEPS = 100


def fit_platt(scores: Values, labels: Values) -> Platt:
    """Slope and intercept that make calibrated scores most likely, `labels` being 0 or 1.

    Platt 1999, "Probabilistic outputs for support vector machines", with his smoothed targets, on
    the logit of the score; Newton's method with halved steps as in Lin, Lin and Weng 2007.

    Raises:
        ModelError: one of the outcomes does not occur, or higher scores do not mean more ones.
    """
    ones, zeros = int((labels == 1).sum()), int((labels == 0).sum())
    if not ones or not zeros or ones + zeros != len(scores):
        raise ModelError("Platt: `labels` must be 0 or 1, one a score, and both must occur")
    targets = np.where(labels == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    clipped = np.clip(scores, 1e-12, 1 - 1e-12)
    columns = np.stack((np.log(clipped) - np.log1p(-clipped), np.ones(len(scores))), axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        found = _sigmoid(columns @ weights)
        gradient = columns.T @ (found - targets)
        if np.abs(gradient).max() < 1e-9 * len(scores):
            break
        curvature = columns.T @ (columns * (found * (1 - found))[:, None]) + 1e-12 * np.eye(2)
        step: Values = np.linalg.solve(curvature, gradient).astype(np.float64)
        weights = _shorter(columns, targets, weights, step)
    if weights[0] <= 0:
        raise ModelError(
            "Platt: higher scores do not mean more ones: there is nothing to calibrate"
        )
    return Platt(method="platt", slope=float(weights[0]), intercept=float(weights[1]))


def log_loss(scores: Values, labels: Values) -> float:
    """Mean negative log-likelihood of `labels`, 0 or 1, in nats."""
    clipped = np.clip(scores, 1e-15, 1 - 1e-15)
    return float(-np.mean(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped)))


def _sigmoid(values: Values) -> Values:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -500, 500))), dtype=np.float64)


def _shorter(columns: Values, targets: Values, weights: Values, step: Values) -> Values:
    """The longest of step, step / 2, … that makes the loss smaller."""
    before = log_loss(_sigmoid(columns @ weights), targets)
    for _ in range(30):
        if log_loss(_sigmoid(columns @ (weights - step)), targets) < before:
            return weights - step
        step = step / 2
    return weights
