"""JSON events become the datums that an Avro library writes, and what is none says where."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.contracts.catalogue import Catalogue
from workers.contracts.jsonform import JsonForm, Misfit
from workers.contracts.jsonread import JsonReader
from workers.contracts.jsonschema import event_schema
from workers.contracts.schema import parse

SCHEMA = parse(
    json.dumps(
        {
            "type": "record",
            "name": "E",
            "namespace": "n",
            "fields": [
                {"name": "i", "type": "int"},
                {"name": "l", "type": {"type": "long", "logicalType": "timestamp-millis"}},
                {"name": "f", "type": "float"},
                {"name": "d", "type": ["null", "double"], "default": None},
                {"name": "s", "type": "string", "default": "x"},
                {"name": "b", "type": "bytes"},
                {"name": "x", "type": {"type": "fixed", "name": "X", "size": 2}},
                {"name": "e", "type": {
                    "type": "enum", "name": "Color", "symbols": ["RED", "BLUE"]}},
                {"name": "t", "type": "boolean"},
                {"name": "a", "type": {"type": "array", "items": ["null", "Color"]}},
                {"name": "m", "type": {"type": "map", "values": "long"}},
                {
                    "name": "u",
                    "type": ["string", "n.X", {"type": "record", "name": "R", "fields": [
                        {"name": "v", "type": "int"}]}],
                },
                {"name": "r", "type": ["null", "R"], "default": None},
                {"name": "w", "type": ["int", "null"], "default": 7},
            ],
        }
    ),
    where="test",
)  # fmt: skip
FORM = JsonForm(SCHEMA)
EVENT: dict[str, Any] = {
    "i": -5, "l": 1_700_000_000_000, "f": 1.5, "d": {"double": 2.5}, "s": "é", "b": "\u00ff\u0000",
    "x": "ab", "e": "BLUE", "t": True, "a": [None, {"n.Color": "RED"}, "BLUE"], "m": {"k": 2**40},
    "u": {"n.R": {"v": 1}}, "r": {"v": 3}, "w": None,
}  # fmt: skip
READ = {
    **EVENT, "d": 2.5, "b": b"\xff\0", "x": b"ab", "a": [None, "RED", "BLUE"], "u": {"v": 1},
}  # fmt: skip


def read(datum: bytes) -> dict[str, Any]:
    """As fastavro reads it, without logical types."""
    plain = json.loads(SCHEMA.text)
    plain["fields"][1]["type"] = "long"
    return dict(fastavro.schemaless_reader(io.BytesIO(datum), plain, None))


def test_json_is_written_as_avro() -> None:
    """Every type, read back by an Avro library."""
    assert read(FORM.datum(EVENT)) == READ
    assert read(FORM.datum({**EVENT, "i": -5.0})) == READ


def test_datums_are_read_as_json() -> None:
    """Every type; what is read again is the same datum."""
    datum = FORM.datum(EVENT)
    found = JsonReader(SCHEMA).read(datum)

    assert found == {**READ, "b": EVENT["b"], "x": EVENT["x"]}
    again = {**found, "u": {"n.R": found["u"]}, "a": [None, "RED", "BLUE"]}
    assert FORM.datum(json.loads(json.dumps(again))) == datum


def test_a_field_left_out_has_its_default() -> None:
    """Of any kind; a union's default stands without a name."""
    event = {k: v for k, v in EVENT.items() if k not in ("d", "s", "r", "w")}

    assert read(FORM.datum(event)) == {**READ, "d": None, "s": "x", "r": None, "w": 7}


@pytest.mark.parametrize(
    ("change", "path", "says"),
    [
        ({"i": 2**31}, "/i", "out of the range"),
        ({"i": 5.5}, "/i", "a number, not an integer"),
        ({"l": 1e17}, "/l", "a number, not an integer"),
        ({"i": True}, "/i", "a boolean, not an integer"),
        ({"i": "5"}, "/i", "text, not an integer"),
        ({"l": 2**62}, "/l", "out of the range"),
        ({"f": 1e300}, "/f", "too large"),
        ({"f": float("inf")}, "/f", "too large"),
        ({"f": 10**400}, "/f", "too large"),
        ({"s": None}, "/s", "null, not text"),
        ({"s": "\ud800"}, "/s", "surrogate"),
        ({"b": "\u0100"}, "/b", "U+00FF"),
        ({"x": "abc"}, "/x", "3 bytes, not 2"),
        ({"e": "GREEN"}, "/e", "no symbol"),
        ({"a": [None, "NONE"]}, "/a/1", "no symbol"),
        ({"m": {"a/b": 1.5}}, "/m/a~1b", "not an integer"),
        ({"u": "bare"}, "/u", "which type"),
        ({"u": None}, "/u", "may not be null"),
        ({"u": {"n.R": {"v": "x"}}}, "/u/n.R/v", "not an integer"),
        ({"r": {"w": 1}}, "/r/v", "missing"),
        ({"ee": 1}, "/ee", "no field"),
    ],
)
def test_a_misfit_names_its_field(change: dict[str, Any], path: str, says: str) -> None:
    """By a JSON pointer, with what is wrong and what to do."""
    with pytest.raises(Misfit) as raised:
        FORM.datum({**EVENT, **change})

    (fault,) = raised.value.faults
    assert fault.path == path
    assert says in fault.detail
    assert fault.remedy


def test_every_field_that_does_not_fit_is_named_at_once() -> None:
    """So that one round is enough."""
    with pytest.raises(Misfit) as raised:
        FORM.datum({**{k: v for k, v in EVENT.items() if k != "t"}, "i": None, "zz": 1})

    assert {fault.path for fault in raised.value.faults} == {"/t", "/i", "/zz"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(EVENT)), JSON)
def test_whatever_is_accepted_is_avro_and_whatever_is_not_is_said(name: str, value: Any) -> None:
    """No other error than `Misfit`; what is written is read back whole, and as the schema says."""
    event = {**EVENT, name: value}

    try:
        datum = FORM.datum(event)
    except Misfit:
        # Any other error fails the test.
        pass
    else:
        assert fastavro.schemaless_reader(io.BytesIO(datum), SCHEMA.parsed, None)


def test_the_json_schema_says_what_is_accepted() -> None:
    """For the demo's events and for every type."""
    validator = jsonschema.Draft202012Validator(event_schema(SCHEMA))

    validator.validate(EVENT)
    for wrong in ({"i": 2**31}, {"x": "abc"}, {"u": "bare"}, {"e": "GREEN"}, {"zz": 1}):
        assert not validator.is_valid({**EVENT, **wrong}), wrong


def test_the_demo_s_contract_has_a_json_form(contracts: Catalogue, flights: list[bytes]) -> None:
    """Real events, read by an Avro library and written from JSON, are the same bytes."""
    schema = contracts.versions("flights-value")[1].schema
    plain = json.loads(schema.text)
    for entry in plain["fields"]:
        if isinstance(entry["type"], dict) and "logicalType" in entry["type"]:
            entry["type"] = entry["type"]["type"]
    form = JsonForm(schema)
    for datum in flights[:200]:
        event = fastavro.schemaless_reader(io.BytesIO(datum), plain, None)
        assert form.datum(json.loads(json.dumps(event))) == datum
