"""Apache Avro's Java writes the input and reads the enriched topic, through one registry."""

from __future__ import annotations

import io
import json
import math
import struct
import subprocess
from typing import Any

import fastavro
import pytest
from confluent_kafka import Producer

from tests.enrich.test_evolution import encoded, events
from tests.interop.place import Place
from workers.contracts.schema import Schema
from workers.testing import OutRecord, Reader

pytestmark = pytest.mark.kafka
COUNT = 200
LEGS = [{"airport": "BOS", "minutes": 61}, {"airport": "Zürich", "minutes": -1}]
EXTREMES: list[dict[str, Any]] = [
    {"temperature": -0.0, "humidity": 5e-324, "pressure": 1.7976931348623157e308},
    {"temperature": 0.1 + 0.2, "humidity": math.nan, "pressure": -2.2250738585072014e-308},
    {"temperature": 1.0, "seats": 2**31 - 1, "flight": -(2**31), "departure_delay": -1},
    {"dest": 'Ω≈ç√ 𝄞\x00\\"\n', "tailnum": "", "carrier": "é" * 200},
    {"scheduled_departure": -1, "distance": 0},
    {"scheduled_departure": 253_402_300_799_999, "origin": "LGA"},
    dict.fromkeys(("tailnum", "temperature", "humidity", "wind_speed", "pressure", "seats")),
]


def java_says(
    java: tuple[str, ...], program: str, *arguments: object, given: str = ""
) -> list[dict[str, Any]]:
    """What a program of ./java prints."""
    done = subprocess.run(
        [*java, "-Dfile.encoding=UTF-8", program, *map(str, arguments)],
        input=given.encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{program} ended with {done.returncode}: {done.stderr.decode()}"
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def kinds(document: Any, value: Any) -> Any:
    """A value as Read.java shows it: with its kind, doubles by their bits."""
    if value is None:
        return None
    if isinstance(document, list):
        document = next(branch for branch in document if branch != "null")
    kind = document["type"] if isinstance(document, dict) else document
    match kind:
        case "record":
            fields = {f["name"]: kinds(f["type"], value[f["name"]]) for f in document["fields"]}
            return {"record": fields}
        case "array":
            return {"array": [kinds(document["items"], item) for item in value]}
        case "double":
            return {"double": struct.pack(">d", value).hex()}
        case _:
            return {kind: value}


def bare(document: Any) -> Any:
    """A schema without logical types: instants are longs."""
    if isinstance(document, list):
        return [bare(item) for item in document]
    if isinstance(document, dict):
        return {k: bare(v) for k, v in document.items() if k not in {"logicalType", "default"}}
    return document


def fastavro_says(place: Place, records: list[OutRecord]) -> dict[str, Any]:
    """Enriched events by decision id, as `Read.java` shows them."""
    said = {}
    for record in records:
        if record.topic != place.worker.output.topic or record.value is None:
            continue
        number = int.from_bytes(record.value[1:5], "big")
        found = place.contracts.find(number)
        assert found is not None
        document = bare(json.loads(found.schema.text))
        stream = io.BytesIO(record.value[5:])
        event: Any = fastavro.schemaless_reader(stream, document, None)
        assert not stream.read()
        said[event["enrichment"]["decision_id"]] = {"id": number, "event": kinds(document, event)}
    return said


def decision_of(shown: dict[str, Any]) -> str:
    """The decision id of what Java shows."""
    found: str = shown["event"]["record"]["enrichment"]["record"]["decision_id"]["string"]
    return found


def by_java(place: Place, java: tuple[str, ...], count: int, *known: int) -> dict[str, Any]:
    """The enriched topic by decision id, as Java reads it."""
    servers, topic = place.kafka.bootstrap_servers, place.worker.output.topic
    shown = java_says(java, "Read", servers, place.url, topic, count, *known)
    assert len(shown) == count
    return {decision_of(event): event for event in shown}


def flown(place: Place, flights: list[bytes]) -> list[dict[str, Any]]:
    """Real flights, and those whose values are at the edges of their types."""
    items = events(place.version(1), flights)
    return items + [{**items[0], **extreme} for extreme in EXTREMES]


def aborted(place: Place) -> None:
    """Leave a record that is no event in the output, in a transaction that was aborted."""
    servers, topic = place.kafka.bootstrap_servers, place.worker.output.topic
    config = {"bootstrap.servers": servers, "transactional.id": f"aborts-{topic}", "log_level": 0}
    producer = Producer(config)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"never committed")
    assert producer.flush(30) == 0
    producer.abort_transaction(30)


