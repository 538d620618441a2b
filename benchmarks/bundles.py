"""Models that are measured: the demo's, and one of 500 trees of 63 leaves; stores of them."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import lightgbm

from benchmarks.environments import BUILD
from benchmarks.rig import ROOT, framed_flights
from examples.flights.events import full_year
from examples.flights.train import (
    FEATURES,
    JANUARY,
    JULY,
    PARAMETERS,
    REASONS,
    features_of,
    label,
    window,
)
from workers.contracts.directory import read_directory
from workers.contracts.framing import PREFIX
from workers.contracts.schema import Schema
from workers.models.build import Recipe, build
from workers.models.bundle import Bundle, read_bundle
from workers.models.store import Alias, Change, Store

NAME = "flight-delay"
SMALL, LARGE = "100 trees of 31 leaves", "500 trees of 63 leaves"
GOLDEN = 50


def flights_schema() -> Schema:
    """What the models are built for."""
    return read_directory(ROOT / "schemas").catalogue.versions("flights-value")[1].schema


def large_booster() -> Path:
    """500 trees of 63 leaves, trained as the demo's; made once under build/."""
    text = BUILD / "500x63.txt"
    if not text.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        learned = window(full_year(), JANUARY, JULY)
        table = features_of(learned, flights_schema())
        data = lightgbm.Dataset(
            table.matrix,
            label(learned),
            feature_name=list(table.names),
            categorical_feature=["carrier", "origin"],
        )
        booster = lightgbm.train({**PARAMETERS, "num_leaves": 63}, data, num_boost_round=500)
        booster.save_model(str(text))
    return text


def boosters() -> dict[str, str]:
    """Their texts."""
    small = ROOT / "models" / NAME / "1" / "model.txt"
    return {SMALL: small.read_text(), LARGE: large_booster().read_text()}


def store_of(root: Path, booster: str, *, versions: int = 2) -> Store:
    """A store with the booster as version 1, the champion, and again as version 2."""
    first = read_bundle(ROOT / "models", NAME, "1")
    golden = [value[PREFIX:] for value in framed_flights()[:GOLDEN]]
    manifest = first.manifest
    for version in range(1, versions + 1):
        recipe = Recipe(
            name=NAME,
            version=str(version),
            created=manifest.created,
            contract=manifest.contract,
            schema=flights_schema(),
            features=FEATURES,
            decisions=manifest.decisions,
        )
        build(root, recipe, booster, golden)
    store = Store(root)
    promoted(store, "1")
    return store


def promoted(store: Store, version: str, alias: Alias = "champion") -> None:
    """Let the alias stand for the version."""
    store.promote(NAME, version, why(f"promote {version} to {alias}"), alias)


def why(did: str) -> Change:
    """Who changes it, and why."""
    now = datetime.datetime.now(datetime.UTC)
    return Change(when=now, who="benchmarks", why="to be measured", did=did)


def with_reasons(booster: str) -> Bundle:
    """The demo's bundle with this booster and the reasons of its second version."""
    first = read_bundle(ROOT / "models", NAME, "1")
    manifest = first.manifest.model_copy(update={"reasons": REASONS})
    return replace(first, manifest=manifest, booster=booster)
