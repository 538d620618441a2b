"""Decisions joined with what became of their events, as it was known at one instant.

Day after day: one day's decisions and the outcomes of its events are in memory, however long the
window. Point-in-time: features are those that were logged with the decision, and an outcome counts
if it was known by `as_of`, in its last version by then.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from workers.feedback.collect import DECISIONS, OUTCOMES
from workers.feedback.lake.commits import Commit, DataFile
from workers.feedback.lake.files import of_days, scan
from workers.feedback.lake.place import Place
from workers.models.expressions import parse_expression
from workers.topology import Absent, Feedback

INSTANT = pl.Datetime("ms", "UTC")
KNOWN, PENDING, ABSENT = "known", "pending", "absent"
"""Of a decision: its outcome is known; may still come; did not come in time."""
_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Decisions of events from `since` to before `until`, with what was known at `as_of`."""

    since: datetime.datetime
    until: datetime.datetime
    as_of: datetime.datetime


@dataclass(slots=True)
class DatasetState:
    """Rows by what is known of their outcome; `twice` were decisions that were there already."""

    rows: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    corrected: int = 0
    late: int = 0
    twice: int = 0


class Joiner:
    """Joins a loop's decisions with its outcomes, at one commit."""

    def __init__(self, place: Place, commit: Commit, loop: Feedback, model: str) -> None:
        """`model` is the one whose decisions are meant."""
        self._place = place
        self._commit = commit
        self.loop = loop
        self._model = model

    def days(self, window: Window, state: DatasetState) -> Iterator[pl.DataFrame]:
        """The window's rows, a day at a time, in the order of events."""
        first, last = window.since.date(), window.until.date()
        decisions = of_days(self._commit.table(DECISIONS), first, last)
        for day in sorted({file.day for file in decisions}):
            frame = self._decisions([f for f in decisions if f.day == day], window, state)
            if frame.height:
                joined = self._joined(frame, day, window)
                _count(joined, state)
                yield joined

    def _decisions(
        self, files: list[DataFile], window: Window, state: DatasetState
    ) -> pl.DataFrame:
        rows = scan(self._place, files)
        if rows is None:
            return pl.DataFrame()
        names = rows.collect_schema().names()
        at = pl.coalesce("event_at", "scored_at") if "event_at" in names else pl.col("scored_at")
        found = (
            rows.filter(pl.col("model") == self._model, pl.col("scored_at") <= window.as_of)
            .with_columns(at.cast(INSTANT).alias("event_at"))
            .filter(pl.col("event_at").is_between(window.since, window.until, closed="left"))
            .drop("reasons", strict=False)
            .collect(engine="streaming")
        )
        found = found.sort("event_at", "record_partition", "record_offset")
        # At least once writes a decision again under the same id.
        once = found.unique("decision_id", keep="first", maintain_order=True)
        state.twice += found.height - once.height
        return once.with_columns(_key(self.loop, once).alias("_key"))

    def _joined(self, frame: pl.DataFrame, day: datetime.date, window: Window) -> pl.DataFrame:
        outcomes = self._outcomes(day, window)
        given = _given(frame, outcomes, self.loop)
        matured = window.as_of - datetime.timedelta(seconds=self.loop.matures)
        deadline = pl.col("event_at") + pl.duration(seconds=self.loop.matures)
        state = (
            pl.when(pl.col("label").is_not_null())
            .then(pl.lit(KNOWN))
            .when(pl.col("event_at") > matured)
            .then(pl.lit(PENDING))
            .otherwise(pl.lit(ABSENT))
        )
        found = given.with_columns(
            state.alias("outcome"),
            (pl.col("known_at") > deadline).fill_null(False).alias("late"),  # noqa: FBT003
        )
        if self.loop.absent is Absent.NEGATIVE:
            absent = pl.col("outcome") == ABSENT
            found = found.with_columns(pl.when(absent).then(0.0).otherwise("label").alias("label"))
        return found.drop("_key").sort("event_at", "record_partition", "record_offset")

    def _outcomes(self, day: datetime.date, window: Window) -> pl.DataFrame:
        """The last version, by `as_of`, of each outcome that may be of this day's events."""
        files = self._commit.table(OUTCOMES)
        near = of_days([f for f in files if f.by == "event"], day - _DAY, day + _DAY)
        known = of_days([f for f in files if f.by == "known"], day - _DAY)
        rows = scan(self._place, [*near, *known])
        if rows is None:
            return pl.DataFrame(schema=_OUTCOME)
        said = self.loop.outcomes
        columns = {
            "outcome_id": (said.decision_id, pl.String()),
            "outcome_key": (said.key, pl.String()),
            "outcome_at": (said.event_at, INSTANT),
            "label": (said.label, pl.Float64()),
            "known_at": (said.known_at, INSTANT),
        }
        picked = [
            (pl.lit(None, kind) if sql is None else parse_expression(sql).cast(kind)).alias(name)
            for name, (sql, kind) in columns.items()
        ]
        found = (
            rows.select(*picked, "record_partition", "record_offset")
            .filter(pl.col("known_at") <= window.as_of)
            .collect(engine="streaming")
            .sort("known_at", "record_partition", "record_offset")
        )
        identity = pl.coalesce(
            "outcome_id", pl.format("{}@{}", "outcome_key", pl.col("outcome_at").dt.epoch("ms"))
        )
        return (
            found.group_by(identity.alias("_identity"), maintain_order=True)
            .agg(pl.all().last(), (pl.len() - 1).alias("corrections"))
            .select(*_OUTCOME)
        )


