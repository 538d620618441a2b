"""Lakes for tests: rows as collecting makes them, without a broker."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from workers.feedback.collect import DECISIONS, OUTCOMES
from workers.feedback.lake.commits import Log
from workers.feedback.lake.files import write_days
from workers.feedback.lake.place import Folder
from workers.topology import Feedback, Lake

START = datetime.datetime(2013, 1, 1, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)
INSTANT = pl.Datetime("ms", "UTC")


def loop_of(tmp_path: Path, **changes: Any) -> Feedback:
    """A loop with outcomes by id, else by key and time, that mature within a day."""
    document: dict[str, Any] = {
        "name": "flights",
        "worker": "flight-delays",
        "outcomes": {
            "topic": "outcomes",
            "subject": "outcomes-value",
            "decision_id": "decision_id",
            "key": "tailnum",
            "event_at": "departed_at",
            "label": "arrival_delay > 15",
            "known_at": "landed_at",
        },
        "matures": "24h",
        "lake": {"directory": str(tmp_path / "lake")},
    }
    return Feedback.model_validate({**document, **changes})


def log_of(loop: Feedback) -> Log:
    """Its commits."""
    assert isinstance(loop.lake, Lake)
    assert loop.lake.directory is not None
    return Log(Folder(loop.lake.directory), loop.name)


def decision(number: int, at: datetime.datetime, **more: Any) -> dict[str, Any]:
    """A row of the decisions."""
    return {
        "decision_id": f"d{number}",
        "model": "flight-delay",
        "model_version": "1",
        "score": 0.5,
        "raw_score": 0.5,
        "decision": "review",
        "fallback": False,
        "arm": "champion",
        "rule": None,
        "scored_at": at,
        "event_at": at,
        "event_key": f"N{number}",
        "propensity": 1.0,
        "explored": False,
        "sample": 1.0,
        "record_partition": 0,
        "record_offset": number,
        "record_at": 0,
        **more,
    }


def outcome(known: datetime.datetime, delay: int | None, **more: Any) -> dict[str, Any]:
    """A row of the outcomes."""
    return {
        "decision_id": None,
        "tailnum": None,
        "departed_at": None,
        "arrival_delay": delay,
        "landed_at": known,
        "record_partition": 0,
        "record_offset": 0,
        "record_at": 0,
        **more,
    }


_KINDS = {
    "scored_at": INSTANT,
    "event_at": INSTANT,
    "departed_at": INSTANT,
    "landed_at": INSTANT,
    "tailnum": pl.String(),
    "decision_id": pl.String(),
    "event_key": pl.String(),
    "arrival_delay": pl.Int64(),
    "rule": pl.String(),
    "score": pl.Float64(),
}


def fill(
    log: Log,
    decisions: Sequence[dict[str, Any]] | pl.DataFrame,
    outcomes: Sequence[dict[str, Any]] | pl.DataFrame = (),
) -> None:
    """Commit rows, as one collector would."""
    before, files = log.newest(), []
    for table, rows, time in (
        (DECISIONS, decisions, "event_at"),
        (OUTCOMES, outcomes, "departed_at"),
    ):
        if not len(rows):
            continue
        frame = rows if isinstance(rows, pl.DataFrame) else _frame(rows)
        event = frame[time].is_not_null()
        for by, kept, column in (("event", event, time), ("known", ~event, "landed_at")):
            part = frame.filter(kept)
            if part.height:
                files += write_days(log.place, log.loop, table, part, part[column], by)  # type: ignore[arg-type]  # "event" or "known"
    made = before.model_copy(update={"files": (*before.files, *files), "did": "test"})
    assert log.append(before, made)


def _frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    overrides = {name: kind for name, kind in _KINDS.items() if name in rows[0]}
    return pl.DataFrame(list(rows), schema_overrides=overrides, infer_schema_length=None)


def seeded(count: int, seed: int = 1) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Calibrated scores and labels drawn from them."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(1.2, 3.0, count)
    return scores, (rng.random(count) < scores).astype(float)
