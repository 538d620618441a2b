"""Delta tables beside the lake's files: what others read is what the lake has, at every instant."""

from __future__ import annotations

import datetime
import threading
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from tests.feedback.deltas import (
    TABLES,
    by_deltalake,
    entries,
    folder,
    in_lake,
    in_micros,
    mirrored,
    more,
    same,
)
from tests.feedback.lakes import HOUR, START, decision, fill
from workers.feedback.collect import nowhere
from workers.feedback.lake.commits import Log
from workers.feedback.lake.compact import clean, compact
from workers.feedback.lake.files import write_days
from workers.topology import Feedback

POINTS = (
    "before the table", "after the table", "before the columns", "after the columns",
    "before the files", "after the files",
)  # fmt: skip


class KilledError(Exception):
    """What ends a mirror on the way."""


def test_rows_are_those_of_the_lake_and_nothing_is_copied(log: Log, loop: Feedback) -> None:
    """First and with more; asked again nothing is written."""
    more(log, 0)
    files = set(log.place.below(log.loop))

    first = mirrored(loop)

    assert [(m.table, m.version, m.commit, m.added, m.removed) for m in first] == [
        ("decisions", 0, 1, 3, 0),
        ("outcomes", 0, 1, 1, 0),
    ]
    new = set(log.place.below(log.loop)) - files
    assert new
    assert all("/_delta_log/" in path for path in new)
    for table in TABLES:
        same(log, table)
    more(log, 6)
    second = mirrored(loop)
    assert [(m.table, m.version, m.commit, m.added) for m in second] == [
        ("decisions", 1, 2, 3),
        ("outcomes", 1, 2, 1),
    ]
    for table in TABLES:
        same(log, table)
    again = mirrored(loop)
    assert [(m.version, m.commit, m.added, m.removed) for m in again] == [(1, 2, 0, 0)] * 2
    assert [len(entries(log, table)) for table in TABLES] == [2, 2]


def test_a_table_says_of_which_commit_it_is(log: Log, loop: Feedback) -> None:
    """And that it is partitioned by day, and that VACUUM leaves what earlier commits name."""
    more(log, 0)
    mirrored(loop)

    table = DeltaTable(str(folder(log)))

    assert table.transaction_version("enrichment-workers") == 1
    assert table.metadata().partition_columns == ["day"]
    assert table.metadata().name == "flights.decisions"
    more(log, 6)
    compact(log, START, nowhere)
    mirrored(loop)
    table.update_incremental()
    assert table.transaction_version("enrichment-workers") == 3
    assert table.vacuum(dry_run=True) == []
    assert table.vacuum(dry_run=True, full=True) == []


def test_compaction_changes_no_row_and_older_versions_can_be_read(log: Log, loop: Feedback) -> None:
    """Until cleaning; the entry says that no data has changed."""
    for first in (0, 6):
        more(log, first)
        mirrored(loop)
    before = by_deltalake(log)
    compact(log, START, nowhere)

    made = mirrored(loop)[0]

    assert (made.added, made.removed, made.files) == (3, 6, 3)
    same(log)
    assert_frame_equal(by_deltalake(log), before)
    moved = [a.get("add") or a.get("remove") for a in entries(log)[-1]]
    assert [each["dataChange"] for each in moved if each] == [False] * 9
    assert by_deltalake(log, version=0).height == 6
    assert clean(log, keep=1) == 8
    same(log)
    with pytest.raises(Exception, match=r"not found|No such file"):
        by_deltalake(log, version=0)


def test_what_is_new_in_a_compacted_day_is_said_to_be_new(log: Log, loop: Feedback) -> None:
    """A day with more rows than before has changed, one with as many has not."""
    more(log, 0)
    more(log, 6)
    mirrored(loop)
    fill(log, [decision(12, START + HOUR)])
    compact(log, START, nowhere)

    mirrored(loop)

    changed = {
        (kind, action[kind]["partitionValues"]["day"], action[kind]["dataChange"])
        for action in entries(log)[-1]
        for kind in ("add", "remove")
        if kind in action
    }
    days = {"2013-01-01": True, "2013-01-02": False, "2013-01-03": False}
    assert changed == {(kind, day, on) for kind in ("add", "remove") for day, on in days.items()}
    same(log)


def test_new_columns_are_there_and_null_before(log: Log, loop: Feedback) -> None:
    """In an entry of their own, which is of no commit; also instants without a zone."""
    more(log, 0)
    mirrored(loop)
    noon = datetime.datetime(2013, 1, 1, 12)  # noqa: DTZ001  local times have no zone
    features: dict[str, Any] = {"number.distance": 3.5}
    more(log, 6, local=noon, **features)

    made = mirrored(loop)[0]

    assert sorted(made.columns) == ["local", "number.distance"]
    assert "new columns" in str(made)
    columns, files = entries(log)[1:]
    assert not any("txn" in action or "add" in action for action in columns)
    assert {"txn": {"appId": "enrichment-workers", "version": 2}} in files
    same(log)
    seen = by_deltalake(log)
    assert seen["number.distance"].to_list() == [None] * 6 + [3.5] * 6
    assert DeltaTable(str(folder(log))).protocol().reader_features == ["timestampNtz"]


