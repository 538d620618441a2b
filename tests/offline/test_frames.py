"""Rows of data frames through the path, without Spark: every row has a row, in its order."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from tests.enrich.test_evolution import events
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.offline.events import FileFault
from workers.offline.frames import Counter, FrameReader, OutcomeColumns
from workers.offline.path import WorkerPath
from workers.topology import Tombstones, Topology, Unframed
from workers.wiring import build_path, pick

NOW = 1_700_000_000_000


@pytest.fixture(scope="module")
def path(topology: Topology) -> Iterator[WorkerPath]:
    """The demo worker's path, which drops what it may."""
    policies = {"tombstones": Tombstones.DROP, "unframed": Unframed.DROP}
    worker = pick(topology, None).model_copy(update=policies)
    with build_path(topology, worker) as found:
        yield found


def through(path: WorkerPath, rows: pa.RecordBatch, first: int = 0) -> list[dict[str, Any]]:
    """Outcome rows."""
    reader, columns = FrameReader(path, rows.schema.names), OutcomeColumns(path)
    return [
        row
        for taken in reader.read(rows, Counter(6, first), NOW)
        for row in pa.table(columns.of(taken, path.enrich(taken.batch))).to_pylist()
    ]


def test_records_of_several_topics_keep_their_topic(path: WorkerPath, flights: list[bytes]) -> None:
    """In the decision id too; within a topic in their order."""
    good = frame(1) + flights[0]
    rows = pa.RecordBatch.from_pydict(
        {
            "value": [good, None, b"unframed", good, frame(999) + flights[0]],
            "topic": ["a", "b", "b", "b", "a"],
            "partition": [1, 2, 2, 2, 1],
            "offset": [7, 8, 9, 10, 11],
        }
    )

    found = through(path, rows)

    assert [(r["topic"], r["offset"], r["verdict"]) for r in found] == [
        ("a", 7, "enriched"),
        ("a", 11, "contract"),
        ("b", 8, "dropped"),
        ("b", 9, "dropped"),
        ("b", 10, "enriched"),
    ]
    assert [r["decision_id"] for r in found if r["value"]] == [
        "flight-delays:a:1:7",
        "flight-delays:b:2:10",
    ]
    when = datetime.datetime.fromtimestamp(NOW / 1000, datetime.UTC)
    assert {r["scored_at"] for r in found} == {when, None}


def test_rows_without_a_place_are_counted(
    path: WorkerPath, contracts: Catalogue, flights: list[bytes]
) -> None:
    """By the part of the frame and their number in it."""
    schema = contracts.versions("flights-value")[1].schema

    found = through(path, pa.RecordBatch.from_pylist(events(schema, flights[:3])), first=100)

    assert [(r["partition"], r["offset"]) for r in found] == [(6, 100), (6, 101), (6, 102)]
    assert found[2]["decision_id"] == "flight-delays:frame:6:102"


def test_a_frame_of_bad_rows_has_only_verdicts(
    path: WorkerPath, contracts: Catalogue, flights: list[bytes]
) -> None:
    """And one of no rows has none."""
    schema = contracts.versions("flights-value")[1].schema
    bad = [{**event, "carrier": None} for event in events(schema, flights[:2])]
    rows = pa.RecordBatch.from_pylist(bad)

    found = through(path, rows)

    assert [(r["verdict"], r["code"], r["score"]) for r in found] == [
        ("decode", "malformed", None)
    ] * 2
    assert through(path, rows.slice(0, 0)) == []


def test_columns_that_are_neither_are_named(path: WorkerPath) -> None:
    """With what is missing."""
    with pytest.raises(FileFault, match=r"no column value.*lacks flight_id"):
        FrameReader(path, ["carrier", "label"])
