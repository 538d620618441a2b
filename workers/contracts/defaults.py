"""Schemas as fastavro resolves them rightly: physical types, and defaults in Python's values.

fastavro puts a reader's default into the event as it stands in the JSON: text where `bytes` and
`fixed` are meant, and records without the defaults of their own fields. (Avro 1.12, "Complex Types:
Records", the table of default values: bytes are text of code points 0-255.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = Any
_NAMED = ("record", "error", "enum", "fixed")
_LOGICAL = frozenset({"logicalType", "precision", "scale"})


def without_logical_types(schema: Json) -> Any:
    """The schema with physical types only; defaults stay as they are."""
    if isinstance(schema, list):
        return [without_logical_types(branch) for branch in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: value if key == "default" else without_logical_types(value)
        for key, value in schema.items()
        if key not in _LOGICAL
    }


def with_python_defaults(schema: Json) -> Any:
    """The schema with each field's default as the value that a decoder would give.

    Raises:
        ValueError: a default is no value of its field's type; names the field.
    """
    return _Defaults().rewritten(schema, "")


class _Defaults:
    def __init__(self) -> None:
        self._named: dict[str, Json] = {}

    def rewritten(self, schema: Json, namespace: str) -> Any:
        if isinstance(schema, list):
            return [self.rewritten(branch, namespace) for branch in schema]
        if not isinstance(schema, Mapping):
            return schema
        made = dict(schema)
        if made.get("type") in _NAMED:
            namespace = self._define(made, namespace)
        for key in ("items", "values"):
            if key in made:
                made[key] = self.rewritten(made[key], namespace)
        if isinstance(made.get("type"), list | Mapping):
            made["type"] = self.rewritten(made["type"], namespace)
        if "fields" in made:
            made["fields"] = [self._field(entry, namespace) for entry in made["fields"]]
        return made

    def _define(self, schema: Mapping[str, Json], namespace: str) -> str:
        name = str(schema["name"])
        if "." not in name:
            space = str(schema.get("namespace", namespace))
            name = f"{space}.{name}" if space else name
        self._named[name] = schema
        return name.rpartition(".")[0]

    def _field(self, entry: Mapping[str, Json], namespace: str) -> dict[str, Any]:
        made = dict(entry)
        made["type"] = self.rewritten(entry["type"], namespace)
        if "default" in made:
            try:
                made["default"] = self._value(made["type"], made["default"], namespace)
            except (ValueError, TypeError, AttributeError, KeyError) as error:
                raise ValueError(
                    f"the default of field {made['name']} is no value of it"
                ) from error
        return made

    def _value(self, schema: Json, default: Json, namespace: str) -> Any:
        if isinstance(schema, list):
            return self._branch(schema, default, namespace)
        if isinstance(schema, str):
            found = self._named.get(schema) or self._named.get(f"{namespace}.{schema}")
            if found is None:
                return _plain(schema, default)
            return self._value(found, default, namespace)
        match schema["type"]:
            case "record" | "error":
                made: Any = self._record(schema, default, namespace)
            case "array":
                made = [self._value(schema["items"], item, namespace) for item in default]
            case "map":
                values = schema["values"]
                made = {k: self._value(values, v, namespace) for k, v in default.items()}
            case "enum" | "fixed" as kind:
                made = _plain(kind, default)
            case below:
                made = self._value(below, default, namespace)
        return made

    def _record(self, schema: Json, default: Json, namespace: str) -> dict[str, Any]:
        found = {}
        for entry in schema["fields"]:
            value = default.get(entry["name"], entry.get("default"))
            found[entry["name"]] = (
                value
                if entry["name"] not in default
                else self._value(entry["type"], value, namespace)
            )
        return found

    def _branch(self, union: list[Json], default: Json, namespace: str) -> Any:
        """Avro 1.12: a union's default is of one of its branches; before, of the first."""
        for branch in union:
            if self._fits(branch, default, namespace):
                return self._value(branch, default, namespace)
        raise ValueError("it is of no branch of the union")

    def _fits(self, schema: Json, default: Json, namespace: str) -> bool:
        if isinstance(schema, str):
            found = self._named.get(schema) or self._named.get(f"{namespace}.{schema}")
            return self._fits(found, default, namespace) if found else _is(schema, default)
        kind = schema["type"]
        if kind == "enum":
            return default in schema["symbols"]
        return _is(kind, default) if isinstance(kind, str) else self._fits(kind, default, namespace)


_JSON: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "array": (list,),
    "map": (dict,),
    "record": (dict,),
    "error": (dict,),
}


def _is(kind: str, default: Json) -> bool:
    """Has the JSON value the form of this type's defaults?"""
    if isinstance(default, bool):
        return kind == "boolean"
    return isinstance(default, _JSON.get(kind, (str,)))


def _plain(kind: str, default: Json) -> Any:
    if kind not in _NAMED and not _is(kind, default):
        raise ValueError(f"not of type {kind}")
    if kind in ("bytes", "fixed") and isinstance(default, str):
        return default.encode("latin-1")
    return float(default) if kind in ("float", "double") else default
