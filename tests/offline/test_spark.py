"""The same events through Spark and through the path: the same bits. Spark is real, and local."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT
from tests.enrich.test_evolution import events as plain
from tests.enrich.test_path import batch
from tests.traffic import broken, good
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.enrich.batch import Batch
from workers.enrich.path import Enricher
from workers.offline.events import datum_of
from workers.testing.environments import locked_environment
from workers.testing.records import Sent

pytestmark = pytest.mark.slow
Job = Callable[[str, Path], list[dict[str, Any]]]
HISTORY, LOADS = "examples/flights/history.py", "tests/offline/spark_loads.py"


@pytest.fixture(scope="module")
def python() -> Path:
    """An interpreter with Spark. Where none can be had the tests fail: they are not skipped."""
    return locked_environment("spark", ROOT, "--extra", "spark")


@pytest.fixture
def job(python: Path, tmp_path: Path) -> Job:
    """Runs a program on a Parquet file; the rows that it wrote."""
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "512m",
        "spark.local.dir": str(tmp_path),
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "700",
        "spark.sql.files.maxPartitionBytes": "65536",
    }
    conf = " ".join(f"--conf {name}={value}" for name, value in settings.items())
    own = {
        "PYSPARK_SUBMIT_ARGS": f"--master local[2] {conf} pyspark-shell",
        "PYSPARK_PYTHON": str(python),
        "PYTHONPATH": str(ROOT),
        "POLARS_MAX_THREADS": "1",
    }

    def run(program: str, source: Path) -> list[dict[str, Any]]:
        target = tmp_path / "scored.parquet"
        command = [python, ROOT / program, ROOT / "topology.yaml", source, target]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **own}, check=False
        )
        assert done.returncode == 0, done.stderr[-5000:]
        found: list[dict[str, Any]] = pq.read_table(target).to_pylist()
        return found

    return run


def as_kafka_source(sent: list[Sent]) -> pa.Table:
    """Records as Spark's Kafka source gives them (with includeHeaders), in two partitions."""
    header = pa.struct([("key", pa.string()), ("value", pa.binary())])
    count = len(sent)
    headers = [
        [{"key": name, "value": content} for name, content in record.headers] or None
        for record in sent
    ]
    return pa.table(
        {
            "key": pa.array([record.key for record in sent], pa.binary()),
            "value": pa.array([record.value for record in sent], pa.binary()),
            "topic": pa.array(["flights"] * count),
            "partition": pa.array([place % 2 for place in range(count)], pa.int32()),
            "offset": pa.array([place // 2 for place in range(count)], pa.int64()),
            "timestamp": pa.array([0] * count, pa.timestamp("us", "UTC")),
            "timestampType": pa.array([0] * count, pa.int32()),
            "headers": pa.array(headers, pa.list_(header)),
        }
    )


def streamed(sent: list[Sent], now: int) -> Batch:
    """The same records as a worker's source hands them out."""
    count = len(sent)
    return Batch(
        topic="flights",
        now=now,
        keys=[record.key for record in sent],
        values=[record.value for record in sent],
        headers=[record.headers or None for record in sent],
        partitions=[place % 2 for place in range(count)],
        offsets=[place // 2 for place in range(count)],
        timestamps=[(0, 0)] * count,
    )


def test_records_have_the_outcomes_that_the_worker_gives_them(
    job: Job, enricher: Enricher, flights: list[bytes], tmp_path: Path
) -> None:
    """Bytes, scores and decision ids of what is enriched; verdict and code of what is not."""
    sent = [*good(flights), *broken(flights[0]), Sent(None, key=b"gone")]
    guid = [("__value_schema_id", b"\x00" + (1).to_bytes(4, "big"))]
    sent.append(Sent(flights[5], headers=[*guid]))
    source = tmp_path / "records.parquet"
    pq.write_table(as_kafka_source(sent), source, row_group_size=900)

    rows = job(HISTORY, source)

    found = {(row["partition"], row["offset"]): row for row in rows}
    assert len(rows) == len(found) == len(sent)
    times = {row["scored_at"] for row in rows if row["scored_at"]}
    assert times
    for now in times:
        outcomes = enricher.enrich(streamed(sent, round(now.timestamp() * 1000)))
        scores = outcome_scores(enricher, outcomes.batch)
        for number, value in outcomes.enriched.items():
            row = found[number % 2, number // 2]
            if value is None:
                assert (row["verdict"], row["value"], row["score"]) == ("tombstone", None, None)
            elif row["scored_at"] == now:
                assert (row["verdict"], row["value"]) == ("enriched", value)
                assert row["decision"] == outcomes.decided[number]
                assert row["decision_id"] == f"flight-delays:flights:{number % 2}:{number // 2}"
                assert row["score"].hex() == scores[number].hex()
        for number, rejection in outcomes.rejected.items():
            row = found[number % 2, number // 2]
            why = rejection.reject
            assert (row["verdict"], row["code"]) == (why.verdict.value, why.code)
            assert (row["text"], row["value"], row["decision_id"]) == (str(why), None, None)


def outcome_scores(enricher: Enricher, records: Batch) -> dict[int, float]:
    """What the model says, where the worker keeps it for a shadow."""
    watching = Enricher(
        replace(enricher.policy, shadow=True), enricher.binding.contracts, enricher.model
    )
    decoded = watching.enrich(records).decoded
    assert decoded is not None
    return dict(zip(decoded.rows, decoded.scores.tolist(), strict=True))


def test_columns_of_the_contract_are_scored_and_each_process_loads_once(
    job: Job,
    enricher: Enricher,
    contracts: Catalogue,
    flights: list[bytes],
    tmp_path: Path,
) -> None:
    """A row that fits no event is a row; a column that the frame has not takes its default."""
    schema = contracts.versions("flights-value")[1].schema
    events = [{**event, "label": 1} for event in plain(schema, flights)]
    events[7]["origin"], events[8]["departure_delay"], events[9]["carrier"] = "SFO", 20_000, None
    for event in events:
        del event["seats"]
    source = tmp_path / "events.parquet"
    pq.write_table(pa.Table.from_pylist(events), source)

    rows = job(LOADS, source)

    by_id = {row["flight_id"]: row for row in rows}
    assert len(rows) == len(by_id) == len(events)
    bad = [by_id[events[number]["flight_id"]] for number in (7, 8, 9)]
    assert [(row["verdict"], row["code"], row["value"]) for row in bad] == [
        ("decode", "malformed", None),
        ("feature", "range", None),
        ("decode", "malformed", None),
    ]
    assert "SFO" not in bad[0]["text"]
    scores = outcome_scores(enricher, batch(without_seats(contracts, flights)))
    for number, event in enumerate(events):
        if number not in (7, 8, 9):
            row = by_id[event["flight_id"]]
            assert row["verdict"] == "enriched"
            assert row["score"].hex() == scores[number].hex()
    ids = {row["decision_id"] for row in rows if row["value"]}
    assert len(ids) == len(events) - 3
    assert {row["loads"] for row in rows} == {1}
    assert len({row["process"] for row in rows}) <= 2
    assert len({row["partition"] for row in rows}) == 8


def without_seats(contracts: Catalogue, flights: list[bytes]) -> list[bytes | None]:
    """The same events as a producer writes them that knows no seats."""
    schema = contracts.versions("flights-value")[1].schema
    found = [{**event, "seats": None} for event in plain(schema, flights)]
    return [frame(1) + datum_of(event, schema) for event in found]
