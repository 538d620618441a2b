"""Train the demo's model on the first half of 2013 and write its bundle.

`python -m examples.flights.train VERSION` (needs the `demo` extra).
The label: arrival more than 15 minutes late, the definition of the US Department of Transportation.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import lightgbm
import numpy as np
import numpy.typing as npt
import polars as pl

from examples.flights.encode import encode
from examples.flights.events import full_year
from workers.contracts.codec import Decoder
from workers.contracts.directory import read_directory
from workers.contracts.schema import Schema
from workers.models.build import Recipe, build
from workers.models.bundle import Band, ContractRef, Decisions, Feature, FeatureType
from workers.models.features import Features

ROOT = Path(__file__).parents[2]
CARRIERS = (
    "9E",
    "AA",
    "AS",
    "B6",
    "DL",
    "EV",
    "F9",
    "FL",
    "HA",
    "MQ",
    "OO",
    "UA",
    "US",
    "VX",
    "WN",
    "YV",
)
LATE = 15
FEATURES = (
    Feature(name="departure_delay", sql="departure_delay", range=(-1440, 10_000)),
    Feature(name="distance", sql="distance", range=(0, 20_000)),
    Feature(name="hour", sql="EXTRACT(HOUR FROM scheduled_departure)"),
    Feature(name="weekday", sql="EXTRACT(ISODOW FROM scheduled_departure)"),
    Feature(name="carrier", sql="carrier", type=FeatureType.CATEGORICAL, categories=CARRIERS),
    Feature(
        name="origin",
        sql="origin",
        type=FeatureType.CATEGORICAL,
        categories=("EWR", "JFK", "LGA"),
    ),
    Feature(name="temperature", sql="temperature"),
    Feature(name="humidity", sql="humidity"),
    Feature(name="wind_speed", sql="wind_speed"),
    Feature(name="precipitation", sql="precipitation"),
    Feature(name="pressure", sql="pressure"),
    Feature(name="visibility", sql="visibility"),
    Feature(name="seats", sql="COALESCE(seats, 0)"),
)
PARAMETERS = {
    "objective": "binary",
    "num_leaves": 31,
    "learning_rate": 0.1,
    "seed": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 2,
    "verbosity": -1,
}
DECISIONS = Decisions(
    bands=(
        Band(since=0.0, decision="on_time"),
        Band(since=0.3, decision="review"),
        Band(since=0.6, decision="late"),
    ),
    fallback="review",
)


def label(events: pl.DataFrame) -> npt.NDArray[np.float64]:
    """One where the flight arrived more than 15 minutes late, else zero."""
    return (events["arrival_delay"] > LATE).cast(pl.Float64).to_numpy()


def auc(labels: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> float:
    """Area under the ROC curve, by ranks (Mann-Whitney U), ties shared."""
    ranks = pl.Series(scores).rank("average").to_numpy()
    positive = labels == 1
    hits, misses = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def matrix(events: pl.DataFrame, schema: Schema) -> npt.NDArray[np.float64]:
    """Features exactly as the worker computes them: from the encoded events."""
    decoded = Decoder(schema).decode(encode(events, schema.text))
    features = Features(FEATURES, columns=[feature.name for feature in FEATURES])
    return features.compute(decoded.table).matrix


def main(version: str) -> None:
    """Train, test on the second half of the year, write the bundle."""
    year = full_year()
    schema = read_directory(ROOT / "schemas").catalogue.versions("flights-value")[1].schema
    half = pl.col("scheduled_departure") < datetime(2013, 7, 1, tzinfo=UTC)
    train, test = year.filter(half), year.filter(~half)
    names = [feature.name for feature in FEATURES]
    data = lightgbm.Dataset(
        matrix(train, schema),
        label(train),
        feature_name=names,
        categorical_feature=["carrier", "origin"],
    )
    booster = lightgbm.train(PARAMETERS, data, num_boost_round=100)
    quality = auc(label(test), np.asarray(booster.predict(matrix(test, schema), num_threads=2)))
    recipe = Recipe(
        name="flight-delay",
        version=version,
        created=datetime(2013, 7, 1, tzinfo=UTC),
        description="Will this departure arrive more than 15 minutes late?",
        owner="flight-operations@example.org",
        contract=ContractRef(subject="flights-value", version=1),
        schema=schema,
        features=FEATURES,
        decisions=DECISIONS,
        metrics={"auc_second_half_of_2013": round(quality, 6)},
    )
    golden = encode(test.sample(50, seed=1), schema.text)
    build(ROOT / "models", recipe, booster.model_to_string(), golden)
    print(f"models/flight-delay/{version}: AUC {quality:.4f} on {len(test)} later departures")


if __name__ == "__main__":
    main(sys.argv[1])
