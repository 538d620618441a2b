"""A schema that could harm a decoder is refused when it is loaded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workers.contracts.framing import HEADER, frame, locate
from workers.contracts.schema import SchemaLimits, parse
from workers.errors import ContractError, Reject


def nested(levels: int) -> dict[str, Any]:
    """A record with arrays nested this deep."""
    inner: Any = "int"
    for _ in range(levels):
        inner = {"type": "array", "items": inner}
    return {"type": "record", "name": "R", "fields": [{"name": "a", "type": inner}]}


def fields(*types: Any) -> dict[str, Any]:
    """A record with fields of these types."""
    named = [{"name": f"f{i}", "type": kind} for i, kind in enumerate(types)]
    return {"type": "record", "name": "R", "fields": named}


REFUSED = [
    ("recursive", fields(["null", "R"]), "contains itself"),
    ("self without a union", fields("R"), "contains itself"),
    ("array of null", fields({"type": "array", "items": "null"}), "zero-byte"),
    (
        "array of empty records",
        fields({"type": "array", "items": {"type": "record", "name": "Z", "fields": []}}),
        "zero-byte",
    ),
    (
        "array of fixed 0",
        fields({"type": "array", "items": {"type": "fixed", "name": "Z", "size": 0}}),
        "zero-byte",
    ),
    ("deep", nested(40), "deeper than 32"),
    ("3000 levels", nested(300), "deeper than 32"),
    ("many fields", fields(*["int"] * 5001), "more than 5000 fields"),
    ("unknown type", fields("nope"), "unknown type 'nope'"),
    ("symbols", fields({"type": "enum", "name": "E", "symbols": 5}), "list of symbols"),
    ("no symbols", fields({"type": "enum", "name": "E"}), "list of symbols"),
    ("no type", {"type": "record", "name": "R", "fields": [{"name": "a"}]}, "no type"),
    ("union in union", fields(["null", ["int"]]), "union"),
    ("not a record", {"type": "array", "items": "int"}, "must be a record"),
    ("duplicate field", {**fields("int"), "fields": [{"name": "a", "type": "int"}] * 2}, "a"),
]


@pytest.mark.parametrize(("name", "schema", "text"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refused_at_load(name: str, schema: dict[str, Any], text: str) -> None:
    """The error names the file and what is wrong."""
    with pytest.raises(ContractError, match=text) as caught:
        parse(json.dumps(schema), where=f"{name}.avsc")

    assert f"{name}.avsc" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "\x00", "[" * 100_000, '"' + "x" * 1_100_000 + '"']
)
def test_text_that_is_no_schema(text: str) -> None:
    """Neither a crash nor a bare parser error."""
    with pytest.raises(ContractError, match=r"bad\.avsc"):
        parse(text, where="bad.avsc", limits=SchemaLimits())


def test_framing_by_prefix_and_by_header() -> None:
    """The header wins; the payload then holds the bare datum."""
    guid = bytes(range(16))

    assert locate(frame(7) + b"x", None) == (7, 5)
    assert locate(b"x", [(HEADER, b"\x01" + guid)]) == (guid, 0)
    assert locate(frame(7) + b"x", [(HEADER, frame(9))]) == (9, 0)
    assert locate(b"", [("other", None)]) is None
    assert locate(b'{"json": 1}', None) is None
    assert locate(b"\x00\x00\x00\x01", None) is None


@pytest.mark.parametrize(
    "headers",
    [
        [(HEADER, None)],
        [(HEADER, b"")],
        [(HEADER, b"\x01" + b"x" * 15)],
        [(HEADER, b"\x02" + b"x" * 4)],
        [(HEADER, frame(1)), (HEADER, frame(1))],
    ],
)
def test_a_malformed_schema_header_is_a_verdict(headers: list[tuple[str, bytes | None]]) -> None:
    """The record goes aside; the batch goes on."""
    with pytest.raises(Reject, match=HEADER):
        locate(frame(1) + b"x", headers)
