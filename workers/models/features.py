"""Features: SQL expressions over an event's fields, to the matrix the booster reads.

Training and serving call this one function.
"""

from __future__ import annotations

import hashlib
import json
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
Places = npt.NDArray[np.bool_]
"""Which entries of a matrix."""
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
        written = {
            f.name: expression_of(f) for f in self.ordered if f.type is FeatureType.CATEGORICAL
        }
        self._texts = {name: e.cast(pl.String).alias(name) for name, e in written.items()}
        self._named = {name: e.meta.output_name() for name, e in written.items() if _is_field(e)}
        self._categorical = np.array([f.type is FeatureType.CATEGORICAL for f in self.ordered])
        self._required = np.array([f.missing == "reject" for f in self.ordered])
        self._fill = np.array(
            [f.missing if isinstance(f.missing, float) else np.nan for f in self.ordered]
        )
        everything = (-np.inf, np.inf)
        self._low, self._high = np.array([f.range or everything for f in self.ordered]).T

    def check_fields(self, fields: Sequence[str]) -> None:
        """Hold the fields that the expressions read to those of a contract.

        Raises:
            ModelError: an expression reads a field that is not there; names the feature.
        """
        for name, roots in self._expressions.roots.items():
            if unknown := sorted(set(roots) - set(fields)):
                raise ModelError(f"feature {name}: the contract has no field {unknown}")

    def reads(self, name: str) -> frozenset[str]:
        """Fields of the event that a feature reads."""
        return frozenset(self._expressions.roots[name])

    def texts(self, table: pa.RecordBatch, names: Sequence[str]) -> list[pa.Array]:
        """Categorical features as the event has them, known to the model or not.

        Only for rows that `compute` does not reject: one that fails here fails all of them.
        """
        # A text field is there already: a query costs a batch of few rows more than all its texts.
        found = {name: table.column(self._named[name]) for name in names if name in self._named}
        found = {name: column for name, column in found.items() if column.type == pa.string()}
        if others := [self._texts[name] for name in names if name not in found]:
            computed = pl.DataFrame(table.select(self.fields)).select(others)
            found |= {column.name: column.to_arrow().cast(pa.string()) for column in computed}
        return [found[name] for name in names]

    def compute(self, table: pa.RecordBatch) -> Featured:
        """The matrix of a batch; a row that cannot be computed is rejected alone."""
        matrix, failed = self._expressions.compute(table)
        rejections = {
            row: Reject(Code.FEATURE_EXPRESSION, f"a feature expression failed: {why}")
            for row, why in failed.items()
        }
        # All columns at once: one by one, a batch of few rows pays for every column.
        strange = (matrix == UNSEEN) & self._categorical
        matrix[strange] = np.nan
        missing = np.isnan(matrix)
        np.copyto(matrix, self._fill, where=missing)
        wrong = np.isinf(matrix) | (matrix < self._low) | (matrix > self._high)
        self._refuse(missing & self._required, wrong, rejections)
        unseen = np.count_nonzero(strange, axis=0)
        return Featured(matrix, rejections, np.count_nonzero(missing, axis=0) - unseen, unseen)

    def _refuse(self, lacking: Places, wrong: Places, out: dict[int, Reject]) -> None:
        """Rows with a feature that is missing or out of its range; the first such one is named."""
        refused = lacking | wrong
        if not refused.any():
            return
        for row, column in np.argwhere(refused).tolist():
            feature = self.ordered[column]
            if lacking[row, column]:
                reject = Reject(Code.FEATURE_MISSING, f"feature {feature.name} is missing")
            else:
                text = f"feature {feature.name} is outside {feature.range or 'the finite numbers'}"
                reject = Reject(Code.FEATURE_RANGE, text)
            out.setdefault(row, reject)


def fingerprint_of(features: Sequence[Feature]) -> str:
    """16 hexadecimal digits of the definitions' SHA-256: the same means computed alike.

    Categories are left out: which of them a model knows changes nothing of what an event has.
    """
    ordered = sorted(features, key=lambda feature: feature.name)
    plain = [feature.model_dump(mode="json", exclude={"categories"}) for feature in ordered]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def expression_of(feature: Feature) -> pl.Expr:
    """The feature's expression as it is written: of any type.

    Raises:
        ModelError: it is not SQL.
    """
    return parse_expression(feature.sql)


def _is_field(expression: pl.Expr) -> bool:
    """Is it the name of a field, and nothing else?"""
    return expression.meta.is_column() and not expression.meta.is_regex_projection()


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
