"""What the checker calls compatible decodes; what it rejects breaks, or has a stated reason."""

from __future__ import annotations

import io
import json
import random
import sys
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.governance.evolution import evolved, parsed, random_document, value_of, with_bytes
from tests.governance.schemas import Json, field, record, schema, versions
from workers.contracts.schema import Schema
from workers.contracts.subject import Compatibility
from workers.errors import ContractError
from workers.governance.compatibility.shape import Shape, shape_of
from workers.governance.compatibility.versions import check_versions, incompatibilities
from workers.governance.findings import Severity

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
    # Ours find all that Apache avro's checker does, and know the place; it stands guard.
    assert "apache-avro-objects" not in breaking, (found, writer.text, reader.text)
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
    max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(st.integers(min_value=0, max_value=2**63))
def test_compatible_means_that_every_record_decodes(seed: int) -> None:
    """Random schema, random change, random records; fastavro is the judge."""
    examine(random.Random(seed))


ENUM = {"type": "enum", "name": "Kind", "symbols": ["CARD", "CASH"]}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
FIXED = {"type": "fixed", "name": "Code", "size": 2}


def inner(*fields: Json, **more: Any) -> Json:
    """A record below the top."""
    return {"type": "record", "name": "Inner", "fields": list(fields), **more}


def one(kind: Json, **more: Any) -> Json:
    """A record with a field of this type."""
    return record(field("x", kind, **more))


