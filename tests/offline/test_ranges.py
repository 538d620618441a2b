"""A range of a topic scored offline: what the stream published, and nothing is moved by it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer

from tests.promises.test_every_record import committed, remembers
from tests.promises.test_shadow import StoppedClock
from tests.traffic import broken, good, split
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.enrich.path import Enricher
from workers.offline.path import WorkerPath
from workers.offline.score import score_range
from workers.stream.ranges import Edge, Point, RangeFault, RangeReader, Span, point
from workers.testing import (
    Driver,
    EmbeddedBroker,
    OutRecord,
    Reader,
    RealKafka,
    Sent,
    isolated,
    produce,
)
from workers.topology import Topology, Worker
from workers.wiring import build_path, build_range_reader, pick

AnyBroker = EmbeddedBroker | RealKafka


@pytest.fixture(scope="session")
def path(topology: Topology) -> Iterator[WorkerPath]:
    """The demo worker's path without its stream."""
    with build_path(topology, pick(topology, None)) as found:
        yield found


@contextmanager
def reading(topology: Topology, worker: Worker) -> Iterator[tuple[RangeReader, tuple[int, ...]]]:
    """A reader of the worker's input, whose time stands still."""
    reader, partitions = build_range_reader(topology, worker, worker.input.topic, StoppedClock())
    try:
        yield reader, partitions
    finally:
        reader.close()


def offsets(
    topology: Topology, worker: Worker, since: Point = Edge.EARLIEST, until: Point = Edge.LATEST
) -> tuple[list[int], int]:
    """Offsets that reading the input's first partition hands out, and where its range ends."""
    with reading(topology, worker) as (reader, _):
        spans = reader.spans([0], since, until)
        return [o for batch in reader.read(spans) for o in batch.offsets], spans[0].end


def datums(file: Path) -> bytes:
    """The bytes of a container's events, one after the other."""
    with file.open("rb") as opened:
        blocks: Any = fastavro.block_reader(opened)
        return b"".join(block.bytes_.getvalue() for block in blocks)


def place(dead: OutRecord) -> tuple[int, int, str, str]:
    """Which record it was, and what was wrong with it."""
    partition, offset = (dead.header(f"__connect.errors.{n}") for n in ("partition", "offset"))
    verdict, code = (dead.header(f"__workers.{n}") for n in ("verdict", "code"))
    return int(partition), int(offset), verdict, code


