"""One input of the fuzzer, and what must hold of it.

The first byte says what is tried, the rest is tried. Framing, decoding and headers answer with a
value or a `Reject`; any other exception, and any difference from the references, is a finding. The
references are the strict walk, which says whether a datum is what its schema says, and fastavro,
which says what it holds.
"""

from __future__ import annotations

import io
import json
import math
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import fastavro
import pyarrow as pa

from workers.contracts.codec import Decoder
from workers.contracts.columns import arrow_type, arrow_value, is_mixed
from workers.contracts.framing import HEADER, Header, frame, locate
from workers.contracts.schema import parse
from workers.contracts.strict import Malformed, check
from workers.enrich.batch import Batch, Rejection
from workers.errors import Reject, Verdict
from workers.stream.deadletters import Origin, dead_letter
from workers.stream.records import record_bytes

Json = Any
LIMIT = 8192
TIMESTAMP = {"type": "long", "logicalType": "timestamp-micros"}
INNER = {
    "type": "record",
    "name": "I",
    "fields": [{"name": "x", "type": ["null", "int"]}, {"name": "y", "type": "string"}],
}
SHAPES: list[list[Json]] = [
    ["int", "long", "string", "double", "boolean"],
    [["null", "string"], ["long", "null"], {"type": "enum", "name": "E", "symbols": ["A", "B"]}],
    [{"type": "array", "items": ["null", "long"]}, {"type": "map", "values": "string"}],
    [
        {"type": "array", "items": INNER},
        {"type": "map", "values": {"type": "array", "items": "int"}},
    ],
    [
        TIMESTAMP,
        {"type": "int", "logicalType": "date"},
        {"type": "int", "logicalType": "time-millis"},
    ],
    [{"type": "string", "logicalType": "uuid"}, "float"],
    ["bytes", {"type": "fixed", "name": "F", "size": 3}, ["null", "int", "string"]],
    [
        {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        {"type": "fixed", "name": "D", "size": 4, "logicalType": "decimal", "precision": 9},
    ],
    [INNER, ["null", {"type": "record", "name": "J", "fields": [{"name": "i", "type": "I"}]}]],
    [],
]


@cache
def decoder(shape: int) -> Decoder:
    """Of one of the schemas."""
    fields = [{"name": f"f{n}", "type": kind} for n, kind in enumerate(SHAPES[shape])]
    text = json.dumps({"type": "record", "name": "R", "fields": fields})
    return Decoder(parse(text, where=f"shape {shape}"))


def reference(found: Decoder, datum: bytes) -> dict[str, Any] | None:
    """The event in physical values; None where it is none."""
    try:
        check(found.schema.root, datum)
    except Malformed:
        return None
    physical = json.loads(found._physical)
    physical["fields"].pop()
    stream = io.BytesIO(datum)
    event = fastavro.schemaless_reader(stream, fastavro.parse_schema(physical), None)
    assert stream.tell() == len(datum), "fastavro leaves bytes that the strict walk does not"
    return dict(event)


def bits(column: pa.Array) -> str:
    """Values, told apart to the bit: NaN equals itself, 0.0 is not -0.0."""
    return repr([_bits(value) for value in column.to_pylist()])


def _bits(value: Any) -> Any:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    return value


def decodes(shape: int, datum: bytes) -> None:
    """Alone, and between others: what the references say, and no neighbour is harmed."""
    found = decoder(shape)
    event = reference(found, datum)
    alone = found.decode([datum])
    assert list(alone.rejections) == ([] if event is not None else [0])
    if event is not None:
        for name, node in found.schema.root.children:
            if not is_mixed(node):
                wanted = pa.array([arrow_value(event[name], node)], arrow_type(node))
                assert bits(alone.table.column(name)) == bits(wanted), name
    good = shortest(shape)
    among = found.decode([good, datum, datum, good])
    assert among.rows == ([0, 1, 2, 3] if event is not None else [0, 3])
    if event is not None:
        for name in alone.table.schema.names:
            row = among.table.column(name).slice(1, 1)
            assert bits(row) == bits(alone.table.column(name)), name
    for reject in (*alone.rejections.values(), *among.rejections.values()):
        assert reject.verdict is Verdict.DECODE
        assert len(str(reject)) < 500


@cache
def shortest(shape: int) -> bytes:
    """A good datum: zeros, as many as it takes, and a uuid where one is due."""
    if shape == 5:
        return bytes([72]) + b"12345678-1234-1234-1234-123456789012" + bytes(4)
    for size in range(64):
        if reference(decoder(shape), bytes(size)) is not None:
            return bytes(size)
    raise AssertionError(f"no datum of zeros for shape {shape}")


def headers_of(data: bytes) -> list[Header]:
    """Headers: each a byte that says what is its name, a length, and its content."""
    names = [
        HEADER,
        "a",
        "",
        "__workers.verdict",
        "__connect.errors.topic",
        "traceparent",
        "\u00e4",
    ]
    found, at = list[Header](), 0
    while at + 1 < len(data) and len(found) < 64:
        name, size = names[data[at] % len(names)], data[at + 1]
        content = None if size == 255 else data[at + 2 : at + 2 + size]
        found.append((name, content))
        at += 2 + (0 if content is None else size)
    return found


def framed(data: bytes) -> None:
    """A place, none, or a verdict; a dead letter of it fits, whatever its headers."""
    size = data[0] if data else 0
    value, headers = data[1 : 1 + size], headers_of(data[1 + size :])
    given = [content for name, content in headers if name == HEADER]
    try:
        located = locate(value, headers)
    except Reject as reject:
        assert given, "a verdict on headers that there are not"
        _dead_letter(value, headers, reject)
        return
    if given:
        assert located is not None
        key, start = located
        whole = b"\x01" + key if isinstance(key, bytes) else frame(key)
        assert (given, start) == ([whole], 0)
    elif located is None:
        assert len(value) < 5 or value[0] != 0
    else:
        key, start = located
        assert isinstance(key, int)
        assert frame(key) == value[:start]


def _dead_letter(value: bytes, headers: list[Header], reject: Reject) -> None:
    origin = Origin(topic="d", worker="w", instance="i", build="1", model="m", limit=LIMIT)
    batch = Batch("t", 5, [value], [value], [headers], [0], [7], [(1, 7)])
    record = dead_letter(origin, batch, 0, Rejection(reject, "frame"), 1)
    assert record_bytes(record) <= LIMIT
    assert dict(record[3] or [])["__connect.errors.offset"] == b"7"


def one(data: bytes) -> None:
    """Try one input.

    Raises:
        AssertionError: or anything else: a finding.
    """
    kind, rest = (data[0] if data else 0), data[1:]
    tries: list[Callable[[bytes], None]] = [
        framed,
        *(lambda datum, shape=n: decodes(shape, datum) for n in range(len(SHAPES))),
    ]
    tries[kind % len(tries)](rest)
