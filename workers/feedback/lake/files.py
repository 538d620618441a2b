"""Writing rows as Parquet files of a table, one or more a day, and reading them back."""

from __future__ import annotations

import datetime
import io
import uuid
from collections.abc import Iterable, Sequence
from typing import Literal

import polars as pl

from workers.feedback.lake.commits import DataFile
from workers.feedback.lake.place import Place

By = Literal["event", "known"]
ROWS = 250_000
"""Rows of a file at most."""


def write_days(
    place: Place, loop: str, table: str, frame: pl.DataFrame, times: pl.Series, by: By = "event"
) -> list[DataFile]:
    """Write rows into files of their days, UTC; `times` has an entry a row and no null.

    No document names the files yet.
    """
    days = times.dt.date().alias("day")
    parts = frame.with_columns(days.alias("_day")).partition_by("_day", as_dict=True)
    made: list[DataFile] = []
    for (day,), part in sorted(parts.items()):
        if isinstance(day, datetime.date):
            made += write_day(place, loop, table, day, part.drop("_day"), by)
    return made


def write_day(
    place: Place, loop: str, table: str, day: datetime.date, frame: pl.DataFrame, by: By = "event"
) -> list[DataFile]:
    """Write a day's rows, in files of at most `ROWS`."""
    made = []
    for part in frame.iter_slices(ROWS):
        path = f"{loop}/{table}/day={day}/{by}-{uuid.uuid4().hex}.parquet"
        buffer = io.BytesIO()
        part.write_parquet(buffer, compression="zstd", statistics=True)
        content = buffer.getvalue()
        place.create(path, content)
        made.append(
            DataFile(path=path, table=table, day=day, by=by, rows=part.height, bytes=len(content))
        )
    return made


def scan(place: Place, files: Sequence[DataFile]) -> pl.LazyFrame | None:
    """Rows of the files, lazily; a column that a file has not got is null. None of no files.

    Files of one table differ where its contract, or the model's features, have changed.
    """
    if not files:
        return None
    # A path, not a pattern: a directory's name may have brackets in it.
    parts = [pl.scan_parquet(place.local(file.path, file.bytes), glob=False) for file in files]
    return parts[0] if len(parts) == 1 else pl.concat(parts, how="diagonal_relaxed")


def of_days(
    files: Iterable[DataFile], since: datetime.date, until: datetime.date | None = None
) -> list[DataFile]:
    """Files of the days from `since` to `until`, both included."""
    return [f for f in files if f.day >= since and (until is None or f.day <= until)]
