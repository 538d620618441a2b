"""The columnar decoder accepts exactly the records that the strict walk and fastavro accept."""

from __future__ import annotations

import io
import json
import random
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest

from workers.contracts.codec import Decoder, Route
from workers.contracts.defaults import without_logical_types
from workers.contracts.schema import Schema, parse
from workers.contracts.strict import Malformed, check


def record(*fields: tuple[str, Any]) -> str:
    """The text of a record schema with these fields."""
    named = [{"name": name, "type": kind} for name, kind in fields]
    return json.dumps({"type": "record", "name": "R", "fields": named})


WIDE = record(
    ("a", "int"),
    ("s", ["null", "string"]),
    ("e", {"type": "enum", "name": "E", "symbols": ["A", "B"]}),
    ("t", {"type": "long", "logicalType": "timestamp-millis"}),
    ("d", {"type": "int", "logicalType": "date"}),
    ("f", "float"),
    ("b", "boolean"),
    ("n", ["null", {"type": "record", "name": "N", "fields": [{"name": "q", "type": "int"}]}]),
    ("l", {"type": "array", "items": "int"}),
    ("m", {"type": "map", "values": "string"}),
)


def encode(schema: Schema, event: dict[str, Any]) -> bytes:
    """One datum, by fastavro."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema.parsed, event)
    return out.getvalue()


def events(count: int) -> list[dict[str, Any]]:
    """Events of `WIDE` that differ from each other."""
    return [
        {
            "a": i - 5,
            "s": None if i % 3 else f"text {i} é",
            "e": "AB"[i % 2],
            "t": 1_700_000_000_000 + i,
            "d": 19_000 + i,
            "f": i / 7,
            "b": i % 2 == 0,
            "n": None if i % 2 else {"q": i},
            "l": list(range(i % 4)),
            "m": {f"k{i}": "v"} if i % 5 else {},
        }
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def wide() -> Decoder:
    """A decoder of `WIDE`."""
    return Decoder(parse(WIDE, where="wide"))


def test_columns_hold_what_was_written(wide: Decoder) -> None:
    """Every value comes back as it was written, in order."""
    written = events(50)

    decoded = wide.decode([encode(wide.schema, event) for event in written])

    assert wide.route is Route.COLUMNS
    assert decoded.rows == list(range(50))
    assert decoded.table.column("a").to_pylist() == [event["a"] for event in written]
    assert decoded.table.column("s").to_pylist() == [event["s"] for event in written]
    assert decoded.table.column("n").to_pylist() == [event["n"] for event in written]


def test_bad_records_are_refused_alone(wide: Decoder) -> None:
    """A short, a long and an empty record keep their places; every other row is decoded."""
    datums = [encode(wide.schema, event) for event in events(4000)]
    datums[7] += b"\x00"
    datums[1234] = datums[1234][:-1]
    datums[3999] = b""

    decoded = wide.decode(datums)

    assert sorted(decoded.rejections) == [7, 1234, 3999]
    assert decoded.rows == [row for row in range(4000) if row not in decoded.rejections]
    assert "left over" in str(decoded.rejections[7])
    assert "ends inside it" in str(decoded.rejections[1234])


def mutant(rng: random.Random, datum: bytes) -> bytes:
    """`datum` with one small damage."""
    damaged = bytearray(datum)
    at = rng.randrange(len(damaged))
    match rng.randrange(4):
        case 0:
            damaged[at] = rng.randrange(256)
        case 1:
            del damaged[at:]
        case 2:
            damaged.append(rng.randrange(256))
        case _:
            damaged[at : at + 1] = rng.randbytes(rng.randrange(12))
    return bytes(damaged)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_accepts_what_the_reference_accepts(wide: Decoder, seed: int) -> None:
    """On damaged records the columns equal what the strict walk and fastavro read."""
    rng = random.Random(seed)
    good = [encode(wide.schema, event) for event in events(200)]
    damaged = [mutant(rng, rng.choice(good)) for _ in range(5000)]

    decoded = wide.decode(damaged)

    accepted = dict(zip(decoded.rows, decoded.table.column("a").to_pylist(), strict=True))
    texts = dict(zip(decoded.rows, decoded.table.column("s").to_pylist(), strict=True))
    for row, datum in enumerate(damaged):
        try:
            event = wide.read_one(datum)
        except Malformed:
            assert row in decoded.rejections
        else:
            assert accepted[row] == event["a"]
            assert texts[row] == event["s"]


def test_every_cut_is_seen(wide: Decoder) -> None:
    """A record cut anywhere, and one with a byte too many, is refused."""
    datum = encode(wide.schema, events(3)[2])
    cuts = [datum[:end] for end in range(len(datum))] + [datum + b"\x00", datum + datum]

    decoded = wide.decode(cuts)

    assert len(decoded.rejections) == len(cuts)


HOSTILE = [
    ("int wider than 32 bits", record(("a", "int")), b"\x80\x80\x80\x80\x10"),
    ("number longer than ten bytes", record(("a", "long")), b"\x80" * 10 + b"\x01"),
    ("boolean 7", record(("a", "boolean")), b"\x07"),
    ("not UTF-8", record(("a", "string")), b"\x04\xff\xfe"),
    ("lone surrogate", record(("a", "string")), b"\x06\xed\xa0\x80"),
    ("negative length", record(("a", "string")), b"\x01"),
    ("length beyond the end", record(("a", "string")), b"\xfe\xff\xff\xff\x0f"),
    ("union branch -1", record(("a", ["null", "string"])), b"\x01"),
    (
        "enum symbol -1",
        record(("a", {"type": "enum", "name": "E", "symbols": ["A", "B"]})),
        b"\x01",
    ),
    (
        "date out of range",
        record(("a", {"type": "int", "logicalType": "date"})),
        b"\xfe\xff\xff\xff\x0f",
    ),
    (
        "time of day out of range",
        record(("a", {"type": "int", "logicalType": "time-millis"})),
        b"\x01",
    ),
    ("uuid", record(("a", {"type": "string", "logicalType": "uuid"})), b"\x02x"),
    ("bytes beyond the end", record(("a", "bytes")), b"\x7f"),
    (
        "decimal beyond its precision",
        record(("a", {"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 0})),
        b"\x04\x7f\xff",
    ),
    ("huge array", record(("a", {"type": "array", "items": "long"})), b"\xfe\xff\xff\xff\x0f"),
]


@pytest.mark.parametrize(("name", "schema", "datum"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_hostile_bytes_are_refused(name: str, schema: str, datum: bytes) -> None:
    """Each is a `decode` verdict that names the field; none harms the process."""
    decoder = Decoder(parse(schema, where=name))

    decoded = decoder.decode([datum])

    assert list(decoded.rejections) == [0]
    assert "field a" in str(decoded.rejections[0])
    with pytest.raises(Malformed):
        check(decoder.schema.root, datum)


def test_schemas_the_columns_cannot_hold_go_record_by_record() -> None:
    """Bytes, fixed, decimals and wide unions are decoded by fastavro after the strict walk."""
    schema = parse(
        record(
            ("b", "bytes"),
            ("f", {"type": "fixed", "name": "F", "size": 2}),
            ("d", {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}),
            ("u", ["null", "string", "long"]),
            ("x", "double"),
        ),
        where="mixed",
    )
    decoder = Decoder(schema)
    out = io.BytesIO()
    event = {"b": b"\x00\xff", "f": b"ab", "d": b"\x30\x39", "u": 5, "x": 1.5}
    physical = json.loads(schema.text)
    physical["fields"][2]["type"] = "bytes"
    fastavro.schemaless_writer(out, fastavro.parse_schema(physical), event)

    decoded = decoder.decode([out.getvalue(), b"\x00"])

    assert decoder.route is Route.RECORDS
    assert decoded.rows == [0]
    assert str(decoded.table.column("d")[0].as_py()) == "123.45"
    assert decoded.table.column("b").to_pylist() == [b"\x00\xff"]
    assert list(decoded.rejections) == [1]


MOMENT = {"type": "long", "logicalType": "timestamp-millis"}
NESTED: dict[str, Any] = {
    "type": "record",
    "name": "Nested",
    "fields": [
        {"name": "list", "type": {"type": "array", "items": MOMENT}},
        {"name": "days", "type": {"type": "map", "values": {"type": "int", "logicalType": "date"}}},
        {
            "name": "part",
            "type": [
                "null",
                {
                    "type": "record",
                    "name": "Part",
                    "fields": [{"name": "at", "type": MOMENT}, {"name": "n", "type": "int"}],
                },
            ],
        },
    ],
}


def test_both_routes_give_the_same_columns_at_any_depth() -> None:
    """Dates and timestamps inside lists, maps and records, null ones too."""
    wide = {**NESTED, "fields": [*NESTED["fields"], {"name": "raw", "type": "bytes"}]}
    events = [
        {"list": [1, 2], "days": {"a": 3}, "part": {"at": 5, "n": 7}, "raw": b""},
        {"list": [], "days": {}, "part": None, "raw": b""},
    ]
    tables = []
    for document, route in ((NESTED, Route.COLUMNS), (wide, Route.RECORDS)):
        decoder = Decoder(parse(json.dumps(document), where="nested"))
        assert decoder.route is route
        plain = fastavro.parse_schema(without_logical_types(document))
        datums = []
        for event in events:
            stream = io.BytesIO()
            fastavro.schemaless_writer(stream, plain, event)
            datums.append(stream.getvalue())
        tables.append(decoder.decode(datums).table.select(["list", "days", "part"]))

    assert tables[0].schema == tables[1].schema
    assert tables[0].to_pylist() == tables[1].to_pylist()
    assert tables[0].to_pylist()[0]["list"][0] == datetime(1970, 1, 1, 0, 0, 0, 1000, tzinfo=UTC)
