"""Clients that are not ours write the input and read what came of it, through one registry."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import (
    Schema,
    SchemaRegistryClient,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.contracts.stub_registry import Entry, StubRegistry
from tests.enrich.test_evolution import add, changed, events
from workers.contracts.catalogue import Catalogue
from workers.contracts.derive import derive, enrichment_block
from workers.contracts.framing import HEADER
from workers.contracts.schema import Schema as Contract
from workers.enrich.path import Enricher
from workers.models.bundle import Bundle
from workers.models.model import Model
from workers.testing import Driver, Reader, RealKafka, RealRegistry, Sent, isolated, produce
from workers.topology import Topology, Worker
from workers.topology.contracts import ContractsPlace
from workers.wiring import contracts_of, pick, policy_of

pytestmark = pytest.mark.kafka
COUNT = 200


@dataclass(frozen=True)
class Place:
    """A worker on Kafka whose contracts a registry has, and a client of that registry."""

    kafka: RealKafka
    url: str
    client: SchemaRegistryClient
    topology: Topology
    worker: Worker
    bundle: Bundle
    second: Contract

    def serializer(self, contract: Contract, **conf: Any) -> AvroSerializer:
        """Confluent's, as its users configure it for production."""
        name = self.worker.input.subject
        settings = {
            "auto.register.schemas": False,
            "subject.name.strategy": lambda *_: name,
            **conf,
        }
        made: AvroSerializer = AvroSerializer(self.client, contract.text, conf=settings)
        return made

    def enriched(self, sent: list[Sent]) -> Reader:
        """What a worker makes of these, read from the output and the decisions."""
        resolver = contracts_of(self.topology, self.worker)
        resolver.close()
        enricher = Enricher(policy_of(self.worker), resolver.catalogue, Model(self.bundle))
        assert self.worker.decisions is not None
        topics = (self.worker.output.topic, self.worker.decisions.topic)
        servers = self.kafka.bootstrap_servers
        dead = self.worker.dead_letter.topic
        produce(servers, self.worker.input.topic, sent)
        with Driver(self.topology, self.worker, enricher), Reader(servers, *topics, dead) as reader:
            reader.until(lambda seen: len(seen) >= 2 * len(sent))
        assert dead not in {record.topic for record in reader.records}
        return reader


def schemas(contracts: Catalogue, second: Contract) -> list[tuple[str, str]]:
    """Subjects and texts, in the order in which they are registered."""
    first = contracts.versions("flights-value")[1].schema
    block = enrichment_block()
    listed = [
        ("flights-value", first),
        ("flights-value", second),
        ("flights.enriched-value", derive(first, block)),
        ("flights.enriched-value", derive(second, block)),
        ("flights.decisions-value", block),
    ]
    return [(subject, contract.text.strip()) for subject, contract in listed]


@pytest.fixture
def second(contracts: Catalogue) -> Contract:
    """A newer version with one more optional field."""
    first = contracts.versions("flights-value")[1].schema
    return changed(first, add("gate", ["null", "string"], default=None))


@pytest.fixture
def place(
    kafka: RealKafka,
    registry: RealRegistry,
    topology: Topology,
    contracts: Catalogue,
    bundle: Bundle,
    second: Contract,
    tmp_path: Path,
) -> Iterator[Place]:
    """Registered by their client, resolved by ours."""
    with SchemaRegistryClient({"url": registry.url}) as client:
        for subject, text in schemas(contracts, second):
            client.register_schema(subject, Schema(text, "AVRO"))
        yield _place(kafka, registry.url, client, topology, bundle, second, tmp_path)


def _place(
    kafka: RealKafka,
    url: str,
    client: SchemaRegistryClient,
    topology: Topology,
    bundle: Bundle,
    second: Contract,
    tmp_path: Path,
) -> Place:
    there = {"registry": {"url": url, "cache": str(tmp_path / "cache"), "timeout": "20s"}}
    own = topology.model_copy(update={"contracts": ContractsPlace.model_validate(there)})
    top, worker = isolated(own, pick(own, None), kafka)
    return Place(kafka, url, client, top, worker, bundle, second)


def value_of(topic: str, headers: list[Any] | None = None) -> SerializationContext:
    """A record's value."""
    return SerializationContext(topic, MessageField.VALUE, headers)


