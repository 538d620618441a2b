"""Drift: how features and scores are spread now, against what the model was made with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from workers.feedback.quality.measures import Values, population_stability
from workers.feedback.records import CATEGORY, NUMBER
from workers.models.bundle import Feature, Manifest
from workers.models.reference import Bins, Reference


@dataclass(slots=True)
class DriftState:
    """Counts of what came since, in the reference's bins; the last entry is what was missing."""

    features: dict[str, Values] = field(default_factory=dict)
    scores: Values | None = None


class Drift:
    """Counts decisions of one model version against its bundle's reference."""

    def __init__(self, manifest: Manifest, reference: Reference) -> None:
        self._features = {feature.name: feature for feature in manifest.features}
        self._reference = reference
        self.state = DriftState()

    def add(self, rows: pl.DataFrame) -> None:
        """Count a day's rows of that version."""
        for name, spread in self._reference.features.items():
            feature = self._features.get(name)
            counted = None if feature is None else _counted(rows, feature, spread)
            if counted is not None:
                self.state.features[name] = counted + self.state.features.get(name, 0.0)
        scores = rows["score"].drop_nulls().to_numpy().astype(np.float64)
        counted_scores = _histogram(scores, self._reference.scores, 0)
        before = self.state.scores
        self.state.scores = counted_scores if before is None else before + counted_scores

    def stability(self) -> tuple[dict[str, float], float]:
        """Population stability index of each feature, and of the scores; over 0.25 is much."""
        features = {
            name: population_stability(_expected(self._reference.features[name]), counts)
            for name, counts in self.state.features.items()
        }
        scores = self.state.scores
        if scores is None:
            return features, float("nan")
        return features, population_stability(*_coarse(_expected(self._reference.scores), scores))


def score_drift(reference: Reference, scores: Values) -> float:
    """Population stability index of scores to a bundle's reference."""
    counts = _histogram(scores, reference.scores, 0)
    return population_stability(*_coarse(_expected(reference.scores), counts))


def _counted(rows: pl.DataFrame, feature: Feature, spread: object) -> Values | None:
    """None where the rows do not have the feature."""
    if isinstance(spread, Bins):
        column = f"{NUMBER}{feature.name}"
        if column not in rows.columns:
            return None
        values = rows[column].to_numpy().astype(np.float64)
        seen = values[~np.isnan(values)]
        return _histogram(seen, spread, len(values) - len(seen))
    column = f"{CATEGORY}{feature.name}"
    if column not in rows.columns:
        return None
    known = {name: place for place, name in enumerate(feature.categories)}
    codes = rows[column].replace_strict(known, default=len(known), return_dtype=pl.Int64)
    places = codes.fill_null(len(known)).to_numpy()
    return np.bincount(places, minlength=len(known) + 1).astype(np.float64)


def _histogram(seen: Values, spread: Bins, missing: int) -> Values:
    """What lies beyond the outermost edges counts in the outermost bins."""
    edges = np.array(spread.edges)
    counts, _ = np.histogram(np.clip(seen, edges[0], edges[-1]), edges)
    return np.append(counts, missing).astype(np.float64)


def _expected(spread: object) -> Values:
    counts: Iterable[int] = getattr(spread, "counts", ())
    return np.append(np.array(list(counts), dtype=np.float64), getattr(spread, "missing", 0))


def _coarse(expected: Values, actual: Values) -> tuple[Values, Values]:
    """Bins with about a tenth of the expected rows each: over thin bins it is mostly noise."""
    share = np.cumsum(expected) / max(expected.sum(), 1.0)
    groups = np.minimum((share * 10 - 1e-9).astype(np.intp), 9)
    first, second = (
        np.bincount(groups, weights=each, minlength=10).astype(np.float64)
        for each in (expected, actual)
    )
    return first, second
