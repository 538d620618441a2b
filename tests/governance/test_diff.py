"""Differences as a person reads them, each with whom it touches."""

from __future__ import annotations

import pytest

from tests.governance.schemas import Json, field, record, schema
from workers.governance.diff import Change, What, diff, summary

ENUM = {"type": "enum", "name": "Kind", "symbols": ["CARD"]}
INNER = {"type": "record", "name": "Inner", "fields": [field("a", "int")]}
WIDER = {"type": "record", "name": "Inner", "fields": [field("a", "long")]}


def told(change: Change) -> tuple[str, What, bool, bool]:
    """Where, what, does the new read the old, does the old read the new."""
    return change.where, change.what, change.backward, change.forward


CASES: dict[str, tuple[Json, Json, list[tuple[str, What, bool, bool]]]] = {
    "nothing": (record(field("x", "int")), record(field("x", "int")), []),
    "added with a default": (
        record(),
        record(field("x", "int", default=1)),
        [("x", What.ADDED, True, True)],
    ),
    "added without": (record(), record(field("x", "int")), [("x", What.ADDED, False, True)]),
    "removed": (record(field("x", "int")), record(), [("x", What.REMOVED, True, False)]),
    "promoted": (
        record(field("x", "int")),
        record(field("x", "long")),
        [("x", What.TYPE, True, False)],
    ),
    "made optional": (
        record(field("x", "int")),
        record(field("x", ["null", "int"])),
        [("x", What.TYPE, True, False)],
    ),
    "optional and promoted": (
        record(field("x", ["null", "int"])),
        record(field("x", ["null", "long"])),
        [("x", What.TYPE, True, False)],
    ),
    "renamed by alias": (
        record(field("x", "int")),
        record(field("y", "int", aliases=["x"])),
        [("y", What.RENAMED, True, False)],
    ),
    "renamed below": (
        record(field("p", INNER)),
        record(field("p", WIDER)),
        [("p.a", What.TYPE, True, False)],
    ),
    "items": (
        record(field("p", {"type": "array", "items": INNER})),
        record(field("p", {"type": "array", "items": WIDER})),
        [("p[].a", What.TYPE, True, False)],
    ),
    "doc and default": (
        record(field("x", "int", default=1)),
        record(field("x", "int", default=2) | {"doc": "Other."}),
        [("x", What.DEFAULT, True, True), ("x", What.DOC, True, True)],
    ),
    "reordered": (
        record(field("x", "int"), field("y", "int")),
        record(field("y", "int"), field("x", "int")),
        [("", What.REORDERED, True, True)],
    ),
    "a symbol more": (
        record(field("x", ENUM)),
        record(field("x", {**ENUM, "symbols": ["CARD", "CASH"]})),
        [("x", What.SYMBOLS, True, False)],
    ),
    "a default symbol": (
        record(field("x", ENUM)),
        record(field("x", {**ENUM, "default": "CARD"})),
        [("x", What.DEFAULT, True, True)],
    ),
    "another unit": (
        record(field("x", {"type": "long", "logicalType": "timestamp-millis"})),
        record(field("x", {"type": "long", "logicalType": "timestamp-micros"})),
        [("x", What.TYPE, False, False)],
    ),
    "another type name": (
        record(field("x", ENUM)),
        record(field("x", {**ENUM, "name": "Sort", "aliases": ["Kind"]})),
        [("x", What.TYPE, True, False)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_difference_has_a_place_a_kind_and_effects(name: str) -> None:
    """One of each kind."""
    old, new, expected = CASES[name]

    assert [told(change) for change in diff(schema(old), schema(new))] == expected


def test_a_difference_is_told_in_a_line() -> None:
    """Both sides, readable."""
    [change] = diff(
        schema(record(field("x", ["null", "int"]))), schema(record(field("x", ["null", "string"])))
    )

    assert change.text == "null or int → null or string"
    assert summary([change]) == "new readers read old records: NO; old readers read new records: NO"
    assert summary([]) == "nothing differs"
