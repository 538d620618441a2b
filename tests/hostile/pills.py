"""Schemas and datums that killed, filled or held up a decoder once; read in a process of their own.

`python -m tests.hostile.pills` reads all of them under limits and says, as JSON, what became of
each: the error's name and text, or how many rows were read.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from workers.contracts.codec import Decoder
from workers.contracts.schema import parse
from workers.errors import WorkersError

MEMORY = 768 * 1024**2
"""Bytes that may be asked for beyond what the process has when it begins."""
SECONDS = 100
Json = Any


def record(*types: Json, **more: Json) -> dict[str, Json]:
    """A record with fields of these types."""
    fields = [{"name": f"f{n}", "type": kind} for n, kind in enumerate(types)]
    return {"type": "record", "name": "R", "fields": fields, **more}


def levels(count: int) -> str:
    """Text of arrays in arrays."""
    inner = '{"type":"array","items":' * count + '"int"' + "}" * count
    return '{"type":"record","name":"R","fields":[{"name":"a","type":' + inner + "}]}"


def field(**entry: Json) -> dict[str, Json]:
    """A record of one field."""
    return {"type": "record", "name": "R", "fields": [{"name": "f", **entry}]}


def decimal(**more: Json) -> dict[str, Json]:
    """A decimal in bytes."""
    return {"type": "bytes", "logicalType": "decimal", **more}


NULLS = {"type": "array", "items": "null"}
TWICE = {"type": "enum", "name": "E", "symbols": ["A", "A"]}
SCHEMAS: dict[str, str | bytes] = {
    "3000 levels": levels(3000),
    "100 000 fields": json.dumps(record(*["int"] * 100_000)),
    "10 MB": json.dumps(record("int", doc="x" * 10_000_000)),
    "not UTF-8": b'{"type":"record","name":"\xff","fields":[]}',
    "a record in itself": json.dumps(record("R")),
    "a circle of records": json.dumps(
        record({"type": "record", "name": "S", "fields": [{"name": "r", "type": ["null", "R"]}]})
    ),
    "an array of nulls": json.dumps(record(NULLS)),
    "a map of arrays of nulls": json.dumps(record({"type": "map", "values": NULLS})),
    "a name twice": json.dumps(record(*[{"type": "fixed", "name": "F", "size": 1}] * 2)),
    "a reserved name": json.dumps({"type": "record", "name": "string", "fields": []}),
    "a name that is none": json.dumps({"type": "record", "name": "1 2", "fields": []}),
    "half a character": '{"type":"record","name":"\\ud800","fields":[]}',
    "a name that is a number": json.dumps({"type": "record", "name": 5, "fields": []}),
    "no name": json.dumps({"type": "record", "fields": []}),
    "fields that are none": json.dumps({"type": "record", "name": "R", "fields": {"a": 1}}),
    "a symbol twice": json.dumps(record(TWICE)),
    "symbols that are none": json.dumps(record({**TWICE, "symbols": [None, 1, {}]})),
    "a fixed of an exabyte": json.dumps(record({"type": "fixed", "name": "F", "size": 2**60})),
    "a fixed of a fraction": json.dumps(record({"type": "fixed", "name": "F", "size": 1.5})),
    "a fixed of true": json.dumps(record({"type": "fixed", "name": "F", "size": True})),
    "a branch twice": json.dumps(record(["int", "int"])),
    "a union of nothing": json.dumps(record([])),
    "precision below zero": json.dumps(record(decimal(precision=-5))),
    "precision of a word": json.dumps(record(decimal(precision="many"))),
    "endless precision": json.dumps(record(decimal(precision=10**9))),
    "scale over precision": json.dumps(record(decimal(precision=2, scale=900))),
    "a default of another type": json.dumps(field(type="int", default="x")),
    "a default that is a list": json.dumps(field(type="string", default=[1])),
    "aliases that are none": json.dumps(field(type="int", aliases=[1, None])),
    "an alias of itself": json.dumps(record("int", aliases=["R", "R"])),
    "NaN for a default": json.dumps(field(type="double", default=float("nan"))),
    "a key twice": '{"type":"record","type":"array","name":"R","fields":[]}',
    "a logical type that is a list": json.dumps(record({"type": "int", "logicalType": ["date"]})),
    "an unknown reference": json.dumps(record("com.example.Nowhere")),
}
"""Text of schemas."""


def long(value: int) -> bytes:
    """Zig-zag."""
    coded, out = (value << 1) ^ (value >> 63), bytearray()
    while coded > 0x7F:
        out.append(coded & 0x7F | 0x80)
        coded >>= 7
    return bytes([*out, coded])


def text(content: bytes) -> bytes:
    """Length and content."""
    return long(len(content)) + content


DATUMS: dict[str, tuple[Json, bytes]] = {
    "2^27 longs in six bytes": ({"type": "array", "items": "long"}, long(2**27) + b"\x00"),
    "2^62 strings": ({"type": "array", "items": "string"}, long(2**62)),
    "a negative count without an end": (
        {"type": "array", "items": "int"},
        long(-(2**62)) + long(8),
    ),
    "a block with a wrong size": (
        {"type": "array", "items": "int"},
        long(-2) + long(2**40) + long(1) + long(2) + b"\x00",
    ),
    "the least count": ({"type": "array", "items": "int"}, long(-(2**63)) + long(0)),
    "a megabyte of blocks": ({"type": "array", "items": "int"}, (long(1) + long(1)) * 500_000),
    "a string of exabytes": ("string", long(2**60) + b"x"),
    "a string of a megabyte": ("string", text(b"\x00" * 1_000_000)),
    "a decimal of 100 kB": (decimal(precision=9), text(b"\x7f" * 100_000)),
    "a decimal of 100 kB of zeros": (decimal(precision=9), text(bytes(100_000))),
    "an empty decimal": (decimal(precision=9), text(b"")),
    "a decimal of one digit": (decimal(precision=9), text(b"\x05")),
    "a union beyond its branches": (["null", "int"], long(2)),
    "a union far beyond": (["null", "int"], long(2**62)),
    "an enum beyond its symbols": ({"type": "enum", "name": "E", "symbols": ["A"]}, long(1)),
    "a map with a key twice": (
        {"type": "map", "values": "int"},
        long(2) + (text(b"a") + long(1)) * 2 + b"\x00",
    ),
    "NaN": ("double", b"\x00\x00\x00\x00\x00\x00\xf8\x7f"),
    "another NaN": ("double", b"\xff" * 8),
    "a denormal": ("double", b"\x01" + bytes(7)),
    "minus zero": ("float", b"\x00\x00\x00\x80"),
    "infinity": ("float", b"\x00\x00\x80\x7f"),
    "the last timestamp": ({"type": "long", "logicalType": "timestamp-micros"}, long(2**63 - 1)),
    "the first timestamp": ({"type": "long", "logicalType": "timestamp-millis"}, long(-(2**63))),
    "uuid of braces": (
        {"type": "string", "logicalType": "uuid"},
        text(b"{12345678-1234-1234-1234-123456789012}"),
    ),
}
"""A field's type, and its datum."""