# Writer, reader, the rules of the findings and where; the cases of kafka-facts.md 2.3 among them.
CASES: dict[str, tuple[Json, Json, set[tuple[str, str]]]] = {
    "same": (one("int"), one("int"), set()),
    "field added with a default": (record(), one("int", default=1), set()),
    "field added without": (record(), one("int"), {("field-missing", "x")}),
    "field removed": (one("int"), record(), set()),
    "field renamed": (one("int"), record(field("y", "int")), {("field-missing", "y")}),
    "field renamed by alias": (one("int"), record(field("y", "int", aliases=["x"])), set()),
    "alias of two": (
        record(field("x", "int"), field("y", "int")),
        record(field("y", "int", aliases=["x"])),
        {("alias-clash", "y")},
    ),
    "alias of another field's name": (
        one("int"),
        record(field("x", "int"), field("y", "int", aliases=["x"], default=1)),
        {("alias-clash", "y")},
    ),
    "fields reordered": (
        record(field("x", "int"), field("y", "string")),
        record(field("y", "string"), field("x", "int")),
        set(),
    ),
    "int to long": (one("int"), one("long"), set()),
    "int to double": (one("int"), one("double"), set()),
    "long to double": (one("long"), one("double"), {("promotion-loses-digits", "x")}),
    "float to double": (one("float"), one("double"), set()),
    "long to int": (one("long"), one("int"), {("type-changed", "x")}),
    "double to float": (one("double"), one("float"), {("type-changed", "x")}),
    "string to bytes": (one("string"), one("bytes"), set()),
    "bytes to string": (one("bytes"), one("string"), {("bytes-as-string", "x")}),
    "made optional": (one("int"), one(["null", "int"], default=None), set()),
    "made required": (one(["null", "int"]), one("int"), {("null-unread", "x")}),
    "union widened": (one(["int", "string"]), one(["int", "string", "boolean"]), set()),
    "union narrowed": (
        one(["int", "string", "boolean"]),
        one(["int", "string"]),
        {("union-branch-unread", "x")},
    ),
    "union to its wider member": (one(["int", "long"]), one("long"), set()),
    "in a union of arrays": (
        one(["null", {"type": "array", "items": "int"}]),
        one(["null", {"type": "array", "items": "string"}]),
        {("union-branch-unread", "x")},
    ),
    "the first branch that matches is read": (
        one(inner(field("a", "int"))),
        one(
            [
                inner(field("b", "int"), namespace="first"),
                inner(field("a", "int"), namespace="org.example"),
            ]
        ),
        {("field-missing", "x.b"), ("namespace-changed", "x")},
    ),
    "bytes as the string before them": (
        one("bytes"),
        one(["string", "bytes"]),
        {("bytes-as-string", "x")},
    ),
    "enum symbol removed": (
        one(ENUM),
        one({**ENUM, "symbols": ["CARD"]}),
        {("enum-symbol-unknown", "x")},
    ),
    "enum symbol removed with a default": (
        one(ENUM),
        one({**ENUM, "symbols": ["CARD"], "default": "CARD"}),
        set(),
    ),
    "enum renamed": (one(ENUM), one({**ENUM, "name": "Sort"}), {("type-renamed", "x")}),
    "enum renamed by alias": (one(ENUM), one({**ENUM, "name": "Sort", "aliases": ["Kind"]}), set()),
    "enum renamed by alias, in a union": (
        one(["null", ENUM]),
        one(["null", {**ENUM, "name": "Sort", "aliases": ["org.example.Kind"]}]),
        set(),
    ),
    "alias elsewhere": (
        one(ENUM),
        one({**ENUM, "name": "Sort", "aliases": ["other.Kind"]}),
        {("alias-in-other-namespace", "x")},
    ),
    "record renamed": (one("int"), {**one("int"), "name": "Sold"}, {("type-renamed", "")}),
    "record renamed by alias": (
        one("int"),
        {**one("int"), "name": "Sold", "aliases": ["Paid"]},
        set(),
    ),
    "aliases below": (
        one(inner(field("a", "int"))),
        one(inner(field("b", "long", aliases=["a"]), name="Other", aliases=["Inner"])),
        set(),
    ),
    "namespace changed": (
        one("int"),
        {**one("int"), "namespace": "elsewhere"},
        {("namespace-changed", "")},
    ),
    "fixed size": (one(FIXED), one({**FIXED, "size": 3}), {("fixed-size-changed", "x")}),
    "fixed renamed by alias, used twice": (
        record(field("x", FIXED), field("y", "Code")),
        record(
            field("x", {**FIXED, "name": "Sign", "aliases": ["Code"]}),
            field("y", {"type": "array", "items": "Sign"}, default=[]),
        ),
        {("type-changed", "y")},
    ),
    "decimal scale": (one(DECIMAL), one({**DECIMAL, "scale": 3}), {("decimal-changed", "x")}),
    "decimal precision": (
        one(DECIMAL),
        one({**DECIMAL, "precision": 9}),
        {("decimal-changed", "x")},
    ),
    "decimal to bytes": (one(DECIMAL), one("bytes"), {("logical-changed", "x")}),
    "an unknown logical type is none": (
        one({"type": "long", "logicalType": "parsecs"}),
        one("long"),
        set(),
    ),
    "a logical type of the wrong type is none": (
        one({"type": "string", "logicalType": "timestamp-millis"}),
        one("string"),
        set(),
    ),
    "millis to micros": (
        one(MILLIS),
        one({**MILLIS, "logicalType": "timestamp-micros"}),
        {("logical-changed", "x")},
    ),
    "timestamp to local": (
        one(MILLIS),
        one({**MILLIS, "logicalType": "local-timestamp-millis"}),
        {("logical-changed", "x")},
    ),
    "date to int": (
        one({"type": "int", "logicalType": "date"}),
        one("int"),
        {("logical-changed", "x")},
    ),
    "string to uuid": (
        one("string"),
        one({"type": "string", "logicalType": "uuid"}),
        {("logical-changed", "x")},
    ),
    "in map values": (
        one({"type": "map", "values": inner(field("a", "int"))}),
        one({"type": "map", "values": inner(field("a", "string"))}),
        {("type-changed", "x{}.a")},
    ),
    "default out of range": (record(), one("int", default=2**31), {("default-invalid", "x")}),
    "default of the second branch": (
        record(),
        one(["null", "int"], default=1),
        {("default-not-first-branch", "x")},
    ),
    "default that is no symbol": (record(), one(ENUM, default="COIN"), {("default-invalid", "x")}),
    "default of a fixed, too short": (
        record(),
        one(FIXED, default="a"),
        {("default-invalid", "x")},
    ),
    "default of a record, incomplete": (
        record(),
        one(inner(field("a", "int")), default={}),
        {("default-invalid", "x")},
    ),
    "default of an array, items wrong": (
        record(),
        one({"type": "array", "items": "int"}, default=["a"]),
        {("default-invalid", "x")},
    ),
    "default beyond bytes": (record(), one("bytes", default="\u0100"), {("default-invalid", "x")}),
    "two branches of a type": (one("int"), one(["int", "null", "int"]), {("not-avro", "")}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rule_and_the_place_of_each_case(name: str) -> None:
    """Every fault by its stable rule, with the path of its field."""
    writer, reader, expected = CASES[name]

    found = incompatibilities(schema(reader), schema(writer))

    assert {(entry.rule, entry.where) for entry in found} == expected
    assert all(entry.breaks for entry in found)


def test_every_rule_without_counter_examples_is_one_of_the_cases() -> None:
    """The closed list stays a list of rules that exist."""
    known = {rule for *_, expected in CASES.values() for rule, _ in expected}

    assert known >= STATED_REASONS.keys()


@pytest.mark.parametrize(
    ("kind", "default"),
    [("int", "a"), ("int", 1.5), ("boolean", 0), (["null", "int"], "a"), ("null", 0)],
)
def test_a_default_of_the_wrong_type_is_no_schema(kind: Json, default: Json) -> None:
    """Apache avro's checker takes it; fastavro, and so we, refuse the file."""
    with pytest.raises(ContractError, match="Default value"):
        schema(one(kind, default=default))


GROWN = record(field("x", "int"), field("y", "int"))
SHRUNK = record()
MODES = {
    # Version 1 has x. Version 2 has no field, version 3 has y without a default: what is found
    # depends on whether version 1 or 2 is asked too, and in which direction.
    Compatibility.NONE: set[tuple[str, str, str]](),
    Compatibility.BACKWARD: {("field-added-without-default", "y", "version 2")},
    Compatibility.BACKWARD_TRANSITIVE: {
        ("field-added-without-default", "y", "versions 1 and 2"),
    },
    Compatibility.FORWARD: set(),
    Compatibility.FORWARD_TRANSITIVE: {("field-removed", "x", "version 1")},
    Compatibility.FULL: {("field-added-without-default", "y", "version 2")},
    Compatibility.FULL_TRANSITIVE: {
        ("field-added-without-default", "y", "versions 1 and 2"),
        ("field-removed", "x", "version 1"),
    },
}


@pytest.mark.parametrize("mode", Compatibility)
def test_a_mode_says_which_versions_are_compared_and_in_which_direction(
    mode: Compatibility,
) -> None:
    """All seven modes of a registry."""
    first, second, candidate = versions(one("int"), SHRUNK, record(field("y", "int")))

    found = check_versions(mode, [second, first], candidate)

    assert {(entry.rule, entry.where, entry.against) for entry in found} == MODES[mode]


def test_a_removed_field_is_breaking_for_subscribers() -> None:
    """What breaks, for whom, and the safe way."""
    first, second = versions(GROWN, record(field("x", "int")))

    [finding] = check_versions(Compatibility.FULL_TRANSITIVE, [first], second)

    assert (finding.severity, finding.rule, finding.where) == (
        Severity.BREAKING,
        "field-removed",
        "y",
    )
    assert "subscribers who still use version 1" in finding.whom
    assert "deprecated in its doc" in finding.remedy
    assert "sunset date" in finding.remedy


def test_a_rename_without_an_alias_is_told_the_alias() -> None:
    """The remedy names the field that went."""
    first, second = versions(one("int"), record(field("y", "int")))

    [finding] = check_versions(Compatibility.BACKWARD, [first], second)

    assert '"aliases": ["x"]' in finding.remedy
    assert "records of version 1" in finding.whom


def test_an_added_enum_symbol_is_breaking_for_those_who_do_not_know_it() -> None:
    """Forward; its name is another than a removed one's."""
    first, second = versions(one({**ENUM, "symbols": ["CARD"]}), one(ENUM))

    [finding] = check_versions(Compatibility.FULL, [first], second)

    assert finding.rule == "enum-symbol-added"
    assert "CASH" in finding.breaks


def test_what_is_wrong_with_a_version_alone_is_found_in_every_mode() -> None:
    """A default that is no value of its type needs no other version to be wrong."""
    [only] = versions(one("int", default=2**40))

    [finding] = check_versions(Compatibility.NONE, [], only)

    assert finding.rule == "default-invalid"


def test_shared_types_do_not_make_the_comparison_endless() -> None:
    """25 records, each with two fields of the one before: 2^25 paths, one comparison a type."""
    inner: Json = {"type": "record", "name": "R0", "fields": [field("a", "int")]}
    for number in range(1, 25):
        inner = {
            "type": "record",
            "name": f"R{number}",
            "fields": [field("a", inner), field("b", f"R{number - 1}")],
        }
    narrow = json.dumps(one(inner))
    wide = narrow.replace('"int"', '"long"')

    found = incompatibilities(schema(json.loads(narrow)), schema(json.loads(wide)))

    assert [entry.rule for entry in found] == ["type-changed"]


def test_without_apache_avro_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker needs none; who compares does."""
    monkeypatch.setitem(sys.modules, "avro", None)

    with pytest.raises(ContractError, match=r"enrichment-workers\[contracts\]"):
        incompatibilities(schema(one("long")), schema(one("int")))
