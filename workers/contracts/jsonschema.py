"""A contract version as JSON Schema 2020-12, for OpenAPI: what is accepted, what answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workers.contracts.jsonform import LONG_RANGE, NAMED, WORDS, branch_name, full_name
from workers.contracts.schema import Schema
from workers.contracts.strict import INT_RANGE, UUID, logical_range

Json = Any
FLOAT_MAX = 3.4028234663852886e38


def event_schema(schema: Schema) -> dict[str, Any]:
    """What `JsonForm` accepts as one event."""
    return _Schemas(tagged=True).of(dict(schema.document), "")


def answer_schema(schema: Schema) -> dict[str, Any]:
    """What is answered of a record: every field, a union's value without the name of its type."""
    return _Schemas(tagged=False).of(dict(schema.document), "")


class _Schemas:
    def __init__(self, *, tagged: bool) -> None:
        self._tagged = tagged
        self._named: dict[str, dict[str, Any]] = {}

    def of(self, schema: Json, space: str) -> dict[str, Any]:  # noqa: PLR0911  a line a kind
        if isinstance(schema, list):
            return self._union(schema, space)
        if isinstance(schema, str):
            return self._reference(schema, None, space)
        kind = schema["type"]
        if isinstance(kind, dict | list):
            return self.of(kind, space)
        if kind in NAMED:
            return self._define(schema, space)
        if kind == "array":
            return {"type": "array", "items": self.of(schema["items"], space)}
        if kind == "map":
            return {"type": "object", "additionalProperties": self.of(schema["values"], space)}
        return self._reference(kind, schema.get("logicalType"), space)

    def _reference(self, name: str, logical: str | None, space: str) -> dict[str, Any]:
        found = _primitive(name, logical)
        if found is not None:
            return found
        known = self._named.get(name) if "." in name else self._named.get(f"{space}.{name}")
        return known or self._named[name]

    def _define(self, schema: Mapping[str, Json], space: str) -> dict[str, Any]:
        name = full_name(schema, space)
        made: dict[str, Any]
        if schema["type"] == "enum":
            made = {"type": "string", "enum": list(schema["symbols"])}
        elif schema["type"] == "fixed":
            made = {**_BYTES, "minLength": schema["size"], "maxLength": schema["size"]}
        else:
            made = self._record(schema, name.rpartition(".")[0])
        if "doc" in schema:
            made["description"] = schema["doc"]
        self._named[name] = made
        return made

    def _record(self, schema: Mapping[str, Json], space: str) -> dict[str, Any]:
        properties = {}
        for entry in schema["fields"]:
            found = dict(self.of(entry["type"], space))
            if "doc" in entry:
                found["description"] = entry["doc"]
            if self._tagged and "default" in entry:
                found["default"] = entry["default"]
            properties[entry["name"]] = found
        required = [
            entry["name"]
            for entry in schema["fields"]
            if not self._tagged or "default" not in entry
        ]
        made = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**made, "required": required} if required else made

    def _union(self, branches: list[Json], space: str) -> dict[str, Any]:
        named = []
        for branch in branches:
            found = self.of(branch, space)
            named.append((branch_name(branch, space, self._named), found))
        others = [(name, found) for name, found in named if name != "null"]
        choices: list[dict[str, Any]] = []
        if not self._tagged or (len(named) == 2 and len(others) == 1):
            choices += [found for _, found in others]
        if len(others) < len(named):
            choices.append({"type": "null"})
        choices += [
            {
                "type": "object",
                "properties": {name: found},
                "required": [name],
                "additionalProperties": False,
            }
            for name, found in (others if self._tagged else ())
        ]
        return choices[0] if len(choices) == 1 else {"anyOf": choices}


_BYTES: dict[str, Any] = {"type": "string", "pattern": "^[\\u0000-\\u00ff]*$"}


def _primitive(kind: str, logical: str | None) -> dict[str, Any] | None:
    if kind in ("int", "long"):
        low, high = logical_range(logical) or (INT_RANGE if kind == "int" else LONG_RANGE)
        shown = {"description": f"{logical}, as an integer"} if logical else {}
        return {"type": "integer", "minimum": low, "maximum": high, **shown}
    if kind in ("float", "double"):
        bound = {"minimum": -FLOAT_MAX, "maximum": FLOAT_MAX} if kind == "float" else {}
        return {"anyOf": [{"type": "number", **bound}, {"enum": list(WORDS)}]}
    if kind == "string":
        return {"type": "string", "pattern": f"^{UUID}$"} if logical == "uuid" else {"type": kind}
    plain: dict[str, dict[str, Any]] = {
        "bytes": _BYTES,
        "boolean": {"type": "boolean"},
        "null": {"type": "null"},
    }
    return plain.get(kind)