def told(read: Any) -> str:
    """What became of it."""
    try:
        return f"read: {read()}"
    except WorkersError as error:
        return f"{type(error).__name__}: {error}"
    except BaseException as error:  # noqa: BLE001  told to the test
        return f"BUG: {error!r}"[:300]


def read_schema(found: str | bytes) -> str:
    """Parse it; where it is accepted, decode under it too."""
    decoded = Decoder(parse(found, where="pill.avsc")).decode([b"", b"\x00" * 64])
    return str(len(decoded.rows))


def read_datum(kind: Json, datum: bytes) -> str:
    """Decode it between two others of its kind."""
    decoded = Decoder(parse(json.dumps(record(kind)), where="pill.avsc")).decode([datum] * 3)
    return " ".join([str(len(decoded.rows)), *{str(r) for r in decoded.rejections.values()}])


def main() -> None:
    """All of them, under limits."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    found = {}
    for name, schema in SCHEMAS.items():
        began = time.process_time()
        found[f"schema: {name}"] = (
            told(lambda s=schema: read_schema(s)),
            time.process_time() - began,
        )
    for name, (kind, datum) in DATUMS.items():
        began = time.process_time()
        said = told(lambda k=kind, d=datum: read_datum(k, d))
        found[f"datum: {name}"] = (said, time.process_time() - began)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
