"""Differential fuzz: a version read as another one, by columns and by records, and rewritten."""

from __future__ import annotations

import ctypes
import io
import random
from collections import Counter
from typing import Any

import fastavro
import pyarrow as pa

from tests.governance.evolution import evolved, parsed, random_document, value_of
from workers.contracts.codec import Route
from workers.contracts.columns import arrow_type, arrow_value, is_mixed
from workers.contracts.defaults import without_logical_types
from workers.contracts.resolution import Resolver, Unresolvable, VersionReader
from workers.contracts.schema import Schema
from workers.errors import Reject
from workers.governance.compatibility.shape import shape_of
from workers.governance.compatibility.versions import incompatibilities
from workers.governance.findings import Severity

SEEDS = 600


def pair(rng: random.Random) -> tuple[Schema, Schema] | None:
    """A writer's and a reader's schema, one an evolution of the other."""
    before = random_document(rng)
    found = [parsed(before), parsed(evolved(rng, before))]
    rng.shuffle(found)
    writer, reader = found
    return None if writer is None or reader is None else (writer, reader)


def datums(rng: random.Random, writer: Schema) -> list[bytes]:
    """Random records, in physical values."""
    plain = fastavro.parse_schema(without_logical_types(dict(writer.document)))
    made = []
    for _ in range(6):
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, plain, value_of(rng, shape_of(writer)))
        made.append(stream.getvalue())
    return made


def examine(rng: random.Random) -> str:
    """What became of one pair; columns, records and the rewritten record must say the same."""
    drawn = pair(rng)
    if drawn is None:
        return "refused at load"
    writer, reader = drawn
    faults = incompatibilities(reader, writer)
    compatible = not any(fault.severity is Severity.BREAKING for fault in faults)
    fields = [name for name, node in reader.root.children if not is_mixed(node)]
    try:
        columns, resolver = VersionReader(writer, reader, fields), Resolver(writer, reader)
    except Unresolvable:
        # What the checker lets pass at release must not fail here.
        assert not compatible, (faults, writer.text, reader.text)
        return "unresolvable"
    records = datums(rng, writer)
    decoded = columns.decode(records)
    if not compatible:
        return "incompatible, by record"
    nodes = dict(reader.root.children)
    try:
        events = [resolver.read(datum) for datum in records]
    except Reject as reject:
        # The specification promotes bytes to text whatever they are.
        if "UnicodeDecodeError" not in str(reject):
            raise
        return "bytes that are no text"
    assert not decoded.rejections, (writer.text, reader.text)
    for name in fields:
        expected = pa.array(
            [arrow_value(event[name], nodes[name]) for event in events], arrow_type(nodes[name])
        )
        got = decoded.table.column(name)
        assert got.type == expected.type, (name, writer.text, reader.text)
        assert repr(got.to_pylist()) == repr(expected.to_pylist()), (writer.text, reader.text)
    plain = fastavro.parse_schema(without_logical_types(dict(reader.document)))
    for datum, event in zip(records, events, strict=True):
        stream = io.BytesIO(resolver.rewrite(datum))
        again = dict(fastavro.schemaless_reader(stream, plain, None))
        assert ordered(again) == ordered(event), (writer.text, reader.text)
        assert not stream.read()
    return columns.route.value


def ordered(value: Any) -> Any:
    """A value whose text is the same for equal ones: NaN, and any order of fields."""
    if isinstance(value, dict):
        return repr(sorted((key, ordered(item)) for key, item in value.items()))
    if isinstance(value, list):
        return repr([ordered(item) for item in value])
    if isinstance(value, int | float) and not isinstance(value, bool):
        # A promoted number is one of Python's until it is written as a float of 32 bits.
        return repr(ctypes.c_float(value).value)
    return repr(value)


def test_columns_records_and_rewriting_agree() -> None:
    """Over random evolutions; what the checker calls compatible is read by every way."""
    seen = Counter(examine(random.Random(seed)) for seed in range(SEEDS))

    assert seen[Route.COLUMNS.value] > SEEDS // 50
    assert seen[Route.RESOLVED.value] > SEEDS // 50
    assert seen["unresolvable"] > SEEDS // 50
