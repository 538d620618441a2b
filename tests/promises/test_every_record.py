"""Promises 1, 2, 3, 5 and 6: what becomes of records when nothing goes wrong but the records."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from typing import Any

import fastavro
import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.traffic import broken, good, ids, places_by_key, split
from workers.contracts.catalogue import Catalogue
from workers.enrich.path import Enricher
from workers.testing import Driver, EmbeddedBroker, Reader, RealKafka, Sent, isolated, produce
from workers.topology import Delivery, Latency, Partitioning, Tombstones, Topology, Unframed, Worker
from workers.wiring import build_enricher, pick

AnyBroker = EmbeddedBroker | RealKafka


def committed(broker: AnyBroker, worker: Worker, partitions: int = 4) -> dict[int, int]:
    """The group's offsets; partitions without one are left out."""
    asking = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": worker.group})
    places = [TopicPartition(worker.input.topic, p) for p in range(partitions)]
    found = {p.partition: p.offset for p in asking.committed(places, timeout=20) if p.offset >= 0}
    asking.close()
    return found


def remembers(broker: AnyBroker, worker: Worker) -> bool:
    """Are offsets committed this way kept? The embedded broker forgets a transaction's."""
    return isinstance(broker, RealKafka) or worker.delivery is Delivery.AT_LEAST_ONCE


def ends(broker: AnyBroker, worker: Worker, partitions: int = 4) -> dict[int, int]:
    """The next offset of each input partition."""
    asking = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "asking"})
    places = [TopicPartition(worker.input.topic, p) for p in range(partitions)]
    found = {p.partition: asking.get_watermark_offsets(p, timeout=20)[1] for p in places}
    asking.close()
    return found


