"""Texts of categorical features: a field as it is, and what a query makes, are the same."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from workers.models.bundle import Feature, FeatureType
from workers.models.features import Features


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "", "ü", "b"]),
        pa.array([1, None, -7, 0, 2**40], pa.int64()),
        pa.array([True, None, False, True, True]),
    ],
    ids=["text", "integers", "booleans"],
)
def test_a_fields_texts_are_those_of_a_query(column: pa.Array) -> None:
    """`COALESCE` of one field says what the field says, and is computed."""
    categories: Any = ("a",)
    plain, computed = (
        Feature(name=name, sql=sql, type=FeatureType.CATEGORICAL, categories=categories)
        for name, sql in (("plain", "a"), ("computed", "COALESCE(a)"))
    )
    features = Features([plain, computed], columns=["plain", "computed"])
    table = pa.RecordBatch.from_arrays([column], names=["a"])

    as_it_is, queried = features.texts(table, ["plain", "computed"])

    assert as_it_is.type == queried.type == pa.string()
    assert as_it_is.equals(queried)
    assert as_it_is.null_count == 1


def test_texts_have_the_order_that_is_asked_for() -> None:
    """Whichever of them are fields."""
    sql = {"first": "UPPER(a)", "second": "a", "third": "LOWER(a)"}
    features = Features(
        [
            Feature(name=name, sql=each, type=FeatureType.CATEGORICAL, categories=("x",))
            for name, each in sql.items()
        ],
        columns=list(sql),
    )
    table = pa.RecordBatch.from_arrays([pa.array(["xY"])], names=["a"])
    found = features.texts(table, ["third", "second", "first"])
    assert [each.to_pylist() for each in found] == [["xy"], ["xY"], ["XY"]]
