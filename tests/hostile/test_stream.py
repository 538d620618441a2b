"""Hostile records between good ones, through the real worker."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from confluent_kafka import Producer

from tests.hostile.records import hostile, odd
from tests.traffic import good, ids, split
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import HEADER
from workers.enrich.path import Enricher
from workers.testing import Driver, EmbeddedBroker, OutRecord, Reader, Sent, isolated, produce
from workers.topology import Delivery, Topology
from workers.wiring import pick

OURS = ("__connect.errors.", "__workers.")


def offset(record: OutRecord) -> int:
    """Where a dead letter was read."""
    return int(record.header("__connect.errors.offset"))


def same(found: OutRecord, sent: Sent) -> bool:
    """Key, value, headers and time as they came, with ours behind them."""
    ours = found.headers[len(sent.headers) :]
    return (
        (found.key, found.value, found.timestamp[1]) == (sent.key, sent.value, sent.timestamp)
        and found.headers[: len(sent.headers)] == sent.headers
        and all(name.startswith(OURS) for name, _ in ours)
    )


def pointer(found: OutRecord, sent: Sent) -> bool:
    """What is too large to be written twice leaves its size and digest."""
    return found.value is None and found.header("__workers.value.bytes") == str(
        len(sent.value or b"")
    )


@pytest.mark.parametrize("delivery", list(Delivery))
def test_hostile_records_become_dead_letters_and_harm_no_neighbour(
    embedded: EmbeddedBroker,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    contracts: Catalogue,
    delivery: Delivery,
) -> None:
    """Four hundred of them between good ones: each once, byte for byte; the good ones enriched."""
    plain = pick(topology, None).model_copy(update={"breaker": None})
    top, worker = isolated(topology, plain, embedded, partitions=1, delivery=delivery)
    bad, strange = hostile(flights[0]), odd(flights[0])
    records: list[tuple[str, Sent]] = [("good", sent) for sent in good(flights[:1500])]
    for number, pill in enumerate([*bad.items(), *strange.items()]):
        records.insert(number * 3, pill)
    produce(embedded.bootstrap_servers, worker.input.topic, [sent for _, sent in records])
    pills = {n: sent for n, (name, sent) in enumerate(records) if bad.get(name) is sent}

    with (
        Driver(top, worker, enricher) as driver,
        Reader(embedded.bootstrap_servers, worker.output.topic, worker.dead_letter.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= len(records), 60)
        driver.stop()
        reader.read(0.5)

    enriched, dead = split(reader.records, worker.dead_letter.topic)
    assert len(pills) > 400
    assert sorted(map(offset, dead)) == sorted(pills)
    for record in dead:
        sent = pills[offset(record)]
        assert same(record, sent) or pointer(record, sent), records[offset(record)][0]
    found = ids(enriched, contracts)
    name = f"{worker.name}:{worker.input.topic}:0"
    assert sorted(found) == sorted(f"{name}:{n}" for n in range(len(records)) if n not in pills)
    by_place = dict(zip(found, enriched, strict=True))
    for n, (_, sent) in enumerate(records):
        if n not in pills:
            record = by_place[f"{name}:{n}"]
            kept = [header for header in sent.headers if header[0] != HEADER]
            assert (record.key, record.headers) == (sent.key, kept)
            assert record.timestamp[1] == sent.timestamp


def compressed(servers: str, topic: str, codec: str, value: bytes) -> None:
    """A record that is large until it is compressed: brokers count only what they are sent."""
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "compression.type": codec,
            "message.max.bytes": 100_000_000,
        }
    )
    producer.produce(topic, value, b"large", partition=0)
    assert producer.flush(30) == 0


@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
def test_a_record_that_grows_when_it_is_unpacked_is_a_dead_letter(
    embedded: EmbeddedBroker, topology: Topology, enricher: Enricher, codec: str
) -> None:
    """Twenty megabytes out of a few kilobytes: its size and digest are left of it."""
    top, worker = isolated(topology, pick(topology, None), embedded, partitions=1)
    value = bytes(20_000_000)
    compressed(embedded.bootstrap_servers, worker.input.topic, codec, value)

    with (
        Driver(top, worker, enricher),
        Reader(embedded.bootstrap_servers, worker.dead_letter.topic) as dead,
    ):
        dead.until(lambda seen: len(seen) >= 1)

    (record,) = dead.records
    assert record.header("__workers.code") == "payload_too_large"
    assert record.header("__workers.value.sha256") == hashlib.sha256(value).hexdigest()


def test_what_the_client_cannot_unpack_stops_its_partition_and_no_other(
    embedded: EmbeddedBroker, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """The client stands still in front of it; that is said, and nothing is skipped."""
    less = {"fetch.max.bytes": 1_000_000, "receive.message.max.bytes": 2_000_000}
    sooner = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 500}
    top, worker = isolated(
        topology,
        pick(topology, None),
        embedded,
        partitions=2,
        # The embedded broker forgets a transaction's offsets.
        delivery=Delivery.AT_LEAST_ONCE,
        consumer={**sooner, **less, "message.max.bytes": 900_000},
        stopped_partition_retry=0.5,
    )
    servers, topic = embedded.bootstrap_servers, worker.input.topic
    fine = [replace(record, partition=0) for record in good(flights[:10])]
    produce(servers, topic, fine[:5])
    compressed(servers, topic, "zstd", bytes(20_000_000))
    produce(servers, topic, fine[5:])
    produce(servers, topic, [replace(record, partition=1) for record in good(flights[10:40])])

    with (
        Driver(top, worker, enricher) as driver,
        Reader(servers, worker.output.topic, worker.dead_letter.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= 35)
        driver.until(lambda: 0 in driver.loop.stopped_partitions)
        assert "cannot read the batch at offset 5" in driver.loop.stopped_partitions[0]
        # Tried again meanwhile, and not passed.
        reader.read(1.5)

    places = sorted(int(record.header("place")) for record in reader.records)
    assert places == sorted([*range(5), *range(30)])
