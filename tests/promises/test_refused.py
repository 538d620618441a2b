"""Promises 2 and 3 where a write is refused: nothing is skipped, nothing is committed early."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.promises.test_every_record import committed
from tests.traffic import GOOD, good, ids, split
from workers.contracts.catalogue import Catalogue
from workers.enrich.path import Enricher
from workers.testing import Driver, EmbeddedBroker, Reader, RealKafka, Sent, isolated, produce
from workers.topology import Delivery, Topology
from workers.wiring import pick

AnyBroker = EmbeddedBroker | RealKafka


def test_an_enriched_event_over_the_limit_is_a_dead_letter(
    broker: AnyBroker, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """Known before it is produced: verdict output, and the neighbours are enriched."""
    plain = pick(topology, None)
    small = plain.output.model_copy(update={"max_message_bytes": 600})
    top, worker = isolated(topology, plain.model_copy(update={"output": small}), broker)
    records = good(flights[:50])
    records[20] = replace(records[20], headers=[("place", b"20"), ("large", b"x" * 600)])
    produce(broker.bootstrap_servers, worker.input.topic, records)

    with (
        Driver(top, worker, enricher) as driver,
        Reader(broker.bootstrap_servers, worker.output.topic, worker.dead_letter.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= 50)
        driver.stop()

    _, dead = split(reader.records, worker.dead_letter.topic)
    assert sum(driver.journal.counts.decisions.values()) == 49
    assert [(r.header("__workers.code"), r.header("place")) for r in dead] == [
        ("output_too_large", "20")
    ]
    assert dead[0].value == records[20].value


@pytest.mark.parametrize(
    ("size", "left"),
    [
        (900, "all"),
        (2_000, "all but the details"),
        (200_000, "pointer"),
    ],
)
def test_a_dead_letter_over_the_limit_leaves_a_pointer(
    broker: AnyBroker, topology: Topology, enricher: Enricher, size: int, left: str
) -> None:
    """Details go first, then the value, whose size and digest stay with the coordinates."""
    plain = pick(topology, None)
    limit = 900 + 1_100 if left == "all" else 2_500
    small = plain.dead_letter.model_copy(update={"max_message_bytes": limit})
    top, worker = isolated(
        topology, plain.model_copy(update={"dead_letter": small}), broker, partitions=1
    )
    produce(broker.bootstrap_servers, worker.input.topic, [Sent(b"\x09" * size, key=b"k")])

    with (
        Driver(top, worker, enricher),
        Reader(broker.bootstrap_servers, worker.dead_letter.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= 1)

    record = reader.records[0]
    assert record.header("__connect.errors.offset") == "0"
    assert record.header("__workers.code") == "unframed"
    assert (record.header("__workers.stage") == "") == (left == "all but the details")
    if left == "pointer":
        assert record.value is None
        assert record.header("__workers.value.bytes") == str(size)
        assert len(record.header("__workers.value.sha256")) == 64
    else:
        assert record.value == b"\x09" * size


@pytest.mark.kafka
@pytest.mark.parametrize("delivery", list(Delivery))
def test_what_the_broker_refuses_is_found_and_dead_lettered(
    kafka: RealKafka,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    contracts: Catalogue,
    delivery: Delivery,
) -> None:
    """The topic allows less than was declared: halving finds the record, the others pass, once."""
    top, worker = isolated(topology, pick(topology, None), kafka, partitions=1, delivery=delivery)
    # Batches of all the others stay under this; the large record alone is over it.
    kafka.set_topic(worker.output.topic, max_message_bytes="40000")
    worker.producer["batch.size"] = 10_000
    records = good(flights[:300])
    records[123] = replace(records[123], headers=[("place", b"123"), ("large", b"x" * 60_000)])
    produce(kafka.bootstrap_servers, worker.input.topic, records)

    with (
        Driver(top, worker, enricher) as driver,
        Reader(kafka.bootstrap_servers, worker.output.topic, worker.dead_letter.topic) as reader,
    ):
        reader.until(lambda seen: len({r.header("place") for r in seen}) >= 300, 120)
        driver.stop()
        reader.read(0.5)

    enriched, dead = split(reader.records, worker.dead_letter.topic)
    assert [(r.header("__workers.code"), r.header("place")) for r in dead] == [
        ("refused_by_broker", "123")
    ]
    assert int(dead[0].header("__workers.attempts")) > 1
    found = ids(enriched, contracts)
    assert len(set(found)) == 299
    if delivery is Delivery.EXACTLY_ONCE:
        assert len(found) == 299
        assert [int(r.header("place")) for r in enriched] == [n for n in range(300) if n != 123]
    assert committed(kafka, worker, 1)[0] >= 300


@pytest.mark.kafka
def test_a_dead_letter_that_cannot_be_written_stops_the_partition(
    kafka: RealKafka, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """It says why, commits nothing of it, the other partition goes on; mended, it resumes alone."""
    top, worker = isolated(
        topology, pick(topology, None), kafka, partitions=2, stopped_partition_retry=2.0
    )
    kafka.set_topic(worker.dead_letter.topic, max_message_bytes="2000")
    bad = Sent(b"\x07" * 60_000, key=b"bad", partition=0)
    fine = [replace(record, partition=1) for record in good(flights[:100])]
    late = [replace(record, partition=0) for record in good(flights[100:200])]
    produce(kafka.bootstrap_servers, worker.input.topic, [bad, *late, *fine])

    with (
        Driver(top, worker, enricher) as driver,
        Reader(kafka.bootstrap_servers, worker.output.topic, worker.dead_letter.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= 100)
        driver.until(lambda: 0 in driver.loop.stopped_partitions)
        assert "MSG_SIZE_TOO_LARGE" in driver.loop.stopped_partitions[0]
        assert committed(kafka, worker, 2)[0] == 0
        assert {r.header("place") for r in reader.records} == {str(n) for n in range(100)}
        kafka.set_topic(worker.dead_letter.topic, max_message_bytes="1000000")
        reader.until(lambda seen: len(seen) >= 201)
        driver.stop()

    _, dead = split(reader.records, worker.dead_letter.topic)
    assert [record.value for record in dead] == [bad.value]
    assert committed(kafka, worker, 2)[0] >= 101


@pytest.mark.kafka
def test_a_missing_dead_letter_topic_stops_the_partition(
    kafka: RealKafka, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """Deleted while the worker runs; nothing is lost, and made again the worker goes on alone."""
    top, worker = isolated(
        topology, pick(topology, None), kafka, partitions=2, stopped_partition_retry=2.0
    )
    bad = Sent(b"\x07", key=b"bad", partition=0)
    fine = [replace(record, partition=1) for record in good(flights[:100])]

    with (
        Driver(top, worker, enricher) as driver,
        Reader(kafka.bootstrap_servers, worker.output.topic) as reader,
    ):
        produce(kafka.bootstrap_servers, worker.input.topic, fine[:10])
        reader.until(lambda seen: len(seen) >= 10)
        kafka.delete_topic(worker.dead_letter.topic)
        produce(kafka.bootstrap_servers, worker.input.topic, [bad, *fine[10:]])
        driver.until(lambda: 0 in driver.loop.stopped_partitions, 90)
        assert worker.dead_letter.topic in driver.loop.stopped_partitions[0]
        reader.until(lambda seen: len(seen) >= 100)
        assert committed(kafka, worker, 2)[0] == 0
        kafka.create_topic(worker.dead_letter.topic, 2)
        with Reader(kafka.bootstrap_servers, worker.dead_letter.topic) as letters:
            letters.until(lambda seen: len(seen) >= 1, 90)
        driver.stop()

    assert letters.records[0].value == bad.value
    assert (GOOD, len(letters.records)) == (b"\x00\x00\x00\x00\x01", 1)
