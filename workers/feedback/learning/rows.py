"""Labelled decisions as rows to train on and to score, without their events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from workers.errors import ModelError
from workers.feedback.dataset import DatasetState, Joiner, Window
from workers.feedback.quality.judged import Day, Judged, days, whole
from workers.feedback.quality.measures import Values
from workers.feedback.quality.weights import WEIGHT
from workers.feedback.records import CATEGORY, NUMBER
from workers.models.booster import Matrix
from workers.models.bundle import Feature, FeatureType
from workers.models.features import fingerprint_of

MIN_CATEGORY = 20
"""Rows that a category needs before a model gets to know it."""
MAX_CATEGORIES = 2000


@dataclass(frozen=True, slots=True)
class Logged:
    """Labelled rows in the order of their events; `features` and `judged` have an entry a row."""

    features: pl.DataFrame
    judged: Judged
    left_out: dict[str, int]

    def __len__(self) -> int:
        return self.features.height

    @property
    def labels(self) -> Values:
        """0 or 1 a row."""
        return self.judged.labels

    @property
    def weights(self) -> Values | None:
        """A weight a row; None where rows count alike."""
        return self.judged.weights

    def part(self, start: int, end: int) -> Logged:
        """Rows from `start` to before `end`."""
        frame = self.judged.frame.slice(start, end - start)
        return replace(
            self,
            features=self.features.slice(start, end - start),
            judged=Judged(frame, self.judged.state),
        )

    def matrix(self, features: Sequence[Feature]) -> Matrix:
        """A column for each feature, as a worker would have computed it from the event."""
        return np.stack([_column(self.features, feature) for feature in features], axis=1)


def labelled(
    joiner: Joiner, window: Window, features: Sequence[Feature], segments: Sequence[str] = ()
) -> Logged:
    """The window's decisions whose outcome is known and whose features are computed alike.

    Raises:
        ModelError: a feature is not logged; names it.
    """
    state, left = DatasetState(), Counter[str]()
    wanted = fingerprint_of(features)
    columns = [column_of(feature) for feature in features]
    parts, kept = list[pl.DataFrame](), list[pl.DataFrame]()
    for day in days(joiner, window, segments, state):
        usable = _usable(day, wanted, left)
        if not usable.any():
            continue
        rows = day.rows.filter(usable)
        if missing := [name for name in columns if name not in rows.columns]:
            raise ModelError(
                f"feature {missing[0].partition('.')[2]} is not in the decision log: "
                "`decisions.features` leaves it out, as it does what reads a sensitive field"
            )
        parts.append(rows.select(columns))
        kept.append(day.kept.filter(usable))
    frame = pl.concat(parts) if parts else pl.DataFrame({name: [] for name in columns})
    return Logged(frame, whole(kept, state), dict(left))


def column_of(feature: Feature) -> str:
    """Its column in the lake."""
    prefix = CATEGORY if feature.type is FeatureType.CATEGORICAL else NUMBER
    return f"{prefix}{feature.name}"


def category_counts(features: Sequence[Feature], frame: pl.DataFrame) -> dict[str, Counter[str]]:
    """By feature how many rows each category has; `frame` is as `Logged.features`."""
    return {
        feature.name: Counter(
            dict(frame[column_of(feature)].drop_nulls().value_counts().iter_rows())
        )
        for feature in features
        if feature.type is FeatureType.CATEGORICAL
    }


def with_new_categories(
    features: Sequence[Feature], counts: Mapping[str, Counter[str]]
) -> tuple[Feature, ...]:
    """The features, each with the categories that there are rows enough of at its end.

    Those that are known keep their codes.
    """
    return tuple(
        feature.model_copy(update={"categories": _categories(feature, counts[feature.name])})
        if feature.name in counts
        else feature
        for feature in features
    )


def _categories(feature: Feature, counts: Counter[str]) -> tuple[str, ...]:
    often = sorted(value for value, count in counts.items() if count >= MIN_CATEGORY)
    new = [value for value in often if value not in feature.categories]
    return (*feature.categories, *new)[: max(MAX_CATEGORIES, len(feature.categories))]


def _usable(day: Day, wanted: str, left: Counter[str]) -> pl.Series:
    rows = day.rows
    label = rows["label"].is_not_null()
    left["without an outcome"] += int((~label).sum())
    if WEIGHT in day.kept.columns:
        weighed = day.kept[WEIGHT].is_not_null()
        left["without a propensity"] += int((label & ~weighed).sum())
        label &= weighed
    if "features_fingerprint" not in rows.columns:
        left["without features"] += int(label.sum())
        return pl.Series([False] * rows.height, dtype=pl.Boolean)
    prints = rows["features_fingerprint"]
    same = (prints == wanted).fill_null(value=False)
    left["without features"] += int((label & prints.is_null()).sum())
    left["of features that are computed otherwise"] += int(
        (label & prints.is_not_null() & ~same).sum()
    )
    return label & same


def _column(frame: pl.DataFrame, feature: Feature) -> Values:
    values = frame[column_of(feature)]
    if feature.type is FeatureType.CATEGORICAL:
        codes = {name: float(code) for code, name in enumerate(feature.categories)}
        values = values.cast(pl.String).replace_strict(codes, default=None, return_dtype=pl.Float64)
    found = values.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)
    if isinstance(feature.missing, float):
        # Numbers were logged with it; categories as the event had them.
        return np.where(np.isnan(found), feature.missing, found)
    return found
