"""Records for people's eyes: the shape always, the content when asked for, sensitive fields never.

A field of a contract with `"sensitive": true` beside its `type` is never shown, nor is anything
below it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import fastavro

from workers.contracts.schema import Schema
from workers.contracts.sensitive import sensitive_fields
from workers.contracts.strict import Malformed, check

HIDDEN = "•••"


def decoded(schema: Schema, datum: bytes) -> dict[str, Any]:
    """The record of a datum.

    Raises:
        Malformed: it is none of that schema; names field and byte.
    """
    check(schema.root, datum)
    found = fastavro.schemaless_reader(io.BytesIO(datum), schema.parsed, None)
    return dict(found) if isinstance(found, dict) else {}


def has_sensitive(schema: Schema) -> bool:
    """Is any field of the contract tagged?"""
    return bool(sensitive_fields(schema))


def shown(schema: Schema, record: Mapping[str, Any], *, content: bool) -> dict[str, Any]:
    """The record with its content masked; with `content` only where a field is sensitive.

    A field that only holds a sensitive one is hidden whole.
    """
    hidden = sensitive_fields(schema)
    return {
        name: _plain(value) if content and name not in hidden else masked(value)
        for name, value in record.items()
    }


def masked(value: Any) -> Any:
    """What kind of thing it is, and how large."""
    match value:
        case None | bool():
            return value if value is None else HIDDEN
        case str():
            return f"{HIDDEN} ({len(value)} characters)"
        case bytes():
            return f"{HIDDEN} ({len(value)} bytes)"
        case dict() | list():
            # Not the names either: those of a map are content.
            return f"{HIDDEN} ({len(value)} inside)"
        case _:
            return f"{HIDDEN} ({type(value).__name__})"


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {name: _plain(below) for name, below in value.items()}
        case list():
            return [_plain(below) for below in value]
        case None | bool() | int() | float():
            return value
        case bytes():
            return value.hex()
        case _:
            return str(value)


__all__ = ["HIDDEN", "Malformed", "decoded", "has_sensitive", "masked", "sensitive_fields", "shown"]
