"""Hostile records between good ones, through the real worker."""

from __future__ import annotations

import pytest

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
