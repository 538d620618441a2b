"""Fit a calibration to outcomes: for training scripts. Fit it on rows the booster has not seen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workers.errors import ModelError
from workers.models.bundle import Platt

Values = npt.NDArray[np.float64]
_STEPS = 100


def fit_platt(scores: Values, labels: Values, weights: Values | None = None) -> Platt:
    """Slope and intercept that make calibrated scores most likely, `labels` being 0 or 1.

    `weights`, where given, has one a row: it counts as so many rows.

    Platt 1999, "Probabilistic outputs for support vector machines", with his smoothed targets, on
    the logit of the score; Newton's method with halved steps as in Lin, Lin and Weng 2007.

    Raises:
        ModelError: one of the outcomes does not occur, or higher scores do not mean more ones.
    """
    each = np.ones(len(scores)) if weights is None else weights
    ones, zeros = float(each[labels == 1].sum()), float(each[labels == 0].sum())
    if set(np.unique(labels)) != {0, 1} or len(labels) != len(scores):
        raise ModelError("Platt: `labels` must be 0 or 1, one a score, and both must occur")
    targets = np.where(labels == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    clipped = np.clip(scores, 1e-12, 1 - 1e-12)
    columns = np.stack((np.log(clipped) - np.log1p(-clipped), np.ones(len(scores))), axis=1)
    line = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        found = _sigmoid(columns @ line)
        gradient = columns.T @ (each * (found - targets))
        if np.abs(gradient).max() < 1e-9 * each.sum():
            break
        curvature = columns.T @ (columns * (each * found * (1 - found))[:, None]) + 1e-12 * np.eye(
            2
        )
        step: Values = np.linalg.solve(curvature, gradient).astype(np.float64)
        line = _shorter((columns, targets, each), line, step)
    if line[0] <= 0:
        raise ModelError(
            "Platt: higher scores do not mean more ones: there is nothing to calibrate"
        )
    return Platt(method="platt", slope=float(line[0]), intercept=float(line[1]))


def log_loss(scores: Values, labels: Values, weights: Values | None = None) -> float:
    """Mean negative log-likelihood of `labels`, 0 or 1, in nats."""
    clipped = np.clip(scores, 1e-15, 1 - 1e-15)
    likelihoods = labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped)
    return float(-np.average(likelihoods, weights=weights))


def _sigmoid(values: Values) -> Values:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -500, 500))), dtype=np.float64)


def _shorter(rows: tuple[Values, Values, Values], line: Values, step: Values) -> Values:
    """The longest of step, step / 2, … that makes the loss smaller."""
    columns, targets, each = rows
    before = log_loss(_sigmoid(columns @ line), targets, each)
    for _ in range(30):
        if log_loss(_sigmoid(columns @ (line - step)), targets, each) < before:
            return line - step
        step = step / 2
    return line