def test_a_java_consumer_reads_every_value_as_fastavro_does(
    place: Place, flights: list[bytes], java: tuple[str, ...]
) -> None:
    """Committed ones only: nulls, enums, instants as longs, doubles bit for bit; two versions."""
    before = flown(place, flights[:COUNT])
    after = [{**item, "gate": "B7", "legs": LEGS} for item in before[1:]]
    after.append({**before[0], "gate": None, "legs": []})
    sent = place.framed(place.version(1), before) + place.framed(place.version(2), after)
    aborted(place)

    records = place.enriched(sent).records

    said = fastavro_says(place, records)
    assert len(said) == len(sent)
    assert len({shown["id"] for shown in said.values()}) == 2
    assert by_java(place, java, len(sent)) == said


@pytest.mark.parametrize("known", [1, 2, 3])
def test_a_java_consumer_with_a_schema_of_its_own_reads_both_versions(
    place: Place, flights: list[bytes], java: tuple[str, ...], known: int
) -> None:
    """The old one does not see what is new; the new one has defaults for what is old.

    Version 1 is of the first input version and the first block, 2 has the block's new fields, 3 the
    event's as well.
    """
    before = flown(place, flights[:20])
    after = [{**item, "gate": "B7", "legs": LEGS} for item in before]
    sent = place.framed(place.version(1), before) + place.framed(place.version(2), after)
    said = fastavro_says(place, place.enriched(sent).records)
    subject = place.worker.output.subject
    newer = place.id_of(subject, 3)

    seen = by_java(place, java, len(sent), place.id_of(subject, known))

    for shown in said.values():
        fields = shown["event"]["record"]
        if known < 3:
            fields.pop("gate", None)
            fields.pop("legs", None)
        if known == 1:
            del fields["enrichment"]["record"]["arm"], fields["enrichment"]["record"]["rule"]
        if known < 3:
            continue
        if shown["id"] != newer:
            fields |= {"gate": None, "legs": {"array": []}}
    assert seen == said


@pytest.mark.parametrize("how", ["plain", "blocks"])
def test_what_a_java_producer_writes_is_enriched(
    place: Place, flights: list[bytes], java: tuple[str, ...], how: str
) -> None:
    """Also arrays in blocks that tell their size, which only some writers make."""
    items = [
        {**item, "gate": "B7", "legs": LEGS} for item in events(place.version(1), flights[:50])
    ]
    servers, topic = place.kafka.bootstrap_servers, place.worker.input.topic
    number = place.id_of(place.worker.input.subject, 2)

    java_says(java, "Write", servers, place.url, topic, number, how, given=as_json(place, items))

    with Reader(servers, topic) as reader:
        written = reader.until(lambda seen: len(seen) >= len(items))
    datums = {(record.value or b"")[5:] for record in written}
    assert (datums == set(encoded(place.version(2), items))) == (how == "plain")
    records = place.worked(len(items)).records
    said = fastavro_says(place, records)
    got = [shown["event"]["record"] for shown in said.values()]
    blocks = [fields.pop("enrichment") for fields in got]
    assert len(blocks) == len(items)
    assert sorted(map(json.dumps, got)) == sorted(
        json.dumps(put(place.version(2), i)) for i in items
    )
    assert len(by_java(place, java, len(items))) == len(items)


def put(schema: Schema, item: dict[str, Any]) -> Any:
    """An event as Read.java would show it."""
    document = bare(json.loads(schema.text))
    stream = io.BytesIO(encoded(schema, [item])[0])
    return kinds(document, fastavro.schemaless_reader(stream, document, None))["record"]


def as_json(place: Place, items: list[dict[str, Any]]) -> str:
    """Events in Avro's JSON, a line each."""
    stream = io.StringIO()
    fastavro.json_writer(stream, place.version(2).parsed, items)
    return stream.getvalue() + "\n"
