"""topology.yaml's keys as a table for people, from the same models that read the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workers.topology.model import json_schema

HEAD = """# topology.yaml

Written by `workers schema --output table`. `${NAME}` and `${NAME:-default}` are taken from the
environment; an unknown key, a duplicate one or a value out of range is an error with its line.
`<name>` is the worker's name. A key without default must be written. Durations are shown in seconds
and sizes in bytes; in the file they have a unit, as in `50ms` and `8MiB`.

| key | default | what |
|---|---|---|
"""


def describe() -> str:
    """Every key with default and description, as Markdown."""
    schema = json_schema()
    return HEAD + "".join(f"| `{key}` | {value} | {what} |\n" for key, value, what in _keys(schema))


def _keys(schema: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield from _walk(schema, schema.get("$defs", {}), "")


def _walk(
    part: dict[str, Any], shared: dict[str, Any], path: str
) -> Iterator[tuple[str, str, str]]:
    required = part.get("required", [])
    for name, field in part.get("properties", {}).items():
        inner = _resolve(field, shared)
        key = f"{path}{name}"
        many: dict[str, Any] = next(iter(inner.get("patternProperties", {}).values()), {})
        if "$ref" in many:
            yield key, "", field.get("description", "")
            yield from _walk(_resolve(many, shared), shared, f"{key}.<name>.")
        elif "properties" in inner:
            yield key, "" if name in required else "off or as below", field.get("description", "")
            yield from _walk(inner, shared, f"{key}.")
        else:
            yield key, "" if name in required else _default(field), _what(field, inner)


def _default(field: dict[str, Any]) -> str:
    default = field.get("default")
    return "none" if default in (None, "", {}) else f"`{default}`"


def _resolve(field: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """The field's own schema: behind a reference, or the branch that is not null."""
    for choice in (field, *field.get("anyOf", ())):
        reference = choice.get("$ref")
        if reference is not None:
            found: dict[str, Any] = shared[reference.rpartition("/")[2]]
            return found
    return field


def _what(field: dict[str, Any], inner: dict[str, Any]) -> str:
    text = str(field.get("description", ""))
    choices = inner.get("enum")
    return f"{text} One of {', '.join(f'`{c}`' for c in choices)}." if choices else text