def test_a_column_without_values_waits_for_a_type(log: Log, loop: Feedback) -> None:
    """Null in every row so far."""
    more(log, 0, nothing=None)
    mirrored(loop)
    assert "nothing" not in by_deltalake(log).columns
    assert by_deltalake(log).height == 6

    more(log, 6, nothing="yet")
    mirrored(loop)

    assert by_deltalake(log)["nothing"].to_list()[6:] == ["yet"] * 6


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_the_next_run_does_the_rest(
    log: Log, loop: Feedback, point: str
) -> None:
    """At each, readers see the commit before or the one after, whole."""

    def dying(name: str) -> None:
        if name == point:
            raise KilledError(name)

    more(log, 0)
    if point.endswith("the table"):
        whole = {6}
    else:
        mirrored(loop)
        more(log, 6, later=1)
        whole = {6, 12}

    with pytest.raises(KilledError):
        mirrored(loop, dying)

    if (folder(log) / "_delta_log").exists():
        assert by_deltalake(log).height in whole
    mirrored(loop)
    for table in TABLES:
        same(log, table)
    written = len(entries(log))
    assert mirrored(loop)[0].added == 0
    assert len(entries(log)) == written


def test_of_mirrors_at_once_each_entry_is_of_one(log: Log, loop: Feedback) -> None:
    """The others are refused, look anew and find it done."""
    for first in (0, 6, 12):
        more(log, first, **({"later": 1} if first else {}))
        ready, faults = threading.Barrier(4), list[BaseException]()

        def once(ready: threading.Barrier, faults: list[BaseException]) -> None:
            ready.wait()
            try:
                mirrored(loop)
            except BaseException as error:  # noqa: BLE001  told to the test
                faults.append(error)

        threads = [threading.Thread(target=once, args=(ready, faults)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert not faults
        for table in TABLES:
            same(log, table)
    named = [[a["txn"]["version"] for a in each if "txn" in a] for each in entries(log)]
    assert named == [[1], [], [2], [3]]


@pytest.mark.parametrize("point", ["before the table", "before the columns", "before the files"])
def test_who_is_late_looks_at_the_lake_again(log: Log, loop: Feedback, point: str) -> None:
    """Another mirror, of a later commit, was first: its entry is not undone."""
    more(log, 0)
    if point != "before the table":
        mirrored(loop)
        more(log, 6, later=1)
    met = list[str]()

    def overtaken(name: str) -> None:
        if name == point and not met:
            met.append(name)
            more(log, 12, later=1)
            compact(log, START, nowhere)
            mirrored(loop)

    mirrored(loop, overtaken)

    assert met == [point]
    for table in TABLES:
        same(log, table)
    numbers = [a["txn"]["version"] for each in entries(log) for a in each if "txn" in a]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == log.newest().number


def test_a_footer_longer_than_is_read_at_first(log: Log, loop: Feedback) -> None:
    """Of a table with very many columns."""
    wide = pl.DataFrame(
        {"record_offset": [1], **{f"number.feature_{n}_{'x' * 200}": [1.0] for n in range(600)}}
    )
    files = write_days(log.place, log.loop, "decisions", wide, pl.Series([START]))
    before = log.newest()
    assert log.append(before, before.model_copy(update={"files": tuple(files)}))

    mirrored(loop)

    assert by_deltalake(log).width == 602


def test_a_lake_in_which_nothing_is_has_no_table(log: Log, loop: Feedback) -> None:
    """And that is no fault."""
    assert mirrored(loop) == []
    assert log.place.below(log.loop) == []


def test_a_log_that_begins_with_a_checkpoint_is_known(log: Log, loop: Feedback) -> None:
    """deltalake writes one every hundred entries, and those before it go in time."""
    for first in (0, 6):
        more(log, first)
        mirrored(loop)
    DeltaTable(str(folder(log))).create_checkpoint()
    (folder(log) / "_delta_log" / f"{0:020}.json").unlink()

    more(log, 12)
    compact(log, START, nowhere)
    made = mirrored(loop)[0]

    assert (made.version, made.commit, made.added, made.removed) == (2, 4, 3, 6)
    assert DeltaTable(str(folder(log))).transaction_version("enrichment-workers") == 4
    assert_frame_equal(by_deltalake(log).drop("day"), in_micros(in_lake(log)))
