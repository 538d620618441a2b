"""Delta tables beside lakes for tests, and two ways to read them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable, QueryBuilder
from polars.testing import assert_frame_equal

from tests.feedback.lakes import DAY, HOUR, START, decision, fill, log_of, loop_of, outcome
from workers.feedback.collect import nowhere
from workers.feedback.lake.commits import Log
from workers.feedback.lake.delta.mirror import Mirrored, mirror
from workers.feedback.lake.files import scan
from workers.topology import Feedback

TABLES = ("decisions", "outcomes")


def delta_loop(tmp_path: Path, name: str = "lake") -> Feedback:
    """A loop whose lake is mirrored."""
    return loop_of(tmp_path, lake={"directory": str(tmp_path / name), "delta": True})


def mirrored(loop: Feedback, at: Callable[[str], None] = nowhere) -> list[Mirrored]:
    """Once."""
    return mirror(log_of(loop), loop.lake, at)


def more(log: Log, first: int, count: int = 6, **columns: Any) -> None:
    """Decisions over three days, and outcomes of half of them that do not say when they were."""
    rows = [
        decision(n, START + (n % 3) * DAY + HOUR, **columns) for n in range(first, first + count)
    ]
    known = [
        outcome(START + n * HOUR, n, decision_id=f"d{n}", record_offset=n)
        for n in range(first, first + count, 2)
    ]
    fill(log, rows, known)


def folder(log: Log, table: str = "decisions") -> Path:
    """Where its Delta table is."""
    return Path(log.place.name) / log.loop / table


def in_lake(log: Log, table: str = "decisions") -> pl.DataFrame:
    """Rows of the lake itself."""
    rows = scan(log.place, log.newest().table(table))
    assert rows is not None
    return _sorted(rows.collect())


def by_deltalake(log: Log, table: str = "decisions", version: int | None = None) -> pl.DataFrame:
    """Rows as deltalake's own engine reads them."""
    opened = DeltaTable(str(folder(log, table)), version=version)
    found = pl.DataFrame(QueryBuilder().register("t", opened).execute("select * from t"))
    return _sorted(found)


def by_protocol(log: Log, table: str = "decisions") -> pl.DataFrame:
    """Rows as the protocol says: the entries one after the other, then the files that are left."""
    place, files = folder(log, table), dict[str, str]()
    for entry in sorted((place / "_delta_log").glob("*.json")):
        for line in entry.read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                files[action["add"]["path"]] = action["add"]["partitionValues"]["day"]
            if "remove" in action:
                del files[action["remove"]["path"]]
    parts = [
        pl.read_parquet(place / path, hive_partitioning=False).with_columns(
            day=pl.lit(day).str.to_date()
        )
        for path, day in files.items()
    ]
    return _sorted(pl.concat(parts, how="diagonal_relaxed"))


def _sorted(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(sorted(rows.columns)).sort("record_offset")


def in_micros(rows: pl.DataFrame) -> pl.DataFrame:
    """Instants as Delta has them."""
    return rows.with_columns(pl.col(pl.Datetime).dt.cast_time_unit("us"))


def same(log: Log, table: str = "decisions") -> None:
    """Hold both readers to the lake."""
    expected: dict[datetime.date, int] = {}
    for file in log.newest().table(table):
        expected[file.day] = expected.get(file.day, 0) + file.rows
    for seen in (by_deltalake(log, table), by_protocol(log, table)):
        assert_frame_equal(in_micros(seen.drop("day")), in_micros(in_lake(log, table)))
        assert dict(seen.group_by("day").len().rows()) == expected


def entries(log: Log, table: str = "decisions") -> list[list[dict[str, Any]]]:
    """What the Delta log says, an entry a version."""
    found = sorted((folder(log, table) / "_delta_log").glob("*.json"))
    return [[json.loads(line) for line in each.read_text().splitlines()] for each in found]