def test_a_range_is_scored_as_the_stream_published_it(
    broker: AnyBroker,
    topology: Topology,
    enricher: Enricher,
    path: WorkerPath,
    flights: list[bytes],
    tmp_path: Path,
) -> None:
    """The same bytes with the same decision ids; the same rejects; committed offsets stay."""
    top, worker = isolated(topology, pick(topology, None), broker)
    records = good(flights[:3000])
    pills = broken(flights[0])
    random.Random(1).shuffle(pills)
    for number, pill in enumerate(pills):
        records.insert(number * 211, pill)
    records.append(Sent(None, key=b"gone"))
    produce(broker.bootstrap_servers, worker.input.topic, records)
    with (
        Driver(top, worker, enricher, clock=StoppedClock()) as driver,
        Reader(broker.bootstrap_servers, worker.output.topic, worker.dead_letter.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= len(records))
        driver.stop()
    enriched, dead = split(reader.records, worker.dead_letter.topic)
    before = committed(broker, worker)

    rejected, tombstones = list[Any](), 0
    for partition in range(4):
        target = tmp_path / f"{partition}.avro"
        with reading(top, worker) as (ranges, partitions):
            assert partitions == (0, 1, 2, 3)
            spans = ranges.spans([partition], Edge.EARLIEST, Edge.LATEST)
            tally = score_range(path, ranges, spans, target)
        published = [r.value[5:] for r in enriched if r.partition == partition and r.value]
        assert datums(target) == b"".join(published)
        assert tally.enriched == len(published)
        tombstones += tally.tombstones
        lines = target.with_name(f"{partition}.avro.rejected.jsonl").read_text().splitlines()
        rejected += map(json.loads, lines)

    found = {(r["partition"], r["offset"], r["verdict"], r["code"]) for r in rejected}
    assert found == {place(record) for record in dead}
    assert (len(rejected), tombstones) == (len(pills), 1)
    assert committed(broker, worker) == before
    assert before or not remembers(broker, worker)


@pytest.mark.kafka
def test_offsets_without_a_record_are_passed_over(
    kafka: RealKafka, topology: Topology, flights: list[bytes]
) -> None:
    """Markers and aborted records, also at the end; an open transaction is not waited for."""
    top, worker = isolated(topology, pick(topology, None), kafka, partitions=2)
    producer = Producer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "transactional.id": worker.transactional_id,
            "log_level": 0,
        }
    )
    producer.init_transactions(30)

    def send(count: int) -> None:
        producer.begin_transaction()
        for number in range(count):
            stamp = 1_700_000_000_000 + number
            producer.produce(
                worker.input.topic, frame(1) + flights[number], partition=0, timestamp=stamp
            )
        producer.flush(30)

    send(10)
    producer.commit_transaction(30)
    send(5)
    producer.abort_transaction(30)
    send(10)
    producer.commit_transaction(30)
    send(3)
    producer.abort_transaction(30)
    ended = [*range(10), *range(17, 27)]

    assert offsets(top, worker) == (ended, 32)
    send(3)
    assert offsets(top, worker) == (ended, 32)
    assert offsets(top, worker, 9, 18) == ([9, 17], 18)
    with reading(top, worker) as (reader, partitions):
        spans = reader.spans(partitions, Edge.EARLIEST, Edge.LATEST)
        assert spans[1] == Span(1, 0, 0)
        assert sum(len(batch) for batch in reader.read(spans)) == 20
    since = datetime.fromtimestamp(1_700_000_000.004, UTC)
    assert offsets(top, worker, since, 10)[0] == [4, 5, 6, 7, 8, 9]
    assert offsets(top, worker, datetime(2100, 1, 1, tzinfo=UTC)) == ([], 32)
    producer.abort_transaction(30)


@pytest.mark.kafka
def test_what_retention_took_is_said_and_never_skipped(
    kafka: RealKafka, topology: Topology, path: WorkerPath, flights: list[bytes], tmp_path: Path
) -> None:
    """Before the reading, and while it goes on; then nothing is written."""
    top, worker = isolated(topology, pick(topology, None), kafka, partitions=1)
    topic, target = worker.input.topic, tmp_path / "out.avro"
    produce(kafka.bootstrap_servers, topic, good(flights[:50]))

    with reading(top, worker) as (reader, _):
        spans = reader.spans([0], Edge.EARLIEST, Edge.LATEST)
        kafka.delete_records(topic, 0, 20)
        with pytest.raises(RangeFault, match=r"offset 0 is outside \[20, 50\): retention overtook"):
            score_range(path, reader, spans, target)
        with pytest.raises(RangeFault, match=r"from 7: the log has \[20, 50\)"):
            reader.spans([0], 7, Edge.LATEST)

    assert not list(tmp_path.iterdir())
    assert offsets(top, worker) == ([*range(20, 50)], 50)


def test_only_what_was_there_at_the_start_is_read_and_a_batch_at_a_time(
    embedded: EmbeddedBroker, topology: Topology, flights: list[bytes]
) -> None:
    """What is written meanwhile is left; a batch grows as the worker's."""
    top, worker = isolated(topology, pick(topology, None), embedded, partitions=3)
    settings = worker.batch.model_copy(update={"max_records": 60})
    worker = worker.model_copy(update={"batch": settings})
    produce(embedded.bootstrap_servers, worker.input.topic, good(flights[:300]))

    with reading(top, worker) as (reader, partitions):
        spans, seen = reader.spans(partitions, Edge.EARLIEST, Edge.LATEST), set[Any]()
        for batch in reader.read(spans):
            produce(embedded.bootstrap_servers, worker.input.topic, good(flights[:50]))
            assert 0 < len(batch) <= 60
            seen |= {*zip(batch.partitions, batch.offsets, strict=True)}

    assert seen == {(s.partition, o) for s in spans for o in range(s.start, s.end)}
    assert len(seen) == 300


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("earliest", Edge.EARLIEST),
        ("latest", Edge.LATEST),
        ("1200", 1200),
        ("2026-11-24T06:00:00Z", datetime(2026, 11, 24, 6, tzinfo=UTC)),
        ("2026-11-24T06:00:00+00:00", datetime(2026, 11, 24, 6, tzinfo=UTC)),
    ],
)
def test_a_point_is_an_edge_an_offset_or_a_time(text: str, found: Point) -> None:
    """As the command line has them."""
    assert point(text) == found


