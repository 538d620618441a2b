"""The reference distribution: every row is counted, and what is none is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from tests.conftest import ROOT
from workers.errors import ModelError
from workers.models.bundle import Feature, FeatureType, read_bundle
from workers.models.reference import BINS, Bins, Categories, Reference, reference_of

NUMBER = Feature(name="number", sql="x")
KIND = Feature(name="kind", sql="y", type=FeatureType.CATEGORICAL, categories=("a", "b", "c"))


@given(
    arrays(
        np.float64,
        st.integers(1, 60),
        elements=st.floats(allow_infinity=False, allow_nan=True, width=64),
    )
)
def test_every_row_is_in_one_bin_or_missing(values: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    """Whatever the numbers are: one, many, equal, next to each other, the greatest there are."""
    scores = np.linspace(0, 1, len(values))

    found = reference_of((NUMBER,), values[:, None], scores).features["number"]

    assert isinstance(found, Bins)
    assert found.missing == np.isnan(values).sum()
    assert sum(found.counts) == len(values) - found.missing
    assert len(found.counts) <= BINS
    seen = values[~np.isnan(values)]
    if len(seen):
        assert found.edges[0] <= seen.min()
        assert seen.max() <= found.edges[-1]


def test_few_values_have_a_bin_each_and_categories_their_order() -> None:
    """Null, and a category that was not in training, are missing."""
    matrix = np.array([[1, 2], [1, 0], [5, np.nan], [7, 2], [np.nan, 3.0]])

    found = reference_of((NUMBER, KIND), matrix, np.array([0.1, 0.2, 0.2, 0.9, 0.9]))

    assert found.features == {
        "number": Bins(edges=(1, 3, 6, 7), counts=(2, 1, 1), missing=1),
        "kind": Categories(counts=(1, 0, 2), missing=2),
    }
    assert (found.rows, sum(found.scores.counts)) == (5, 5)


@pytest.mark.parametrize(
    "spread",
    [
        {"edges": [1, 0], "counts": [2]},
        {"edges": [0, 0], "counts": [2]},
        {"edges": [0, 1], "counts": [1, 1]},
        {"edges": [0, 1], "counts": [3]},
        {"edges": [0, 1], "counts": [-1], "missing": 3},
        {"edges": [0, float("inf")], "counts": [2]},
        {"edges": list(range(102)), "counts": [2] + [0] * 100},
        {"counts": [1, 1], "missing": 1},
        {"counts": []},
    ],
)
def test_hostile_references_are_refused(spread: dict[str, Any]) -> None:
    """Too many bins, edges that fall, rows that do not add up."""
    good = {"edges": [0, 1], "counts": [2]}
    Reference.model_validate({"rows": 2, "features": {"x": good}, "scores": good})

    with pytest.raises(ValidationError):
        Reference.model_validate({"rows": 2, "features": {"x": spread}, "scores": good})


def test_a_matrix_of_another_shape_is_refused() -> None:
    """And so is none at all."""
    with pytest.raises(ModelError, match="matrix"):
        reference_of((NUMBER,), np.zeros((3, 2)), np.zeros(3))
    with pytest.raises(ModelError, match="greater than or equal to 1"):
        reference_of((NUMBER,), np.zeros((0, 1)), np.zeros(0))


def test_bundles_without_the_new_parts_are_served() -> None:
    """Version 1 was built before there were any; version 2 has them all."""
    old, new = (read_bundle(ROOT / "models", "flight-delay", version) for version in "12")

    assert (old.reference, old.manifest.training, old.manifest.licence) == (None, None, "")
    assert new.reference is not None
    assert new.reference.features.keys() == {feature.name for feature in new.manifest.features}
    assert new.manifest.training is not None
    assert new.manifest.training.rows == new.reference.rows
    assert new.manifest.licence == "CC0-1.0"
