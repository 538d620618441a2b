"""Fields that a contract tags: with `"sensitive": true` beside their `type`."""

from __future__ import annotations

from typing import Any

from workers.contracts.schema import Schema

SENSITIVE = "sensitive"


def sensitive_fields(schema: Schema) -> frozenset[str]:
    """Top-level fields that are tagged, or hold one that is."""
    fields = schema.document["fields"]
    return frozenset(field["name"] for field in fields if _tagged(field))


def _tagged(part: Any) -> bool:
    """Is there a tag anywhere in this part of a schema?"""
    if isinstance(part, dict):
        return part.get(SENSITIVE) is True or any(_tagged(below) for below in part.values())
    return isinstance(part, list) and any(_tagged(below) for below in part)
