"""A worker takes new versions while it runs; a registry that is down is not poison."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import pytest

from tests.contracts.stub_registry import Entry, StubRegistry, blackhole, html, status
from tests.enrich.test_evolution import add, changed, encoded, events
from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.derive import derive, enrichment_block
from workers.contracts.framing import frame
from workers.contracts.schema import Schema
from workers.enrich.path import Enricher
from workers.errors import ContractError
from workers.models.bundle import Bundle
from workers.models.model import Model
from workers.testing import Driver, EmbeddedBroker, Reader, RealKafka, Sent, isolated, produce
from workers.topology import Delivery, Topology, Worker
from workers.topology.contracts import ContractsPlace
from workers.wiring import contracts_of, pick, policy_of

AnyBroker = EmbeddedBroker | RealKafka
NEW = 7
DERIVED = 107


def register(registry: StubRegistry, entry: Registered) -> None:
    """Put a version into the registry."""
    assert entry.id is not None
    registry.add(entry.subject, entry.version, Entry(entry.id, entry.schema.text))


@pytest.fixture
def registry(contracts: Catalogue) -> Iterator[StubRegistry]:
    """A registry with the shipped contracts."""
    with StubRegistry() as stub:
        for entry in contracts:
            register(stub, entry)
        yield stub


@pytest.fixture
def by_registry(topology: Topology, registry: StubRegistry, tmp_path: Path) -> Topology:
    """The demo's topology with contracts from the registry."""
    place = ContractsPlace.model_validate(
        {
            "registry": {
                "url": registry.url,
                "cache": str(tmp_path / "cache"),
                "timeout": "300ms",
                "refresh": "1h",
            }
        }
    )
    return topology.model_copy(update={"contracts": place})


@pytest.fixture
def second(contracts: Catalogue) -> Schema:
    """A newer version with one more optional field."""
    first = contracts.versions("flights-value")[1].schema
    return changed(first, add("gate", ["null", "string"], default=None))


def released(second: Schema) -> list[Registered]:
    """The newer version and what is derived from it."""
    output = derive(second, enrichment_block())
    return [
        Registered("flights-value", 2, NEW, second),
        Registered("flights.enriched-value", 3, DERIVED, output),
    ]


def mixed(
    contracts: Catalogue, second: Schema, flights: list[bytes], new_in: Collection[int] = (0,)
) -> list[Sent]:
    """40 records in each of four partitions; in `new_in` the 21st and on are of version 2."""
    first = contracts.versions("flights-value")[1].schema
    newer = encoded(second, [{**event, "gate": "B7"} for event in events(first, flights[:40])])
    sent = list[Sent]()
    for partition in range(4):
        for place in range(40):
            is_new = partition in new_in and place >= 20
            value = frame(NEW) + newer[place] if is_new else frame(1) + flights[place]
            key = b"of %d" % partition
            sent.append(Sent(value, key, [("place", b"%d" % place)], partition=partition))
    return sent


def bound(topology: Topology, worker: Worker, bundle: Bundle) -> Enricher:
    """The worker's path with the contracts as its topology finds them now."""
    resolver = contracts_of(topology, worker)
    resolver.close()
    return Enricher(policy_of(worker), resolver.catalogue, Model(bundle))


