"""What may pass by itself is tried again: at once, then by way of topics, then it is given up."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.traffic import good, ids
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.enrich.path import Enricher
from workers.models.bundle import Bundle
from workers.models.model import Model
from workers.testing import Driver, EmbeddedBroker, Reader, RealKafka, Sent, produce
from workers.topology import Delivery, Topology, Worker, load
from workers.wiring import contracts_of, policy_of, topics_of

AnyBroker = EmbeddedBroker | RealKafka
EVENTS = 120
DELAYS = ("300ms", "500ms")
CONSUMER = {
    RealKafka: "{session.timeout.ms: 6000}",
    # It writes the end of a transaction without a checksum.
    EmbeddedBroker: ("{session.timeout.ms: 1500, heartbeat.interval.ms: 500, check.crcs: false}"),
}


class Flaky:
    """A booster whose native library fails so often, and then no more."""

    def __init__(self, model: Model, failures: int) -> None:
        self._booster = model._booster
        self.left = failures

    def predict(self, matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Fail as LightGBM may."""
        if self.left > 0:
            self.left -= 1
            raise RuntimeError("native failure")
        return self._booster.predict(matrix)


@dataclass
class Rig:
    """A worker and those that retry for it, on topics of its own."""

    topology: Topology
    bundle: Bundle

    @property
    def workers(self) -> list[Worker]:
        """The worker first, then its tiers in their order."""
        return list(self.topology.workers.values())

    def driver(self, worker: Worker, failures: int) -> Driver:
        """One of them, whose model fails so many batches."""
        resolver = contracts_of(self.topology, worker)
        resolver.close()
        model = Model(self.bundle)
        flaky = model.scored_by(Flaky(model, failures))
        enricher = Enricher(policy_of(worker), resolver.catalogue, flaky)
        return Driver(self.topology, worker, enricher)


def write(place: Path, delivery: Delivery, broker: AnyBroker, tries: int) -> Topology:
    """The demo's topology, with retries."""
    tag = uuid.uuid4().hex[:8]
    topics = [{"topic": f"again-{delay}.{tag}", "delay": delay} for delay in DELAYS]
    text = (ROOT / "topology.yaml").read_text()
    for topic in ("flights", "flights.enriched", "flights.dlq", "flights.decisions"):
        subject = "" if topic == "flights.dlq" else f", subject: {topic}-value"
        text = text.replace(f"topic: {topic}}}", f"topic: {topic}.{tag}{subject}}}")
    text = text.replace("exactly_once", delivery.value).replace(
        "on_model_failure: fallback",
        "on_model_failure: dead_letter\n"
        f"    group: g.{tag}\n    transactional_id: t.{tag}\n"
        f"    consumer: {CONSUMER[type(broker)]}\n"
        f"    retries: {{tries: {tries}, wait: 10ms, topics: {topics}}}",
    )
    text = text.replace("directory: schemas", f"directory: {ROOT / 'schemas'}")
    text = text.replace("directory: models", f"directory: {ROOT / 'models'}")
    place.write_text(text)
    return load(place, {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers})


@pytest.fixture
def rig(broker: AnyBroker, delivery: Delivery, bundle: Bundle, tmp_path: Path) -> Rig:
    """Two retry topics, and one try at once."""
    topology = write(tmp_path / "t.yaml", delivery, broker, tries=1)
    for topic in {t for worker in topology.workers.values() for t in topics_of(worker).values()}:
        # Another number of partitions than the input's.
        broker.create_topic(topic, 2 if topic.startswith("again") else 4)
    return Rig(topology, bundle)


