"""Versions side by side on live decisions: a canary's arms, and a champion with the one before."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import polars as pl

from workers.feedback.dataset import Joiner, Window
from workers.feedback.learning.rows import labelled
from workers.feedback.opening import Loop
from workers.feedback.quality import measures
from workers.feedback.quality.judged import judged
from workers.feedback.quality.measures import Measure
from workers.models.model import Model


@dataclass(frozen=True, slots=True)
class Beside:
    """Log loss of one version less that of another; `rows` of the one that is judged."""

    rows: int
    difference: Measure

    def worse(self, margin: float, confidence: float) -> bool:
        """By more than the margin, with confidence."""
        low, _ = self.difference.interval(confidence)
        return low > margin


def canary(loop: Loop, since: datetime.datetime, as_of: datetime.datetime) -> Beside:
    """The challenger's decisions since then beside the champion's: other keys, the same days."""
    found = judged(_joiner(loop), Window(since, as_of, as_of)).labelled
    one, two = (found.of(pl.col("arm") == arm) for arm in ("challenger", "champion"))
    losses = [measures.log_loss(arm.labels, arm.scores, arm.weights) for arm in (one, two)]
    return Beside(len(one), losses[0].less(losses[1]))


def champion(
    loop: Loop, since: datetime.datetime, as_of: datetime.datetime, version: str, before: str
) -> Beside:
    """What was decided since then, scored by the champion and by the one before: the same rows.

    No further back than `retrain.every`: what is good on the whole may be bad by now.
    """
    since = max(since, as_of - datetime.timedelta(seconds=loop.feedback.retrain.every))
    store, name = loop.store, loop.model.name
    models = [Model(store.bundle(name, each), threads=1) for each in (version, before)]
    rows = labelled(_joiner(loop), Window(since, as_of, as_of), models[0].features.ordered)
    if not len(rows):
        return Beside(0, Measure(float("nan"), float("nan")))
    ours, theirs = (model.scores_of(rows.matrix(model.features.ordered)) for model in models)
    worse = measures.log_loss_difference(rows.labels, ours, theirs, rows.weights)
    return Beside(len(rows), worse)


def _joiner(loop: Loop) -> Joiner:
    return Joiner(loop.log.place, loop.log.newest(), loop.feedback, loop.model.name)
