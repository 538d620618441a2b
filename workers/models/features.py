"""Features: SQL expressions over an event's fields, to the matrix the booster reads.

Training and serving call this one function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from workers.errors import Code, ModelError, Reject
from workers.models.booster import Matrix
from workers.models.bundle import Feature, FeatureType
from workers.models.expressions import Expressions, parse_expression


@dataclass(frozen=True, slots=True)
class Featured:
    """`matrix` has one row for each row of the table; rows of `rejections` must not be scored.

    `missing` and `unseen` have an entry a column: rows without a value, before the feature's rule
    for them, and rows with a category that the bundle does not know.
    """

    matrix: Matrix
    rejections: dict[int, Reject]
    missing: Counts
    unseen: Counts


Counts = npt.NDArray[np.int64]
UNSEEN = -1.0
"""The code of an unknown category until it is counted."""


class Features:
    """Compiled features, in the order of the booster's columns."""

    def __init__(self, features: Sequence[Feature], *, columns: Sequence[str]) -> None:
        """Compile the features of a bundle, ordered as `columns`, the booster's own names.

        `fields` are the event's fields that they read, `ordered` the features as columns.

        Raises:
            ModelError: names differ from the booster's, or an expression is not SQL.
        """
        by_name = {feature.name: feature for feature in features}
        if set(by_name) != set(columns):
            missing, extra = (
                sorted(set(columns) - set(by_name)),
                sorted(set(by_name) - set(columns)),
            )
            raise ModelError(
                f"the booster wants features the manifest lacks: {missing}; "
                f"the manifest lists features the booster lacks: {extra}"
            )
        self.ordered = [by_name[name] for name in columns]
        self._expressions = Expressions({f.name: _compile(f) for f in self.ordered})
        self.fields = self._expressions.fields

    def check_fields(self, fields: Sequence[str]) -> None:
        """Hold the fields that the expressions read to those of a contract.

        Raises:
            ModelError: an expression reads a field that is not there; names the feature.
        """
        for name, roots in self._expressions.roots.items():
            if unknown := sorted(set(roots) - set(fields)):
                raise ModelError(f"feature {name}: the contract has no field {unknown}")

    def compute(self, table: pa.RecordBatch) -> Featured:
        """The matrix of a batch; a row that cannot be computed is rejected alone."""
        matrix, failed = self._expressions.compute(table)
        rejections = {
            row: Reject(Code.FEATURE_EXPRESSION, f"a feature expression failed: {why}")
            for row, why in failed.items()
        }
        missing = np.zeros(len(self.ordered), dtype=np.int64)
        unseen = np.zeros(len(self.ordered), dtype=np.int64)
        for column, feature in enumerate(self.ordered):
            values = matrix[:, column]
            if feature.type is FeatureType.CATEGORICAL:
                unseen[column] = _forget_unseen(values)
            missing[column] = _hold(feature, values, rejections) - unseen[column]
        return Featured(matrix, rejections, missing, unseen)


def expression_of(feature: Feature) -> pl.Expr:
    """The feature's expression as it is written: of any type.

    Raises:
        ModelError: it is not SQL.
    """
    return parse_expression(feature.sql)


def _compile(feature: Feature) -> pl.Expr:
    try:
        expression = expression_of(feature)
    except ModelError as error:
        raise ModelError(f"feature {feature.name}: {error}") from error
    if feature.type is FeatureType.CATEGORICAL:
        # A category never seen in training has no code: LightGBM treats it as missing, and so do
        # we as soon as it is counted.
        codes: dict[str | None, float | None] = {
            name: float(code) for code, name in enumerate(feature.categories)
        }
        codes[None] = None
        expression = expression.cast(pl.String).replace_strict(
            codes, default=UNSEEN, return_dtype=pl.Float64
        )
    return expression


def _forget_unseen(column: npt.NDArray[np.float64]) -> int:
    """Make unknown categories missing ones, in place; how many there were."""
    unseen = column == UNSEEN
    column[unseen] = np.nan
    return int(np.count_nonzero(unseen))


def _hold(feature: Feature, column: npt.NDArray[np.float64], out: dict[int, Reject]) -> int:
    """Apply the feature's rules for missing values and range to its column, in place.

    Returns how many were missing.
    """
    missing = np.isnan(column)
    if isinstance(feature.missing, float):
        column[missing] = feature.missing
    elif feature.missing == "reject":
        for row in np.flatnonzero(missing).tolist():
            text = f"feature {feature.name} is missing"
            out.setdefault(row, Reject(Code.FEATURE_MISSING, text))
    wrong = np.isinf(column)
    if feature.range is not None:
        wrong |= (column < feature.range[0]) | (column > feature.range[1])
    for row in np.flatnonzero(wrong).tolist():
        text = f"feature {feature.name} is outside {feature.range or 'the finite numbers'}"
        out.setdefault(row, Reject(Code.FEATURE_RANGE, text))
    return int(np.count_nonzero(missing))
