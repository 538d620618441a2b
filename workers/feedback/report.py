"""The report of a loop: what decisions were, what became of them, how good scores were; as data."""

from __future__ import annotations

import datetime
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from workers.errors import ModelError
from workers.feedback.collect import COMPARISONS
from workers.feedback.dataset import DatasetState, Joiner, Window
from workers.feedback.lake.files import of_days, scan
from workers.feedback.opening import Loop
from workers.feedback.quality import measures
from workers.feedback.quality.costs import mean_cost, thresholds
from workers.feedback.quality.drift import Drift
from workers.feedback.quality.judged import Judged, coverage, days, whole
from workers.feedback.quality.measures import Measure
from workers.feedback.quality.weights import effective
from workers.models.store import Store

CONFIDENCE = 0.95
SEGMENT_ROWS = 100
"""Smaller segments are not shown: their measures are noise."""
CUTS = tuple(round(step * 0.1, 1) for step in range(1, 10))
Document = dict[str, Any]


class DriftsState:
    """A drift for each version that has decisions and a reference."""

    def __init__(self, store: Store, model: str) -> None:
        self._store = store
        self._model = model
        self._known: dict[str, Drift | None] = {}

    def add(self, rows: pl.DataFrame) -> None:
        """Count a day."""
        for (version,), part in rows.group_by("model_version"):
            drift = self.of(str(version))
            if drift is not None:
                drift.add(part)

    def of(self, version: str) -> Drift | None:
        """None where the version is gone from the store, or its bundle has no reference."""
        if version not in self._known:
            try:
                bundle = self._store.bundle(self._model, version)
            except ModelError:
                self._known[version] = None
            else:
                reference = bundle.reference
                self._known[version] = (
                    None if reference is None else Drift(bundle.manifest, reference)
                )
        return self._known[version]


def report(loop: Loop, window: Window) -> Document:
    """Everything that is known of the window's decisions at `window.as_of`.

    Raises:
        LakeFault: the lake cannot be read.
    """
    commit, feedback = loop.log.newest(), loop.feedback
    joiner = Joiner(loop.log.place, commit, feedback, loop.model.name)
    drifts, state, parts = DriftsState(loop.store, loop.model.name), DatasetState(), []
    for day in days(joiner, window, feedback.segments, state):
        parts.append(day.kept)
        drifts.add(day.rows)
    found = whole(parts, state)
    due = window.as_of - datetime.timedelta(seconds=feedback.matures)
    versions = found.frame["model_version"].unique().sort().to_list()
    return {
        "format": 1,
        "loop": feedback.name,
        "model": loop.model.name,
        "since": window.since,
        "until": window.until,
        "as_of": window.as_of,
        "commit": commit.number,
        "confidence": CONFIDENCE,
        "weighting": feedback.retrain.weighting.value,
        "decisions": len(found),
        "outcomes": state.outcomes,
        "coverage": coverage(found, due),
        "corrected": state.corrected,
        "late": state.late,
        "twice": state.twice,
        "mix": _counts(found, "decision"),
        "without_the_model": _counts(found, "fallback_reason"),
        "versions": {
            version: _version(
                loop, found.of(pl.col("model_version") == version), drifts.of(version)
            )
            for version in versions
        },
        "months": _months(found),
        "canary": _canary(found),
        "shadow": _shadow(loop, found, window),
    }


def quality(found: Judged) -> Document:
    """Measures of rows with scores, and what is estimated of those that have no label yet."""
    labelled, scored = found.labelled, found.scored
    labels, scores, weights = labelled.labels, labelled.scores, labelled.weights
    bins = measures.calibration(labels, scores, weights)
    return {
        "decisions": len(found),
        "scored": len(scored),
        "labelled": len(labelled),
        "effective": len(labelled) if weights is None else effective(weights),
        "happened": measures.weighted_mean(labels, weights).value,
        "auc": shown(measures.auc(labels, scores, weights)),
        "log_loss": shown(measures.log_loss(labels, scores, weights)),
        "brier": shown(measures.brier(labels, scores, weights)),
        "calibration_error": measures.calibration_error(bins),
        "estimated": asdict(measures.estimated(scored.scores)),
    }


def shown(measure: Measure, confidence: float = CONFIDENCE) -> Document:
    """A measure with its interval."""
    low, high = measure.interval(confidence)
    return {"value": measure.value, "low": low, "high": high}


def _counts(found: Judged, column: str) -> dict[str, int]:
    counts = found.frame[column].drop_nulls().value_counts(sort=True)
    return dict(counts.iter_rows())