def test_what_fails_for_a_moment_is_enriched_at_the_next_try(
    rig: Rig, broker: AnyBroker, flights: list[bytes], contracts: Catalogue
) -> None:
    """In the same batch, in its order; nothing leaves for a retry topic."""
    worker = rig.workers[0]
    servers = broker.bootstrap_servers
    produce(servers, worker.input.topic, good(flights[:EVENTS]))

    with (
        rig.driver(worker, 1) as driver,
        Reader(servers, worker.output.topic) as enriched,
        Reader(servers, rig.workers[1].input.topic, worker.dead_letter.topic) as others,
    ):
        enriched.until(lambda seen: len(seen) >= EVENTS)
        others.read(0.3)

    assert len(set(ids(enriched.records, contracts))) == EVENTS
    assert not others.records
    assert driver.journal.counts.tried_again > 0
    per_key: dict[bytes | None, list[int]] = {}
    for record in enriched.records:
        per_key.setdefault(record.key, []).append(int(record.header("place")))
    assert all(places == sorted(places) for places in per_key.values())


def test_what_fails_for_longer_is_enriched_by_way_of_the_retry_topics(
    rig: Rig, broker: AnyBroker, flights: list[bytes], contracts: Catalogue
) -> None:
    """Each once, with the decision id, key, headers and timestamp that the first try would have."""
    first, second, third = rig.workers
    servers = broker.bootstrap_servers
    sent = good(flights[:EVENTS])
    produce(servers, first.input.topic, sent)

    with (
        rig.driver(first, 10_000) as one,
        rig.driver(second, 10_000) as two,
        rig.driver(third, 0) as three,
        Reader(servers, first.output.topic) as enriched,
        Reader(servers, first.dead_letter.topic) as dead,
    ):
        enriched.until(lambda seen: len(seen) >= EVENTS)
        dead.read(0.3)
        for driver in (one, two, three):
            driver.check()

    found = ids(enriched.records, contracts)
    assert len(found) == len(set(found)) == EVENTS
    stem = f"{first.name}:{first.input.topic}:"
    assert all(each.startswith(stem) for each in found)
    assert not dead.records
    assert (one.journal.counts.delayed, two.journal.counts.delayed) == (EVENTS, EVENTS)
    assert not one.journal.counts.rejected
    by_place = {int(record.header("place")): record for record in enriched.records}
    assert by_place.keys() == set(range(EVENTS))
    for place, record in by_place.items():
        assert (record.key, record.timestamp) == (sent[place].key, (1, sent[place].timestamp))
        assert [name for name, _ in record.headers] == ["place"]


def test_what_never_passes_is_a_dead_letter_of_where_it_first_came_from(
    rig: Rig, broker: AnyBroker, flights: list[bytes]
) -> None:
    """Byte for byte, counted by its tries; what cannot pass does not wait at all."""
    workers = rig.workers
    servers, source = broker.bootstrap_servers, workers[0].input.topic
    sent = [
        Sent(frame(1) + datum, b"k", [("own", b"\xff")], 1_700_000_000_000, 3)
        for datum in flights[:5]
    ]
    produce(servers, source, [*sent, Sent(frame(1) + b"\xff", b"bad", partition=3)])

    with (
        rig.driver(workers[0], 10_000),
        rig.driver(workers[1], 10_000),
        rig.driver(workers[2], 10_000),
        Reader(servers, workers[0].dead_letter.topic) as dead,
    ):
        dead.until(lambda seen: len(seen) >= 1)
        assert dead.records[0].header("__workers.code") == "malformed"
        dead.until(lambda seen: len(seen) >= 6)

    later = dead.records[1:]
    assert sorted(int(r.header("__connect.errors.offset")) for r in later) == list(range(5))
    for record in later:
        offset = int(record.header("__connect.errors.offset"))
        assert (record.value, record.key) == (sent[offset].value, b"k")
        assert record.headers[0] == ("own", b"\xff")
        assert not any(name.startswith("__workers.retry") for name, _ in record.headers)
        assert record.header("__connect.errors.topic") == source
        assert record.header("__connect.errors.partition") == "3"
        assert record.header("__workers.code") == "model_failed"
        assert record.header("__workers.worker") == workers[0].name
        assert record.header("__workers.attempts") == "3"
