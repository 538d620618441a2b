"""A worker on Kafka, its contracts in a registry, and a client of it that is not ours."""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.enrich.test_evolution import add, changed
from workers.cli import app
from workers.contracts.catalogue import Catalogue
from workers.contracts.schema import Schema
from workers.enrich.path import Enricher
from workers.models.bundle import Bundle, ContractRef
from workers.models.model import Model
from workers.testing import Driver, Reader, RealKafka, Sent, isolated, produce
from workers.topology import Topology, Worker, load
from workers.wiring import contracts_of, pick, policy_of

ROOT = Path(__file__).parents[2]
LEG = {
    "type": "record",
    "name": "Leg",
    "fields": [{"name": "airport", "type": "string"}, {"name": "minutes", "type": "int"}],
}


def value_of(topic: str, headers: list[Any] | None = None) -> SerializationContext:
    """A record's value."""
    return SerializationContext(topic, MessageField.VALUE, headers)


def newer(first: Schema) -> Schema:
    """A newer version: an optional field, and an array, which writers may cut into blocks."""
    legs = {"type": "array", "items": LEG}
    return changed(
        first,
        add("gate", ["null", "string"], default=None, doc="Where it stood."),
        add("legs", legs, default=[], doc="Where it flew before."),
    )


def registered(folder: Path, url: str, second: Schema) -> Topology:
    """The demo's contracts and a newer version, put into a registry by our own commands.

    Topics and subjects have names that nobody used before: the registry may be somebody's.
    """
    tag = f"flights-{uuid.uuid4().hex[:8]}"
    schemas = folder / "schemas"
    shutil.copytree(ROOT / "schemas", schemas, ignore=shutil.ignore_patterns("contracts.lock"))
    shutil.copytree(ROOT / "models", folder / "models")
    for about in list(schemas.glob("*/subject.yaml")):
        about.write_text(about.read_text().replace("flights", tag))
        about.parent.rename(schemas / about.parent.name.replace("flights", tag))
    home = schemas / f"{tag}-value"
    (home / "v2.avsc").write_text(json.dumps(second.document, indent=2) + "\n")
    with (home / "subject.yaml").open("a") as file:
        file.write("  2: {change: Gate and legs.}\n")
    place = {"url": url, "timeout": "20s", "cache": str(folder / "cache")}
    topology = folder / "topology.yaml"
    text = (ROOT / "topology.yaml").read_text().replace("flights", tag)
    wanted = f"  directory: schemas\n  registry: {json.dumps(place)}"
    topology.write_text(text.replace("  directory: schemas", wanted))
    for command in (["derive"], ["register", "--yes"]):
        code = app(["contracts", *command, "--topology", str(topology)], standalone_mode=False)
        assert code == 0, f"workers contracts {' '.join(command)} ended with {code}"
    return load(topology, {})


@dataclass(frozen=True)
class Place:
    """A worker with topics of its own, and Confluent's client of the worker's registry."""

    kafka: RealKafka
    url: str
    client: SchemaRegistryClient
    topology: Topology
    worker: Worker
    contracts: Catalogue
    bundle: Bundle

    @property
    def decisions(self) -> str:
        """Its topic of decisions."""
        assert self.worker.decisions is not None
        return self.worker.decisions.topic

    def version(self, number: int) -> Schema:
        """A version of the input."""
        return self.contracts.versions(self.worker.input.subject)[number].schema

    def id_of(self, subject: str, number: int) -> int:
        """What the registry calls a version."""
        given = self.contracts.versions(subject)[number].id
        assert given is not None
        return given

    def serializer(self, contract: Schema, **conf: Any) -> AvroSerializer:
        """Confluent's, as its users configure it for production."""
        name = self.worker.input.subject
        settings = {
            "auto.register.schemas": False,
            "subject.name.strategy": lambda *_: name,
            **conf,
        }
        made: AvroSerializer = AvroSerializer(self.client, contract.text, conf=settings)
        return made

    def framed(self, contract: Schema, items: list[dict[str, Any]], **conf: Any) -> list[Sent]:
        """Records as their serializer writes them, the flight as key."""
        write, sent = self.serializer(contract, **conf), []
        for item in items:
            headers: list[Any] = []
            value = write(item, value_of(self.worker.input.topic, headers))
            sent.append(Sent(value, key=item["flight_id"].encode(), headers=headers))
        return sent

    def enriched(self, sent: list[Sent]) -> Reader:
        """What a worker makes of these, read from the output and the decisions."""
        produce(self.kafka.bootstrap_servers, self.worker.input.topic, sent)
        return self.worked(len(sent))

    def worked(self, count: int, dead: int = 0) -> Reader:
        """What a worker makes of that many records in its input, so many of them dead letters."""
        built = ContractRef(subject=self.worker.input.subject, version=1)
        manifest = self.bundle.manifest.model_copy(update={"contract": built})
        model = Model(replace(self.bundle, manifest=manifest))
        enricher = Enricher(policy_of(self.worker), self.contracts, model)
        letters = self.worker.dead_letter.topic
        topics = (self.worker.output.topic, self.decisions, letters)
        with (
            Driver(self.topology, self.worker, enricher),
            Reader(self.kafka.bootstrap_servers, *topics) as reader,
        ):
            # One dead letter too many ends the wait: what is missing would never come.
            reader.until(
                lambda seen: (
                    len(seen) >= 2 * (count - dead) + dead
                    or sum(record.topic == letters for record in seen) > dead
                )
            )
        codes = [r.header("__workers.code") for r in reader.records if r.topic == letters]
        assert len(codes) == dead, f"dead letters: {sorted(set(codes))}"
        return reader


def at(kafka: RealKafka, client: SchemaRegistryClient, topology: Topology, bundle: Bundle) -> Place:
    """A worker of that topology on topics of its own."""
    top, worker = isolated(topology, pick(topology, None), kafka)
    assert top.contracts.registry is not None
    resolver = contracts_of(top, worker)
    resolver.close()
    url = str(top.contracts.registry.url).rstrip("/")
    return Place(kafka, url, client, top, worker, resolver.catalogue, bundle)