@dataclass(frozen=True)
class Outage:
    """What an outage needs: a topology whose contracts a registry has, and what is new."""

    topology: Topology
    registry: StubRegistry
    contracts: Catalogue
    flights: list[bytes]
    second: Schema
    bundle: Bundle

    def play(self, broker: AnyBroker, delivery: Delivery, mood: Any) -> None:
        """Records of a version that comes while the registry is in that mood."""
        by_registry, registry = self.topology, self.registry
        contracts, flights, second, bundle = self.contracts, self.flights, self.second, self.bundle
        top, worker = isolated(by_registry, pick(by_registry, None), broker, delivery=delivery)
        enricher = bound(top, worker, bundle)
        topics = (worker.output.topic, worker.dead_letter.topic)
        registry.mood = mood
        produce(broker.bootstrap_servers, worker.input.topic, mixed(contracts, second, flights))

        with (
            Driver(top, worker, enricher) as driver,
            Reader(broker.bootstrap_servers, *topics) as reader,
        ):
            reader.until(lambda seen: len(seen) == 140)
            driver.until(lambda: registry.url in driver.loop.stopped_partitions.get(0, ""))
            assert list(driver.loop.stopped_partitions) == [0]
            assert f"id {NEW}" in driver.loop.stopped_partitions[0]
            registry.restart()
            for entry in released(second):
                register(registry, entry)
            registry.mood = None
            reader.until(lambda seen: len(seen) >= 160)
            driver.until(lambda: not driver.loop.stopped_partitions)
            reader.read(0.3)

        assert {record.topic for record in reader.records} == {worker.output.topic}
        of_first = [r for r in reader.records if r.value and r.value.startswith(frame(DERIVED))]
        assert [int(r.header("place")) for r in of_first] == list(range(20, 40))
        assert len(reader.records) == 160
        event: Any = fastavro.schemaless_reader(
            io.BytesIO((of_first[0].value or b"")[5:]),
            derive(second, enrichment_block()).parsed,
            None,
        )
        assert event["gate"] == "B7"


@pytest.fixture
def outage(  # every part of it is a fixture
    by_registry: Topology,
    registry: StubRegistry,
    contracts: Catalogue,
    flights: list[bytes],
    second: Schema,
    bundle: Bundle,
) -> Outage:
    """The demo with its contracts in a registry."""
    return Outage(by_registry, registry, contracts, flights, second, bundle)


def test_a_registry_that_is_down_holds_what_needs_it_and_nothing_else(
    broker: AnyBroker, delivery: Delivery, outage: Outage
) -> None:
    """Then the version and its output are taken without a restart: all enriched, once, in order."""
    outage.play(broker, delivery, status(500))


@pytest.mark.parametrize("mood", [html, blackhole])
def test_however_the_registry_is_down(embedded: EmbeddedBroker, outage: Outage, mood: Any) -> None:
    """A page of HTML, and no answer at all."""
    outage.play(embedded, Delivery.EXACTLY_ONCE, mood)


@pytest.mark.kafka
@pytest.mark.faults
def test_held_partitions_move_with_the_group(
    kafka: RealKafka, delivery: Delivery, outage: Outage
) -> None:
    """A member joins and one leaves while all are held: each record once, in order.

    So those that come back to a member are ones that it had paused.
    """
    top, worker = isolated(outage.topology, pick(outage.topology, None), kafka, delivery=delivery)
    servers, topics = kafka.bootstrap_servers, (worker.output.topic, worker.dead_letter.topic)
    enrichers = [bound(top, worker, outage.bundle) for _ in range(2)]
    outage.registry.mood = status(500)
    sent = mixed(outage.contracts, outage.second, outage.flights, new_in=range(4))
    produce(servers, worker.input.topic, sent)

    first = Driver(top, worker, enrichers[0], slot=0)
    with Reader(servers, *topics) as reader, Driver(top, worker, enrichers[1], slot=1) as second:
        reader.until(lambda seen: len(seen) == 80)
        second.until(lambda: len(second.loop.stopped_partitions) == 4)
        first.start()
        first.until(lambda: bool(first.loop.partitions))
        second.until(lambda: len(second.loop.stopped_partitions) < 4)
        first.stop()
        second.until(lambda: len(second.loop.stopped_partitions) == 4)
        outage.registry.restart()
        for entry in released(outage.second):
            register(outage.registry, entry)
        outage.registry.mood = None
        reader.until(lambda seen: len(seen) >= 160)
        reader.read(0.5)

    assert {record.topic for record in reader.records} == {worker.output.topic}
    assert len(reader.records) == 160
    newer = [r for r in reader.records if r.value and r.value.startswith(frame(DERIVED))]
    for partition in range(4):
        places = [int(r.header("place")) for r in newer if r.key == b"of %d" % partition]
        assert places == list(range(20, 40))


