"""Golden examples read through what workers and subscribers really use."""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from tests.conftest import ROOT
from tests.governance.schemas import field, record, versions
from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.codec import Decoder
from workers.contracts.derive import BLOCK_FIELD
from workers.contracts.directory import read_directory
from workers.errors import ContractError
from workers.governance.examples import decode, encode, read_example, read_examples

SHIPPED = list(read_directory(ROOT / "schemas").catalogue)


def plain(value: Any) -> Any:
    """A value with times in milliseconds: below the top the worker leaves them numbers."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return int(value.timestamp() * 1000) if isinstance(value, datetime.datetime) else value


@pytest.mark.parametrize("entry", SHIPPED, ids=str)
def test_every_shipped_example_reads_the_same_with_worker_and_subscriber(
    entry: Registered,
) -> None:
    """The worker's decoder against fastavro, column by column."""
    examples = read_examples(ROOT / "schemas" / entry.subject, entry)

    decoded = Decoder(entry.schema).decode([example.datum for example in examples])

    assert examples
    assert not decoded.rejections
    events = decoded.table.to_pylist()
    for example, event in zip(examples, events, strict=True):
        stream = io.BytesIO(example.datum)
        assert fastavro.schemaless_reader(stream, entry.schema.parsed, None) == example.event
        assert not stream.read()
        assert plain({name: event[name] for name in example.event}) == plain(example.event)


def test_a_shipped_enriched_example_is_a_flight_and_its_decision(contracts: Catalogue) -> None:
    """Byte for byte: the input's example, then the decision's."""

    def datums(subject: str) -> dict[str, bytes]:
        entry = contracts.versions(subject)[1]
        return {e.name: e.datum for e in read_examples(ROOT / "schemas" / subject, entry)}

    enriched, flights = datums("flights.enriched-value"), datums("flights-value")
    decisions = datums("flights.decisions-value")

    assert enriched["late"] == flights["delayed"] + decisions["late"]
    assert enriched["on-time"] == flights["little-known"] + decisions["on-time"]
    assert enriched["fallback"] == flights["little-known"] + decisions["fallback"]
    assert BLOCK_FIELD in contracts.versions("flights.enriched-value")[1].schema.field_names


@pytest.mark.parametrize(
    "document",
    [
        {"amount": 1},
        {"amount": 1, "note": {"string": "a"}, "more": 1},
        {"amount": "1", "note": None},
        {"amount": 1, "note": "a"},
        {"amount": 2**31, "note": None},
        [],
        "a",
    ],
)
def test_an_example_that_is_no_event_of_its_version_is_refused(
    document: object, tmp_path: Path
) -> None:
    """Nothing is filled in, left out or cut; the error names the file."""
    [entry] = versions(
        record(field("amount", "int"), field("note", ["null", "string"], default=None))
    )
    file = tmp_path / "v1-odd.json"
    file.write_text(json.dumps(document))

    with pytest.raises(ContractError, match=r"v1-odd\.json: not paid-value version 1"):
        read_example(file, entry)


def test_an_example_has_its_name_event_and_datum(tmp_path: Path) -> None:
    """The name is what the file's has after the version."""
    [entry] = versions(record(field("amount", "int")))
    file = tmp_path / "v1-a-refund.json"
    file.write_text('{"amount": -1}')

    example = read_example(file, entry)

    assert (example.name, example.event, example.datum) == ("a-refund", {"amount": -1}, b"\x01")


def test_a_datum_is_read_with_another_version_or_says_why_not() -> None:
    """As a subscriber with that version reads it."""
    first, second, third = versions(
        record(field("amount", "int")),
        record(field("amount", "long"), field("note", "string", default="none")),
        record(field("amount", "string")),
    )
    datum = encode({"amount": 3}, first.schema)

    assert decode(datum, first.schema, second.schema) == {"amount": 3, "note": "none"}
    with pytest.raises(ContractError, match="SchemaResolutionError"):
        decode(datum, first.schema, third.schema)
    with pytest.raises(ContractError, match="1 bytes are left over"):
        decode(datum + b"x", first.schema, second.schema)
