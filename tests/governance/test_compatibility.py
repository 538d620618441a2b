"""What the checker calls compatible decodes; what it rejects breaks, or has a stated reason."""

from __future__ import annotations

import io
import random
from typing import Any

import fastavro
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.governance.evolution import (
    evolved,
    parsed,
    random_document,
    value_of,
    with_bytes,
)
from workers.contracts.schema import Schema
from workers.governance.compatibility import incompatibilities
from workers.governance.findings import Severity
from workers.governance.shape import Shape, shape_of

STATED_REASONS = {
    "logical-changed": "the same bytes get another meaning; Avro 1.12, Logical Types",
    "decimal-changed": "decimals match if scale and precision do; Avro 1.12, Schema Resolution",
    "default-invalid": "no value of its type; Avro 1.12, Complex Types: Records",
    "alias-clash": "libraries read different fields; Avro 1.12, Aliases, does not say which",
    "not-avro": "no schema by the specification: two branches of a union of one type",
    "alias-in-other-namespace": "an alias is a full name; fastavro compares names without it",
}
"""Rules that fastavro is laxer on: a rejection by these alone needs no counter-example."""


def through(reader: Schema, writer: Schema, value: Any) -> str | None:
    """Write, read with the reader's schema, write that again; what failed, or None."""
    written = io.BytesIO()
    try:
        fastavro.schemaless_writer(written, writer.parsed, value)
    except ValueError:
        return None  # text in a union with a date: fastavro takes it for a date
    datum = io.BytesIO(written.getvalue())
    try:
        read = fastavro.schemaless_reader(datum, writer.parsed, reader.parsed)
        if datum.tell() != len(written.getvalue()):
            return "bytes are left over"
        again = with_bytes(shape_of(reader), read)
        fastavro.schemaless_writer(io.BytesIO(), reader.parsed, again)
    except Exception as error:  # noqa: BLE001  # fastavro raises many unrelated types
        return f"{type(error).__name__}: {error}"
    return None


def examine(rng: random.Random) -> tuple[str, ...] | None:
    """One schema, one evolution, one direction; the rules that rejected it. None: nothing to try.

    Raises:
        AssertionError: the checker and fastavro do not agree.
    """
    before = random_document(rng)
    after = evolved(rng, before)
    pair = [parsed(before), parsed(after)]
    rng.shuffle(pair)
    writer, reader = pair
    if writer is None or reader is None:
        return None
    found = incompatibilities(reader, writer)
    breaking = {entry.rule for entry in found if entry.severity is Severity.BREAKING}
    shape = shape_of(writer)
    if not breaking:
        for _ in range(10):
            value = value_of(rng, shape)
            fault = through(reader, writer, value)
            assert fault is None, (fault, value, writer.text, reader.text)
    elif not breaking <= STATED_REASONS.keys():
        assert _counter_example(rng, reader, writer, shape), (found, writer.text, reader.text)
    return tuple(sorted(breaking))


def _counter_example(rng: random.Random, reader: Schema, writer: Schema, shape: Shape) -> bool:
    # A fault may be behind an empty array or another branch of a union.
    return any(through(reader, writer, value_of(rng, shape)) for _ in range(400))


@settings(
    max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(st.integers(min_value=0, max_value=2**63))
def test_compatible_means_that_every_record_decodes(seed: int) -> None:
    """Random schema, random change, random records; fastavro is the judge."""
    examine(random.Random(seed))