def _version(loop: Loop, found: Judged, drift: Drift | None) -> Document:
    labelled = found.labelled
    labels, scores, weights = labelled.labels, labelled.scores, labelled.weights
    features, of_scores = ({}, math.nan) if drift is None else drift.stability()
    costs = loop.feedback.cost
    # Of every decision that has a label: rules and fallbacks cost as well.
    known = found.known
    cost = mean_cost(costs, known.decisions, known.labels, known.weights)
    return {
        **quality(found),
        "last": found.frame["event_at"].max(),
        "mix": _counts(found, "decision"),
        "calibration": [asdict(each) for each in measures.calibration(labels, scores, weights)],
        "thresholds": [asdict(each) for each in thresholds(labels, scores, CUTS, weights)],
        "lift": _lift(labelled),
        "cost": shown(cost) if costs else None,
        "drift": {"scores": of_scores, "features": dict(sorted(features.items()))},
        "segments": {name: _segment(found, name) for name in loop.feedback.segments},
    }


def _lift(labelled: Judged) -> list[Document]:
    """Of the rows with the highest scores, the share of all that happened."""
    order = np.argsort(-labelled.scores, kind="stable")
    weights = np.ones(len(order)) if labelled.weights is None else labelled.weights[order]
    hits, shares = np.cumsum(labelled.labels[order] * weights), np.cumsum(weights)
    if not len(hits) or hits[-1] == 0:
        return []
    steps = [round(step * 0.05, 2) for step in range(1, 21)]
    places = np.searchsorted(shares, np.array(steps) * shares[-1] * (1 + 1e-12), side="right") - 1
    return [
        {"share": step, "found": float(hits[max(0, place)] / hits[-1])}
        for step, place in zip(steps, places.tolist(), strict=True)
    ]


def _segment(found: Judged, name: str) -> dict[str, Document]:
    column = f"segment.{name}"
    if column not in found.frame.columns:
        return {}
    values = found.labelled.frame[column].value_counts()
    kept = sorted(value for value, count in values.iter_rows() if count >= SEGMENT_ROWS)
    return {value: quality(found.of(pl.col(column) == value)) for value in kept}


def _months(found: Judged) -> dict[str, Document]:
    month = found.frame["event_at"].dt.strftime("%Y-%m")
    return {
        name: quality(found.of(pl.col("event_at").dt.strftime("%Y-%m") == name))
        for name in month.unique().sort().to_list()
    }


def _canary(found: Judged) -> Document | None:
    """The arms side by side, from the first decision of the challenger on: keys differ."""
    labelled = found.labelled
    first = labelled.frame.filter(pl.col("arm") == "challenger")["event_at"].min()
    if first is None:
        return None
    last = labelled.frame.filter(pl.col("arm") == "challenger")["event_at"].max()
    beside = labelled.of(pl.col("event_at").is_between(first, last))
    arms = {arm: beside.of(pl.col("arm") == arm) for arm in ("champion", "challenger")}
    one, two = arms["challenger"], arms["champion"]
    return {
        "since": first,
        "until": last,
        "versions": {
            arm: rows.frame["model_version"].unique().sort().to_list() for arm, rows in arms.items()
        },
        "labelled": {arm: len(rows) for arm, rows in arms.items()},
        "auc": shown(_auc(one).less(_auc(two))),
        "log_loss": shown(_log_loss(one).less(_log_loss(two))),
    }


def _auc(found: Judged) -> Measure:
    return measures.auc(found.labels, found.scores, found.weights)


def _log_loss(found: Judged) -> Measure:
    return measures.log_loss(found.labels, found.scores, found.weights)


def _shadow(loop: Loop, found: Judged, window: Window) -> Document | None:
    """Champion and challenger on the same events: paired, so that small differences show."""
    files = of_days(loop.log.newest().table(COMPARISONS), window.since.date())
    rows = scan(loop.log.place, files)
    if rows is None:
        return None
    challenger = pl.col("challenger").struct
    asked = rows.select(
        "decision_id",
        challenger.field("version").alias("version"),
        challenger.field("score").alias("other"),
        "agrees",
    ).collect()
    paired = found.labelled.frame.join(
        asked.unique("decision_id", keep="last"), on="decision_id", how="inner"
    ).filter(pl.col("other").is_not_null())
    labels, ours, others = (paired[n].to_numpy() for n in ("label", "score", "other"))
    weights = Judged(paired, found.state).weights
    return {
        "compared": asked.height,
        "labelled": paired.height,
        "versions": asked["version"].unique().sort().to_list(),
        "agrees": float(asked["agrees"].cast(pl.Float64).mean() or 0.0),  # type: ignore[arg-type]  # a mean of numbers is one
        "auc": shown(measures.auc_difference(labels, others, ours, weights)),
        "log_loss": shown(measures.log_loss_difference(labels, others, ours, weights)),
    }
