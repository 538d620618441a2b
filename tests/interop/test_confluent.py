"""Confluent's own serialisers write the input and read what came of it, through one registry."""

from __future__ import annotations

import datetime
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import (
    SchemaRegistryClient,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer

from tests.contracts.stub_registry import Entry, StubRegistry
from tests.enrich.test_evolution import encoded, events
from tests.interop.place import Place, at, value_of
from workers.contracts.framing import HEADER, frame
from workers.models.bundle import Bundle
from workers.testing import OutRecord, RealKafka, produce
from workers.topology.contracts import ContractsPlace

pytestmark = pytest.mark.kafka
COUNT = 200
GUIDS: dict[str, Any] = {
    "schema.id.serializer": header_schema_id_serializer,
    "use.latest.version": True,
}
LEGS = [{"airport": "BOS", "minutes": 61}, {"airport": "", "minutes": -1}]


def flown(place: Place, flights: list[bytes]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Events of both versions; the flights of the second are those of the first."""
    before = events(place.version(1), flights)
    return before, [{**event, "gate": "B7", "legs": LEGS} for event in before]


def read(client: SchemaRegistryClient, record: OutRecord, **conf: Any) -> dict[str, Any]:
    """An event by their deserialiser."""
    found: Any = AvroDeserializer(client, conf=conf)(
        record.value, value_of(record.topic, record.headers)
    )
    return dict(found)


def assert_enriched(
    place: Place, records: list[OutRecord], items: list[dict[str, Any]], **conf: Any
) -> None:
    """Each item is there once, as it was, with the block that its decision is too."""
    enriched = [r for r in records if r.topic == place.worker.output.topic]
    decided = [r for r in records if r.topic == place.decisions]
    decisions = {found["decision_id"]: found for found in (read(place.client, r) for r in decided)}
    got = [(r.key, read(place.client, r, **conf)) for r in enriched]
    blocks = [event.pop("enrichment") for _, event in got]

    def order(item: dict[str, Any]) -> tuple[str, bool]:
        return item["flight_id"], "gate" in item

    assert sorted((event for _, event in got), key=order) == sorted(items, key=order)
    assert [key for key, _ in got] == [event["flight_id"].encode() for _, event in got]
    # A decision record begins with the block and goes on with what it was made of.
    begun = {at: {name: said[name] for name in blocks[0]} for at, said in decisions.items()}
    assert {block["decision_id"]: block for block in blocks} == begun
    assert {said["event_topic"] for said in decisions.values()} == {place.worker.input.topic}
    assert len(decisions) == len(items)
    assert {type(block["scored_at"]) for block in blocks} == {datetime.datetime}


def test_confluents_serializer_writes_and_its_deserializer_reads(
    place: Place, flights: list[bytes]
) -> None:
    """Two versions at once, found in the registry by the text that our command registered."""
    before, after = flown(place, flights[:COUNT])
    first, second = (place.framed(place.version(n), i) for n, i in ((1, before), (2, after)))
    mixed = [sent for pair in zip(first, second, strict=True) for sent in pair]

    reader = place.enriched(mixed)

    assert_enriched(place, reader.records, before + after)


def test_the_latest_version_of_the_subject_is_written(place: Place, flights: list[bytes]) -> None:
    """`use.latest.version`: the schema is the registry's, not the producer's."""
    _, after = flown(place, flights[:20])

    sent = place.framed(place.version(1), after, **{"use.latest.version": True})

    number = place.id_of(place.worker.input.subject, 2)
    assert {(record.value or b"")[:5] for record in sent} == {frame(number)}
    assert_enriched(place, place.enriched(sent).records, after)


def test_what_we_frame_they_read(place: Place, flights: list[bytes]) -> None:
    """Byte for byte what their own serialiser writes."""
    _, items = flown(place, flights[:COUNT])
    number = place.id_of(place.worker.input.subject, 2)

    ours = [frame(number) + datum for datum in encoded(place.version(2), items)]

    assert ours == [sent.value for sent in place.framed(place.version(2), items)]
    topic = place.worker.input.topic
    assert [AvroDeserializer(place.client)(value, value_of(topic)) for value in ours] == items


def number_in_header(payload: bytes, ctx: Any, schema_id: Any) -> bytes:
    """The id, not the GUID, in the header: for registries that give no GUIDs."""
    ctx.headers.append((HEADER, schema_id.id_to_bytes()))
    return payload


def test_ids_in_headers_are_read_and_do_not_go_on(place: Place, flights: list[bytes]) -> None:
    """What is enriched has its own id before the value; with the old header it would be misread."""
    _, items = flown(place, flights[:COUNT])
    conf = {"schema.id.serializer": number_in_header}
    sent = place.framed(place.version(2), items, **conf)
    number = place.id_of(place.worker.input.subject, 2)
    assert {tuple(record.headers) for record in sent} == {((HEADER, frame(number)),)}

    records = place.enriched(sent).records

    assert not any(HEADER in dict(record.headers) for record in records)
    assert_enriched(place, records, items)


def test_a_dead_letter_with_its_id_in_a_header_is_still_read(
    place: Place, flights: list[bytes]
) -> None:
    """Value and headers are as they came, so who repairs it reads it as the worker would have."""
    _, items = flown(place, flights[:3])
    items[1]["temperature"] = float("inf")
    conf = {"schema.id.serializer": number_in_header}
    sent = place.framed(place.version(2), items, **conf)
    produce(place.kafka.bootstrap_servers, place.worker.input.topic, sent)

    records = place.worked(len(sent), dead=1).records

    letters = [r for r in records if r.topic == place.worker.dead_letter.topic]
    assert [read(place.client, letter) for letter in letters] == [items[1]]


def test_guids_in_headers_are_read(
    place: Place,
    bundle: Bundle,
    kafka: RealKafka,
    flights: list[bytes],
    tmp_path: Path,
) -> None:
    """Apicurio 2.6.13 gives no GUIDs, so this registry is a stub; the clients are real."""
    _, items = flown(place, flights[:COUNT])
    with StubRegistry() as stub, SchemaRegistryClient({"url": stub.url}) as client:
        for given, entry in enumerate(place.contracts, 11):
            guid = str(uuid.uuid4())
            stub.add(entry.subject, entry.version, Entry(given, entry.schema.text, guid=guid))
        there = {"registry": {"url": stub.url, "cache": str(tmp_path / "cache")}}
        # The subjects as they are in the real registry; topics are new ones.
        moved = place.topology.model_copy(
            update={"contracts": ContractsPlace.model_validate(there)}
        )
        stubbed = at(kafka, client, moved, bundle)
        sent = stubbed.framed(stubbed.version(2), items, **GUIDS)
        headers = [[(name, len(content or b"")) for name, content in s.headers] for s in sent]
        assert headers == [[(HEADER, 17)]] * len(items)

        records = stubbed.enriched(sent).records

        assert not any(HEADER in dict(record.headers) for record in records)
        assert_enriched(stubbed, records, items)