@pytest.mark.parametrize(
    ("text", "said"), [("2026-11-24", "zone"), ("yesterday", "neither"), ("-5", "neither")]
)
def test_what_is_no_point_is_named(text: str, said: str) -> None:
    """With what would be one."""
    with pytest.raises(ValueError, match=said):
        point(text)


def test_ranges_that_are_none_are_named(
    embedded: EmbeddedBroker, topology: Topology, flights: list[bytes]
) -> None:
    """An offset of several partitions, one beyond the end, an end before the beginning."""
    top, worker = isolated(topology, pick(topology, None), embedded, partitions=2)
    produce(
        embedded.bootstrap_servers,
        worker.input.topic,
        [Sent(frame(1) + flights[0], partition=0)] * 9,
    )

    with reading(top, worker) as (reader, partitions):
        with pytest.raises(RangeFault, match="--partition"):
            reader.spans(partitions, 3, Edge.LATEST)
        with pytest.raises(RangeFault, match=r"to 10: the log has \[0, 9\)"):
            reader.spans([0], Edge.EARLIEST, 10)
        with pytest.raises(RangeFault, match="from 5 to 3"):
            reader.spans([0], 5, 3)
        assert reader.spans([0], Edge.LATEST, Edge.LATEST) == [Span(0, 9, 9)]


def test_parquet_has_the_fields_of_the_contract_and_the_records_place(
    embedded: EmbeddedBroker,
    topology: Topology,
    path: WorkerPath,
    contracts: Catalogue,
    flights: list[bytes],
    tmp_path: Path,
) -> None:
    """Joined to a record by partition and offset; what was read stands in the metadata."""
    top, worker = isolated(topology, pick(topology, None), embedded, partitions=2)
    produce(embedded.bootstrap_servers, worker.input.topic, good(flights[:200]))
    avro, parquet = tmp_path / "out.avro", tmp_path / "out.parquet"

    with reading(top, worker) as (reader, partitions):
        spans = reader.spans(partitions, Edge.EARLIEST, Edge.LATEST)
        for target in (avro, parquet):
            score_range(path, reader, spans, target)

    schema = contracts.versions("flights.enriched-value")[2].schema
    rows = pq.read_table(parquet).to_pylist()
    by_id = {row["enrichment"]["decision_id"]: row for row in rows}
    stem = f"{worker.name}:{worker.input.topic}"
    assert len(by_id) == 200
    with avro.open("rb") as opened:
        for event in fastavro.reader(opened):
            assert isinstance(event, dict)
            row = by_id[event["enrichment"]["decision_id"]]
            partition, offset = row.pop("record_partition"), row.pop("record_offset")
            assert event["enrichment"]["decision_id"] == f"{stem}:{partition}:{offset}"
            assert list(row) == [*schema.field_names]
            assert row["enrichment"]["score"] == event["enrichment"]["score"]
            assert row["flight_id"] == event["flight_id"]
    facts = pq.read_schema(parquet).metadata
    assert facts[b"workers.source"].decode() == f"topic://{worker.input.topic}"
    assert json.loads(facts[b"workers.ranges"]) == {
        str(s.partition): [s.start, s.end] for s in spans
    }
    assert facts[b"workers.model"] == b"flight-delay version 1"
