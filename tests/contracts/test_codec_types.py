"""Differential fuzz over random schemas: columns, strict walk and fastavro agree on records."""

from __future__ import annotations

import io
import json
import math
import random
from collections.abc import Callable
from typing import Any

import fastavro
import pytest

from workers.contracts.codec import Decoder, Route
from workers.contracts.schema import parse
from workers.contracts.strict import Malformed

Json = Any
Writer = Callable[[random.Random], Any]
TEXTS = ("", "a", "é", "漢字", "\x00", "x" * 300, "🛫", "\ufffd")
LONGS = (0, 1, -1, 63, 64, -64, -65, 2**31, -(2**31) - 1, 2**63 - 1, -(2**63))
INTS = (0, -1, 2**31 - 1, -(2**31))
FLOATS = (0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, 5e-324, 1e308)


def leaf(rng: random.Random, number: int) -> tuple[Json, Writer]:
    """A schema without children, and what writes a value of it."""
    kinds: list[tuple[Json, Writer]] = [
        ("boolean", lambda r: r.random() < 0.5),
        ("int", lambda r: r.choice(INTS)),
        ("long", lambda r: r.choice(LONGS)),
        ("float", lambda r: r.choice((0.0, -0.0, 1.5, math.inf, math.nan))),
        ("double", lambda r: r.choice(FLOATS)),
        ("string", lambda r: r.choice(TEXTS)),
        (
            {"type": "enum", "name": f"E{number}", "symbols": ["A", "B", "C"]},
            lambda r: r.choice("ABC"),
        ),
        ({"type": "int", "logicalType": "date"}, lambda r: r.randrange(-700_000, 2_900_000)),
        ({"type": "int", "logicalType": "time-millis"}, lambda r: r.randrange(86_400_000)),
        ({"type": "long", "logicalType": "time-micros"}, lambda r: r.randrange(86_400_000_000)),
        ({"type": "long", "logicalType": "timestamp-millis"}, lambda r: r.randrange(2 * 10**12)),
        ({"type": "long", "logicalType": "timestamp-micros"}, lambda r: r.randrange(2 * 10**15)),
    ]
    return rng.choice(kinds)


def node(rng: random.Random, number: int, depth: int) -> tuple[Json, Writer]:
    """A random schema at most `depth` levels deep."""
    shape = rng.randrange(6) if depth else 0
    if shape <= 2:
        return leaf(rng, number)
    inner, write = node(rng, number * 10 + 1, depth - 1)
    if shape == 3:
        return {"type": "array", "items": inner}, lambda r: [
            write(r) for _ in range(r.randrange(4))
        ]
    if shape == 4:
        return {"type": "map", "values": inner}, lambda r: {
            f"k{n}": write(r) for n in range(r.randrange(3))
        }
    other, write_other = node(rng, number * 10 + 2, depth - 1)
    fields = [{"name": "p", "type": inner}, {"name": "q", "type": other}]
    kind = {"type": "record", "name": f"R{number}", "fields": fields}
    return kind, lambda r: {"p": write(r), "q": write_other(r)}


def schema(seed: int) -> tuple[str, Writer]:
    """A record of five random fields, some of them nullable."""
    rng = random.Random(seed)
    fields, writers = [], dict[str, Writer]()
    for number in range(1, 6):
        kind, write = node(rng, number, 2)
        name = f"f{number}"
        if rng.random() < 0.4:
            kind = ["null", kind]
            writers[name] = lambda r, write=write: None if r.random() < 0.3 else write(r)  # type: ignore[misc]
        else:
            writers[name] = write
        fields.append({"name": name, "type": kind})
    text = json.dumps({"type": "record", "name": "Top", "fields": fields})
    return text, lambda r: {name: write(r) for name, write in writers.items()}


def damaged(rng: random.Random, datum: bytes) -> bytes:
    """The datum with one thing wrong, or nothing."""
    at = rng.randrange(len(datum) + 1)
    return rng.choice(
        (
            datum,
            datum[:at],
            datum + rng.randbytes(rng.randrange(1, 4)),
            datum[:at] + rng.randbytes(1) + datum[at + 1 :],
            datum[:at] + bytes([datum[at] ^ (1 << rng.randrange(8))]) + datum[at + 1 :]
            if at < len(datum)
            else datum,
            datum[:at] + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + datum[at:],
            datum[:at] + b"\x01" + datum[at + 1 :],
        )
    )


def plain(value: Any) -> Any:
    """A value as both sides can be compared: pairs for maps, a word for NaN."""
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, dict):
        return sorted((name, plain(item)) for name, item in value.items())
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        return sorted((name, plain(item)) for name, item in value)
    return [plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("seed", range(40))
def test_random_schemas_and_damaged_records(seed: int) -> None:
    """What one accepts all accept, with equal values; what one refuses all refuse."""
    text, write = schema(seed)
    parsed = parse(text, where=f"seed {seed}")
    decoder, rng = Decoder(parsed), random.Random(seed + 1000)
    good = []
    for _ in range(30):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed.parsed, write(rng))
        good.append(out.getvalue())
    datums = [*good, *(damaged(rng, rng.choice(good)) for _ in range(400))]

    decoded = decoder.decode(datums)

    assert decoder.route is Route.COLUMNS
    assert set(decoded.rows) >= set(range(30))
    events = dict(zip(decoded.rows, decoded.table.to_pylist(), strict=True))
    for row, datum in enumerate(datums):
        try:
            expected = decoder.read_one(datum)
        except Malformed:
            assert row in decoded.rejections, (seed, row, datum)
        else:
            assert row in events, (seed, row, datum)
            if not _has_times(text):
                found = {name: events[row][name] for name in expected}
                assert plain(found) == plain(expected), (seed, row, datum)


def _has_times(text: str) -> bool:
    """Python's time types hold less than Avro's; their ranges have tests of their own."""
    return "logicalType" in text
