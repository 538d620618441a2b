"""How much memory and time a dataset takes: `python -m benchmarks.feedback DAYS ROWS_A_DAY`.

Synthetic decisions with thirteen logged features and an outcome each, written as collecting writes
them; the join runs in a process of its own, whose peak is what is printed.
"""

from __future__ import annotations

import datetime
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from workers.feedback.collect import DECISIONS, OUTCOMES
from workers.feedback.dataset import Joiner, Window, write_dataset
from workers.feedback.lake.commits import Commit, Log
from workers.feedback.lake.files import write_day
from workers.feedback.lake.place import Folder
from workers.topology import Feedback

START = datetime.datetime(2013, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
INSTANT = pl.Datetime("ms", "UTC")


def loop_of(folder: Path) -> Feedback:
    """A loop whose outcomes come by id."""
    return Feedback.model_validate(
        {
            "name": "synthetic",
            "worker": "w",
            "outcomes": {
                "topic": "o",
                "decision_id": "decision_id",
                "key": "tailnum",
                "event_at": "departed_at",
                "label": "arrival_delay > 15",
                "known_at": "landed_at",
            },
            "matures": "24h",
            "lake": {"directory": str(folder)},
        }
    )


def fill(log: Log, days: int, rows: int) -> None:
    """A day at a time, committed at the end."""
    commit, files, rng = log.newest(), [], np.random.default_rng(1)
    for number in range(days):
        day = START + number * DAY
        at = pl.Series(
            np.sort(rng.integers(0, 86_400_000, rows)) + int(day.timestamp() * 1000)
        ).cast(INSTANT)
        first = number * rows
        ids = pl.Series(np.arange(first, first + rows)).cast(pl.String)
        scores = rng.beta(1.2, 3, rows)
        decisions = pl.DataFrame(
            {
                "decision_id": "flight-delays:flights:0:" + ids,
                "model": ["flight-delay"] * rows,
                "model_version": ["1"] * rows,
                "score": scores,
                "raw_score": scores,
                "decision": np.where(scores > 0.5, "late", "on_time"),
                "arm": ["champion"] * rows,
                "scored_at": at,
                "event_at": at,
                "event_key": "N" + ids,
                "features_fingerprint": ["0" * 16] * rows,
                "record_partition": pl.Series([0] * rows, dtype=pl.Int32),
                "record_offset": np.arange(first, first + rows),
                **{f"number.f{n}": rng.normal(size=rows) for n in range(11)},
                **{f"category.c{n}": rng.choice(["a", "b", "c"], rows) for n in range(2)},
            }
        )
        outcomes = pl.DataFrame(
            {
                "decision_id": decisions["decision_id"],
                "tailnum": decisions["event_key"],
                "departed_at": at,
                "arrival_delay": np.where(rng.random(rows) < scores, 30, 0),
                "landed_at": at + datetime.timedelta(hours=3),
                "record_partition": pl.Series([0] * rows, dtype=pl.Int32),
                "record_offset": np.arange(first, first + rows),
            }
        )
        for table, frame in ((DECISIONS, decisions), (OUTCOMES, outcomes)):
            files += write_day(log.place, log.loop, table, day.date(), frame)
    made = Commit(at=START, did="synthetic", files=tuple(files))
    if not log.append(commit, made):
        raise SystemExit("somebody else writes there")


def join(folder: Path) -> None:
    """Print what the join took, of this process."""
    loop = loop_of(folder)
    log = Log(Folder(folder), loop.name)
    commit = log.newest()
    until = START + 10_000 * DAY
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    state = write_dataset(
        Joiner(log.place, commit, loop, "flight-delay"),
        Window(START, until, until),
        folder / "dataset.parquet",
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "rows": state.rows,
                "outcomes": state.outcomes,
                "seconds": round(time.perf_counter() - began, 1),
                "cpu_seconds": round(time.process_time(), 1),
                "peak_mb": round(peak / 1024),
                "of_which_imports_mb": round(before / 1024),
                "lake_mb": round(sum(file.bytes for file in commit.files) / 1e6),
            }
        )
    )


def main(days: str, rows: str) -> None:
    """Fill a lake, then join it in a child."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        fill(Log(Folder(folder), "synthetic"), int(days), int(rows))
        command = [sys.executable, "-m", "benchmarks.feedback", "--join", str(folder)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    if sys.argv[1] == "--join":
        join(Path(sys.argv[2]))
    else:
        main(*sys.argv[1:])