def test_an_id_that_the_registry_denies_twice_is_a_dead_letter(
    broker: AnyBroker,
    by_registry: Topology,
    registry: StubRegistry,
    flights: list[bytes],
    bundle: Bundle,
) -> None:
    """And the records behind it go on."""
    top, worker = isolated(by_registry, pick(by_registry, None), broker)
    enricher = bound(top, worker, bundle)
    values = [frame(1) + flights[0], frame(4711) + flights[1], frame(1) + flights[2]]
    sent = [Sent(value, b"k", partition=2) for value in values]

    with (
        Driver(top, worker, enricher) as driver,
        Reader(broker.bootstrap_servers, worker.output.topic, worker.dead_letter.topic) as reader,
    ):
        produce(broker.bootstrap_servers, worker.input.topic, sent)
        reader.until(lambda seen: len(seen) == 3)
        assert driver.journal.counts.rejected == {"contract": 1}

    dead = [r for r in reader.records if r.topic == worker.dead_letter.topic]
    assert [r.value for r in dead] == [values[1]]
    assert dead[0].header("__workers.code") == "unknown_schema"
    assert registry.paths().count("/schemas/ids/4711") == 2


def test_a_worker_starts_during_an_outage_with_what_it_kept(
    embedded: EmbeddedBroker,
    by_registry: Topology,
    registry: StubRegistry,
    flights: list[bytes],
    bundle: Bundle,
) -> None:
    """Schemas are on disk since the last start; with none there it says so and does not run."""
    top, worker = isolated(by_registry, pick(by_registry, None), embedded)
    bound(top, worker, bundle)
    registry.mood = status(503)

    with (
        Driver(top, worker, bound(top, worker, bundle)),
        Reader(embedded.bootstrap_servers, worker.output.topic) as reader,
    ):
        values = [Sent(frame(1) + datum, b"k") for datum in flights[:50]]
        produce(embedded.bootstrap_servers, worker.input.topic, values)
        reader.until(lambda seen: len(seen) == 50)

    assert by_registry.contracts.registry is not None
    for file in Path(str(by_registry.contracts.registry.cache)).rglob("*.json"):
        file.unlink()
    with pytest.raises(ContractError, match="503"):
        bound(top, worker, bundle)


def test_a_new_version_in_the_directory_is_taken(
    embedded: EmbeddedBroker,
    topology: Topology,
    contracts: Catalogue,
    flights: list[bytes],
    second: Schema,
    bundle: Bundle,
    tmp_path: Path,
) -> None:
    """No registry: the files are looked at when an id comes that they did not have."""
    folder = copied(topology, tmp_path)
    place = ContractsPlace(directory=folder)
    own = topology.model_copy(update={"contracts": place})
    top, worker = isolated(own, pick(own, None), embedded)

    with (
        Driver(top, worker, bound(top, worker, bundle)),
        Reader(embedded.bootstrap_servers, worker.output.topic) as reader,
    ):
        release_files(folder, second)
        sent = mixed(contracts, second, flights)
        produce(embedded.bootstrap_servers, worker.input.topic, sent)
        reader.until(lambda seen: len(seen) == 160)

    assert worker.dead_letter.topic not in {record.topic for record in reader.records}


def copied(topology: Topology, tmp_path: Path) -> Path:
    """The shipped contracts, to be changed."""
    import shutil

    assert topology.contracts.directory is not None
    return Path(shutil.copytree(topology.contracts.directory, tmp_path / "schemas"))


def release_files(folder: Path, second: Schema) -> None:
    """Write the newer version and its output beside the others."""
    for entry in released(second):
        home = folder / entry.subject
        (home / f"v{entry.version}.avsc").write_text(entry.schema.text)
        with (home / "subject.yaml").open("a") as file:
            file.write(f"  {entry.version}: {{id: {entry.id}}}\n")