def test_every_record_ends_as_exactly_one(
    broker: AnyBroker,
    delivery: Delivery,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    contracts: Catalogue,
) -> None:
    """Enriched, dead-lettered and tombstones add up to the input, each once, offsets at the end."""
    top, worker = isolated(topology, pick(topology, None), broker, delivery=delivery)
    pills = broken(flights[0])
    records = good(flights[:3000])
    random.Random(1).shuffle(pills)
    for place, pill in enumerate(pills):
        records.insert(place * 211, pill)
    records.append(Sent(None, key=b"gone", headers=[("place", b"0")]))
    produce(broker.bootstrap_servers, worker.input.topic, records)

    with (
        Driver(top, worker, enricher) as driver,
        Reader(broker.bootstrap_servers, worker.output.topic, worker.dead_letter.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= len(records))
        driver.stop()
        reader.read(0.5)

    enriched, dead = split(reader.records, worker.dead_letter.topic)
    assert (len(enriched), len(dead)) == (3001, len(pills))
    found = ids(enriched, contracts)
    assert len(found) == len(set(found)) == 3000
    assert [record.key for record in enriched if record.value is None] == [b"gone"]
    if remembers(broker, worker):
        assert committed(broker, worker) == ends(broker, worker)
    counts = driver.journal.counts
    assert (counts.enriched, counts.rejected.total(), counts.dropped) == (3001, len(pills), 0)
    assert sum(counts.decisions.values()) == 3000


def test_a_batch_that_would_break_its_budget_gives_up_what_is_declared(
    embedded: EmbeddedBroker, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """A millisecond to score is too little: the fallback, counted, and still each record once."""
    latency = Latency.model_validate(
        {"score": "1ms", "publish": "1s", "degrade": ["reasons", "fallback"]}
    )
    top, worker = isolated(topology, pick(topology, None), embedded, latency=latency)
    produce(embedded.bootstrap_servers, worker.input.topic, good(flights[:1000]))

    with (
        Driver(top, worker, enricher) as driver,
        Reader(embedded.bootstrap_servers, worker.output.topic) as reader,
    ):
        for round_ in range(1, 6):
            reader.until(lambda seen, r=round_: len(seen) >= 1000 * r)  # type: ignore[misc]
            produce(embedded.bootstrap_servers, worker.input.topic, good(flights[:1000]))
        reader.until(lambda seen: len(seen) >= 6000)
        given_up = driver.journal.counts.given_up

    assert len(reader.records) == 6000
    assert given_up["fallback"]
    assert driver.journal.totals()["given_up"] == dict(+given_up)
    assert any(b"over_budget" in (record.value or b"") for record in reader.records)


def test_a_dead_letter_is_the_record_byte_for_byte(
    broker: AnyBroker, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """Key, value, headers and timestamp as they came; the reasons stand behind them."""
    top, worker = isolated(topology, pick(topology, None), broker, partitions=1)
    pills = broken(flights[0])
    pills = [replace(p, key=b"\xff\x00key") if n % 2 else p for n, p in enumerate(pills)]
    produce(broker.bootstrap_servers, worker.input.topic, pills)

    with (
        Driver(top, worker, enricher),
        Reader(broker.bootstrap_servers, worker.dead_letter.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= len(pills))

    dead = sorted(reader.records, key=lambda record: int(record.header("__connect.errors.offset")))
    for pill, record in zip(pills, dead, strict=True):
        assert (record.key, record.value, record.timestamp[1]) == (
            pill.key,
            pill.value,
            pill.timestamp,
        )
        assert record.headers[: len(pill.headers)] == pill.headers
        assert record.header("__connect.errors.topic") == worker.input.topic
        assert record.header("__workers.verdict") in {"decode", "contract"}
        assert record.header("__workers.attempts") == "1"
        added = record.headers[len(pill.headers) :]
        assert sum(len(name) + len(text or b"") for name, text in added) < 4096
        assert all(name.startswith(("__connect.errors.", "__workers.")) for name, _ in added)


def test_bad_rows_reach_the_dead_letter_topic_alone(
    broker: AnyBroker,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    contracts: Catalogue,
) -> None:
    """Forty bad rows at random places of one batch of 4,000: the other 3,960 are enriched."""
    top, worker = isolated(topology, pick(topology, None), broker, partitions=1)
    records = good(flights)
    chosen = sorted(random.Random(7).sample(range(4000), 40))
    kinds = broken(flights[0])[6:8]
    for number, place in enumerate(chosen):
        records[place] = replace(records[place], value=kinds[number % 2].value)
    produce(broker.bootstrap_servers, worker.input.topic, records)

    with (
        Driver(top, worker, enricher) as driver,
        Reader(broker.bootstrap_servers, worker.output.topic, worker.dead_letter.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= 4000)
        driver.stop()
        reader.read(0.5)

    enriched, dead = split(reader.records, worker.dead_letter.topic)
    assert [int(record.header("place")) for record in dead] == chosen
    expected = [f"{worker.name}:{worker.input.topic}:0:{p}" for p in range(4000)]
    for place in chosen:
        expected.remove(f"{worker.name}:{worker.input.topic}:0:{place}")
    assert sorted(ids(enriched, contracts)) == sorted(expected)


@pytest.mark.parametrize("partitioning", list(Partitioning))
def test_order_per_key_is_kept(
    broker: AnyBroker,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    partitioning: Partitioning,
) -> None:
    """In every key, tombstones among the events, the output's order is the input's."""
    plain = pick(topology, None)
    output = plain.output.model_copy(update={"partitioning": partitioning})
    top, worker = isolated(
        topology, plain.model_copy(update={"output": output}), broker, partitions=3
    )
    records = good(flights[:2000], keys=17)
    records = [replace(r, value=None) if n % 7 == 3 else r for n, r in enumerate(records)]
    produce(broker.bootstrap_servers, worker.input.topic, records)

    with (
        Driver(top, worker, enricher),
        Reader(broker.bootstrap_servers, worker.output.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= 2000)

    for key, places in places_by_key(reader.records).items():
        assert places == sorted(places), key
        # One key, one partition: that is what keeps the order.
        assert len({r.partition for r in reader.records if r.key == key}) == 1
    assert all(r.timestamp[1] == 1_700_000_000_000 + int(r.header("place")) for r in reader.records)


def test_what_is_declared_to_be_dropped_is_dropped_and_counted(
    broker: AnyBroker, topology: Topology, flights: list[bytes]
) -> None:
    """`drop` policies: nothing is written for these records, and the offsets move on."""
    policies = {"tombstones": Tombstones.DROP, "unframed": Unframed.DROP}
    plain = pick(topology, None).model_copy(update=policies)
    top, worker = isolated(topology, plain, broker, partitions=1)
    noise = [Sent(None, key=b"k"), Sent(b"text", key=b"k")] * 5
    produce(broker.bootstrap_servers, worker.input.topic, [*noise, *good(flights[:10])])

    with (
        Driver(top, worker, build_enricher(top, worker)) as driver,
        Reader(broker.bootstrap_servers, worker.output.topic, worker.dead_letter.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= 10)
        driver.stop()

    assert (driver.journal.counts.enriched, driver.journal.counts.dropped) == (10, 10)
    if remembers(broker, worker):
        assert committed(broker, worker, 1) == ends(broker, worker, 1)


def test_a_second_life_repeats_nothing(
    broker: AnyBroker,
    delivery: Delivery,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    contracts: Catalogue,
) -> None:
    """After a drain the next start goes on where the last one stopped."""
    top, worker = isolated(topology, pick(topology, None), broker, delivery=delivery)
    if not remembers(broker, worker):
        delivery = Delivery.AT_LEAST_ONCE
        top, worker = isolated(topology, pick(topology, None), broker, delivery=delivery)
    records = good(flights[:1500])
    with Reader(broker.bootstrap_servers, worker.output.topic) as reader:
        for part in (records[:700], records[700:]):
            produce(broker.bootstrap_servers, worker.input.topic, part)
            wanted = len(reader.records) + len(part)
            with Driver(top, worker, enricher):
                reader.until(lambda seen, wanted=wanted: len(seen) >= wanted)  # type: ignore[misc]
        reader.read(0.5)

    found = ids(reader.records, contracts)
    assert len(found) == len(set(found)) == 1500


def test_the_decision_record_begins_with_the_block(
    broker: AnyBroker,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    contracts: Catalogue,
) -> None:
    """One decision a scored event, under its own contract, with the event's key."""
    top, worker = isolated(topology, pick(topology, None), broker)
    assert worker.decisions is not None
    produce(broker.bootstrap_servers, worker.input.topic, good(flights[:200]))

    with (
        Driver(top, worker, enricher),
        Reader(broker.bootstrap_servers, worker.decisions.topic) as decisions,
        Reader(broker.bootstrap_servers, worker.output.topic) as events,
    ):
        decisions.until(lambda seen: len(seen) >= 200)
        events.until(lambda seen: len(seen) >= 200)

    fields = len(enricher.binding.block.field_names)
    made = [_read(contracts, "flights.decisions-value", r.value or b"") for r in decisions.records]
    blocks = {d["decision_id"]: dict(list(d.items())[:fields]) for d in made}
    told = [_read(contracts, "flights.enriched-value", e.value or b"") for e in events.records]
    assert len(blocks) == len(told) == 200
    assert all(event["enrichment"] == blocks[event["enrichment"]["decision_id"]] for event in told)
    assert all(d["event_partition"] is not None and d["numbers"] for d in made)
    assert {r.key for r in decisions.records} == {r.key for r in events.records}
    assert all((record.value or b"")[:5] == b"\x00\x00\x00\x00\xcb" for record in decisions.records)


def _read(contracts: Catalogue, subject: str, value: bytes) -> dict[str, Any]:
    """A framed value as a subscriber with fastavro reads it."""
    versions = contracts.versions(subject).values()
    schema = next(v.schema for v in versions if v.id is not None and v.frame == value[:5])
    read: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema.parsed, None)
    return dict(read)