_OUTCOME: Mapping[str, pl.DataType] = {
    "outcome_id": pl.String(),
    "outcome_key": pl.String(),
    "outcome_at": INSTANT,
    "label": pl.Float64(),
    "known_at": INSTANT,
    "corrections": pl.UInt32(),
}
_GIVEN = ("label", "known_at", "corrections")


def _key(loop: Feedback, frame: pl.DataFrame) -> pl.Expr:
    """The decision's business key; decisions of an older contract have none."""
    if "event_key" not in frame.columns and loop.decision_key == "event_key":
        return pl.lit(None, pl.String)
    return parse_expression(loop.decision_key).cast(pl.String)


def _given(frame: pl.DataFrame, outcomes: pl.DataFrame, loop: Feedback) -> pl.DataFrame:
    """Each decision with its outcome, found by id, else by key and time; null where there is none.

    A correction may take an outcome back: its label is null then, and so is the row's.
    """
    by_id = outcomes.filter(pl.col("outcome_id").is_not_null())
    by_key = outcomes.filter(
        pl.col("outcome_id").is_null(), pl.col("outcome_key").is_not_null()
    ).drop("outcome_id")
    found = frame.join(
        by_id.select(pl.col("outcome_id").alias("decision_id"), *_GIVEN),
        on="decision_id",
        how="left",
        maintain_order="left",
    )
    keyed = by_key.select(
        pl.col("outcome_key").alias("_key"), pl.col("outcome_at").alias("event_at"), *_GIVEN
    )
    if loop.tolerance is None:
        found = found.join(
            keyed, on=["_key", "event_at"], how="left", suffix="_by_key", maintain_order="left"
        )
    else:
        found = found.sort("event_at").join_asof(
            keyed.sort("event_at"),
            on="event_at",
            by="_key",
            strategy="nearest",
            tolerance=datetime.timedelta(seconds=loop.tolerance),
            suffix="_by_key",
        )
    # Which of the two is there is seen by when it was known, which is never null.
    has_id = pl.col("known_at").is_not_null()
    both = [
        pl.when(has_id).then(pl.col(name)).otherwise(pl.col(f"{name}_by_key")).alias(name)
        for name in _GIVEN
    ]
    return found.with_columns(both).drop(f"{name}_by_key" for name in _GIVEN)


def _count(frame: pl.DataFrame, state: DatasetState) -> None:
    state.rows += frame.height
    for name, count in frame["outcome"].value_counts().iter_rows():
        state.outcomes[name] = state.outcomes.get(name, 0) + count
    state.corrected += int((frame["corrections"].fill_null(0) > 0).sum())
    state.late += int(frame["late"].sum())


def write_dataset(joiner: Joiner, window: Window, target: Path) -> DatasetState:
    """The window's rows as one Parquet file, whole or not at all.

    Columns are those of all days: a day whose model had other features has null in the others'.
    """
    state = DatasetState()
    made = target.with_name(f".{target.name}.new")
    parts = target.with_name(f".{target.name}.parts")
    parts.mkdir(parents=True, exist_ok=True)
    try:
        files = []
        for number, frame in enumerate(joiner.days(window, state)):
            file = parts / f"{number:06d}.parquet"
            frame.write_parquet(file)
            files.append(file)
        _concatenated(files, made)
        made.replace(target)
    finally:
        made.unlink(missing_ok=True)
        for file in parts.glob("*"):
            file.unlink()
        parts.rmdir()
    return state


def _concatenated(files: list[Path], target: Path) -> None:
    schemas = [pq.read_schema(file).remove_metadata() for file in files]
    schema = pa.unify_schemas(schemas, promote_options="permissive") if schemas else pa.schema([])
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for file in files:
            table = pq.read_table(file)
            writer.write_table(_shaped(table, schema))


def _shaped(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