def test_confluents_serializer_writes_and_its_deserializer_reads(
    place: Place, contracts: Catalogue, flights: list[bytes]
) -> None:
    """Two versions at once; every event comes back as it went in, with the block."""
    first = contracts.versions("flights-value")[1].schema
    before = events(first, flights[:COUNT])
    after = [{**event, "gate": "B7"} for event in before]
    topic = place.worker.input.topic
    sent = []
    for contract, items in ((first, before), (place.second, after)):
        write = place.serializer(contract)
        sent += [
            Sent(write(item, value_of(topic)), key=item["flight_id"].encode()) for item in items
        ]

    records = place.enriched(sent).records

    read = AvroDeserializer(place.client)
    assert place.worker.decisions is not None
    got: dict[tuple[bytes | None, bool], Any] = {}
    decisions = dict[str, Any]()
    for record in records:
        event: Any = read(record.value, value_of(record.topic))
        if record.topic == place.worker.decisions.topic:
            decisions[event["decision_id"]] = event
        else:
            got[record.key, "gate" in event] = event
    assert len(got) == 2 * COUNT
    for item in before + after:
        event = got[item["flight_id"].encode(), "gate" in item]
        block = event.pop("enrichment")
        assert event == item
        assert block == decisions[block["decision_id"]]
        assert isinstance(block["scored_at"], datetime.datetime)


def test_ids_in_headers_are_read(
    kafka: RealKafka,
    topology: Topology,
    contracts: Catalogue,
    bundle: Bundle,
    second: Contract,
    flights: list[bytes],
    tmp_path: Path,
) -> None:
    """GUIDs, which Apicurio does not give: this registry is a stub; the clients are real."""
    first = contracts.versions("flights-value")[1].schema
    with StubRegistry() as stub, SchemaRegistryClient({"url": stub.url}) as client:
        numbers: dict[str, int] = {}
        for given, (subject, text) in enumerate(schemas(contracts, second), 11):
            numbers[subject] = numbers.get(subject, 0) + 1
            entry = Entry(given, text, guid=str(uuid.uuid4()))
            stub.add(subject, numbers[subject], entry)
        place = _place(kafka, stub.url, client, topology, bundle, second, tmp_path)
        write = place.serializer(
            second,
            **{"schema.id.serializer": header_schema_id_serializer, "use.latest.version": True},
        )
        sent = []
        for item in events(first, flights[:50]):
            headers: list[Any] = []
            value = write({**item, "gate": "B7"}, value_of(place.worker.input.topic, headers))
            assert [(name, len(content)) for name, content in headers] == [(HEADER, 17)]
            sent.append(Sent(value, key=item["flight_id"].encode(), headers=headers))

        records = place.enriched(sent).records

        named = {"subject.name.strategy": lambda *_: "flights.enriched-value"}
        read = AvroDeserializer(client, conf=named)
        output = [r for r in records if r.topic == place.worker.output.topic]
        for record in output:
            event: Any = read(record.value, value_of(record.topic, record.headers))
            assert event["gate"] == "B7"
            assert HEADER not in dict(record.headers)
    assert len(output) == 50


@pytest.fixture(scope="session")
def java(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """How the Java reader is started; its jars come from Maven once."""
    for tool in ("javac", "mvn"):
        assert shutil.which(tool), f"{tool} is not installed; a JDK 17 and Maven are needed"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    jars = cache / "enrichment-workers" / "interop-avro-1.12.1-kafka-4.1.1"
    here = Path(__file__).parent / "java"
    if not (jars / ".complete").exists():
        plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
        command = ["mvn", "-q", "-B", "-f", str(here / "pom.xml"), plugin]
        subprocess.run([*command, f"-DoutputDirectory={jars}"], check=True)
        (jars / ".complete").touch()
    classes = tmp_path_factory.mktemp("classes")
    subprocess.run(
        ["javac", "-cp", f"{jars}/*", "-d", str(classes), str(here / "Read.java")], check=True
    )
    return ("java", "-Xmx256m", "-cp", f"{classes}:{jars}/*", "Read")


def test_a_java_consumer_reads_the_enriched_topic(
    place: Place, contracts: Catalogue, flights: list[bytes], java: tuple[str, ...]
) -> None:
    """Apache Avro's Java, with the schema that the record's id names: nothing is left over."""
    first = contracts.versions("flights-value")[1].schema
    write = place.serializer(first)
    items = events(first, flights[:COUNT])
    topic = place.worker.input.topic
    sent = [Sent(write(item, value_of(topic)), key=item["flight_id"].encode()) for item in items]
    records = place.enriched(sent).records
    servers, output = place.kafka.bootstrap_servers, place.worker.output.topic

    done = subprocess.run(
        [*java, servers, place.url, output, str(COUNT)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    seen = {}
    for line in done.stdout.splitlines():
        number, _, text = line.partition("\t")
        event = json.loads(text)
        seen[event["flight_id"]] = (int(number), event)
    read = AvroDeserializer(place.client)
    ours: dict[str, Any] = {}
    for record in records:
        if record.topic == output and record.value is not None:
            found: Any = read(record.value, value_of(output))
            ours[found["flight_id"]] = (int.from_bytes(record.value[1:5], "big"), found)
    assert seen.keys() == ours.keys()
    for flight, (number, event) in ours.items():
        assert seen[flight] == (number, as_java(event))


def as_java(value: Any) -> Any:
    """A value as Java's generic record prints it: instants in ISO 8601 or milliseconds."""
    if isinstance(value, datetime.datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, dict):
        return {key: as_java(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_java(item) for item in value]
    return value
