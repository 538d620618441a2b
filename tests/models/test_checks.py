"""A feature that fits neither contract nor booster is named, before anything is loaded."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from tests.conftest import ROOT
from tests.models.test_bundle import edit
from workers.contracts.catalogue import Catalogue
from workers.contracts.schema import Schema, parse
from workers.errors import ModelError
from workers.models.bundle import Bundle, Feature, FeatureType, read_bundle
from workers.models.checks import check_bundle, check_features
from workers.models.text import read_text
from workers.topology import load
from workers.wiring import build_enricher, pick

Column = dict[str, Any]


@pytest.fixture(scope="session")
def schema(contracts: Catalogue) -> Schema:
    """The contract that the demo's model reads."""
    return contracts.versions("flights-value")[1].schema


def changed(bundle: Bundle, name: str, /, **change: Any) -> Bundle:
    """The bundle with one feature written otherwise."""
    features = tuple(
        Feature.model_validate({**feature.model_dump(), **change})
        if feature.name == name
        else feature
        for feature in bundle.manifest.features
    )
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"features": features}))


WRONG: list[tuple[str, Column, str]] = [
    ("distance", {"sql": "no_such_field"}, "no field"),
    ("distance", {"sql": "distance +"}, "not a SQL expression"),
    ("distance", {"sql": "carrier + 1"}, "cannot be computed"),
    ("distance", {"sql": "carrier"}, "String, which is no number"),
    ("distance", {"sql": "AVG(distance)"}, "one value over all events"),
    ("distance", {"sql": "COLUMNS('.*')"}, "columns; a feature is one"),
    ("distance", {"type": "categorical", "categories": ["a"], "sql": "origin"}, "as numeric"),
    ("distance", {"name": "miles"}, "the booster was trained with it"),
    ("carrier", {"sql": "flight"}, "CAST"),
    ("carrier", {"categories": ["AA", "UA"]}, "category code 15, but 2"),
    ("carrier", {"type": "numeric", "categories": [], "sql": "distance"}, "as categorical"),
]


@pytest.mark.parametrize(("name", "change", "said"), WRONG)
def test_the_feature_that_does_not_fit_is_named(
    bundle: Bundle, schema: Schema, name: str, change: Column, said: str
) -> None:
    """With what is wrong with it, and model and version."""
    wrong = changed(bundle, name, **change)

    with pytest.raises(ModelError, match=f"flight-delay version 1: feature {name}: .*{said}"):
        check_bundle(wrong, schema)


def test_numbers_booleans_and_times_are_features(bundle: Bundle, schema: Schema) -> None:
    """And text that the event lacks, made of other fields."""
    for sql in ("distance > 500", "scheduled_departure", "CAST(flight AS VARCHAR) IN ('1', '2')"):
        check_bundle(changed(bundle, "distance", sql=sql, range=None), schema)
    check_bundle(changed(bundle, "carrier", sql="carrier || ''"), schema)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"range": [5, 1]}, "above its end"),
        ({"range": [0, 1], "missing": 2.0}, "outside range"),
        ({"range": [0, float("nan")]}, "finite"),
        ({"type": "categorical", "categories": ["a"], "missing": 1.0}, "place of a category"),
    ],
)
def test_rules_that_contradict_themselves_are_refused(change: Column, said: str) -> None:
    """They would reject every event, or say what no category means."""
    with pytest.raises(ValidationError, match=said):
        Feature.model_validate({"name": "x", "sql": "x", **change})


def test_the_categories_are_those_of_the_pandas_table(schema: Schema) -> None:
    """In their order: a code is a place among them."""
    names = ("JFK", "EWR", "LGA")
    codes = np.random.default_rng(1).integers(0, 3, 600)
    table = pd.DataFrame({"origin": pd.Categorical.from_codes(codes, categories=list(names))})
    data = lightgbm.Dataset(table, label=codes == 1)
    parameters = {"objective": "binary", "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}
    text = read_text(lightgbm.train(parameters, data, num_boost_round=2).model_to_string())

    def feature(categories: tuple[str, ...]) -> Feature:
        kind = FeatureType.CATEGORICAL
        return Feature(name="origin", sql="origin", type=kind, categories=categories)

    check_features([feature(names)], schema, text)
    with pytest.raises(ModelError, match=r"feature origin: .*JFK, EWR, LGA"):
        check_features([feature(tuple(sorted(names)))], schema, text)


def test_another_contract_can_take_a_field_away(bundle: Bundle) -> None:
    """The first feature that misses it is named."""
    other = parse('{"type": "record", "name": "E", "fields": []}', where="a test")

    with pytest.raises(ModelError, match="feature departure_delay: the contract has no field"):
        check_bundle(bundle, other)


def test_a_reference_of_other_features_is_refused(schema: Schema) -> None:
    """It must count each feature, as what it is."""
    bundle = read_bundle(ROOT / "models", "flight-delay", "2")
    check_bundle(bundle, schema)
    assert bundle.reference is not None
    spreads = dict(bundle.reference.features)
    spreads["carrier"], spreads["distance"] = spreads["distance"], spreads["carrier"]
    swapped = bundle.reference.model_copy(update={"features": spreads})
    del (fewer := dict(bundle.reference.features))["hour"]
    without = bundle.reference.model_copy(update={"features": fewer})

    for reference, name in ((swapped, "distance|carrier"), (without, "hour")):
        with pytest.raises(ModelError, match=f"feature ({name}): .*reference"):
            check_bundle(replace(bundle, reference=reference), schema)


def test_a_worker_does_not_start_with_such_a_model(tmp_path: Path) -> None:
    """The same checks, through the path that start, swap and `workers models check` take."""
    for folder in ("schemas", "models"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "topology.yaml", tmp_path)
    version = tmp_path / "models" / "flight-delay" / "1"
    edit(version, lambda m: m["features"][4].update(categories=["AA", "UA"]))
    topology = load(tmp_path / "topology.yaml", {})

    with pytest.raises(ModelError, match="feature carrier: the booster knows category code 15"):
        build_enricher(topology, pick(topology, None))
