"""A schema as resolution sees it: full names, aliases, defaults and logical types that count.

`contracts.schema.Node` holds what decoders need; comparing two schemas needs the names as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.contracts.schema import PRIMITIVES, Schema

NO_DEFAULT = object()
NAMED = frozenset({"record", "enum", "fixed"})

# Avro 1.12, "Logical Types". On any other type they are to be ignored, and so are unknown ones.
_LOGICAL = {
    "int": {"date", "time-millis"},
    "long": {"time-micros"}
    | {f"timestamp-{unit}" for unit in ("millis", "micros", "nanos")}
    | {f"local-timestamp-{unit}" for unit in ("millis", "micros", "nanos")},
    "bytes": {"decimal", "big-decimal"},
    "fixed": {"decimal", "duration", "uuid"},
    "string": {"uuid"},
}


@dataclass(frozen=True, slots=True)
class Logical:
    """A logical type; precision and scale are a decimal's."""

    name: str
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        """As a person writes it."""
        return f"decimal({self.precision}, {self.scale})" if self.name == "decimal" else self.name


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A record's field; `default` is `NO_DEFAULT` where there is none."""

    name: str
    shape: Shape
    aliases: tuple[str, ...]
    default: Any
    doc: str

    @property
    def has_default(self) -> bool:
        """Can a reader fill it in?"""
        return self.default is not NO_DEFAULT


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One type. A named type that is used twice is one object, so identity says "the same".

    `name` and `aliases` are full names. `parts` are the branches of a union, or the one type of
    items or values.
    """

    kind: str
    name: str = ""
    aliases: tuple[str, ...] = ()
    logical: Logical | None = None
    fields: tuple[Field, ...] = ()
    parts: tuple[Shape, ...] = ()
    symbols: tuple[str, ...] = ()
    symbol_default: str | None = None
    size: int = 0
    doc: str = ""

    @property
    def short_name(self) -> str:
        """The name without its namespace."""
        return self.name.rpartition(".")[2]

    def field(self, name: str) -> Field | None:
        """The field of this name."""
        return next((field for field in self.fields if field.name == name), None)

    def __str__(self) -> str:
        """As a person writes it."""
        if self.kind == "union":
            return " or ".join(map(str, self.parts))
        if self.kind in ("array", "map"):
            return f"{self.kind} of {self.parts[0]}"
        base = f"{self.kind} {self.short_name}" if self.name else self.kind
        return f"{base} as {self.logical}" if self.logical else base


def shape_of(schema: Schema) -> Shape:
    """The shape of a schema that `contracts.schema.parse` let through."""
    return _Builder().build(schema.document, "")


class _Builder:
    def __init__(self) -> None:
        self._named: dict[str, Shape] = {}

    def build(self, schema: Any, namespace: str) -> Shape:
        if isinstance(schema, str):
            return self._reference(schema, namespace)
        if isinstance(schema, list):
            return Shape("union", parts=tuple(self.build(branch, namespace) for branch in schema))
        kind = "record" if schema["type"] == "error" else schema["type"]
        if not isinstance(kind, str):
            return self.build(kind, namespace)
        return self._object(kind, schema, namespace)

    def _object(self, kind: str, schema: Mapping[str, Any], namespace: str) -> Shape:
        if kind in NAMED:
            return self._define(kind, schema, namespace)
        if kind in ("array", "map"):
            below = schema["items" if kind == "array" else "values"]
            return Shape(kind, parts=(self.build(below, namespace),))
        if kind in PRIMITIVES:
            return Shape(kind, logical=_logical(kind, schema))
        return self._reference(kind, namespace)

    def _reference(self, name: str, namespace: str) -> Shape:
        if name in PRIMITIVES:
            return Shape(name)
        return self._named.get(_qualified(name, namespace)) or self._named[name]

    def _define(self, kind: str, schema: Mapping[str, Any], namespace: str) -> Shape:
        name = _qualified(str(schema["name"]), str(schema.get("namespace", namespace) or ""))
        space = name.rpartition(".")[0]
        shape = Shape(
            kind,
            name,
            # "Aliases": one without a namespace is in the namespace of the type.
            aliases=tuple(_qualified(alias, space) for alias in _aliases(schema)),
            logical=_logical(kind, schema),
            # What belongs to another kind of type is metadata here, and may be anything.
            fields=tuple(
                self._field(entry, space) for entry in _listed(schema, "fields") if kind == "record"
            ),
            symbols=tuple(map(str, _listed(schema, "symbols"))) if kind == "enum" else (),
            symbol_default=schema.get("default") if kind == "enum" else None,
            size=int(schema["size"]) if kind == "fixed" else 0,
            doc=str(schema.get("doc", "")),
        )
        self._named[name] = shape
        return shape

    def _field(self, entry: Mapping[str, Any], namespace: str) -> Field:
        return Field(
            entry["name"],
            self.build(entry["type"], namespace),
            _aliases(entry),
            entry.get("default", NO_DEFAULT),
            str(entry.get("doc", "")),
        )


def _listed(schema: Mapping[str, Any], key: str) -> list[Any]:
    found = schema.get(key)
    return found if isinstance(found, list) else []


def _aliases(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(map(str, _listed(entry, "aliases")))


def _qualified(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _logical(kind: str, schema: Mapping[str, Any]) -> Logical | None:
    name = str(schema.get("logicalType"))
    if name not in _LOGICAL.get(kind, ()):
        return None
    size = schema.get("size", 0)
    if name == "decimal":
        return _decimal(schema, size if kind == "fixed" else None)
    if (kind, name) in (("fixed", "duration"), ("fixed", "uuid")):
        return Logical(name) if size == (12 if name == "duration" else 16) else None
    return Logical(name)


def _decimal(schema: Mapping[str, Any], size: int | None) -> Logical | None:
    """A decimal, or None where its numbers are wrong: "the logical type must be ignored"."""
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    if not isinstance(precision, int) or not isinstance(scale, int):
        return None
    if size is not None and precision > math.floor(math.log10(2) * (8 * size - 1)):
        return None
    return Logical("decimal", precision, scale) if 0 <= scale <= precision > 0 else None
