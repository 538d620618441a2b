"""A schema as documents show it: names resolved, with everything that its author wrote of it.

`contracts.schema.Node` is what decoders need; this is what people need: names, docs, defaults.
The schema was parsed before, so it is known to be Avro, finite and inside the limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workers.contracts.schema import PRIMITIVES, Schema

_LOGICAL = frozenset(
    {
        ("bytes", "decimal"),
        ("fixed", "decimal"),
        ("int", "date"),
        ("int", "time-millis"),
        ("long", "time-micros"),
        ("long", "timestamp-millis"),
        ("long", "timestamp-micros"),
        ("long", "local-timestamp-millis"),
        ("long", "local-timestamp-micros"),
        ("string", "uuid"),
    }
)
"""What fastavro and Java read as more than the physical type; others are ignored, as Avro says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A type. `name` is full, for named types; `inner` holds items, values or branches."""

    kind: str
    logical: str = ""
    name: str = ""
    doc: str = ""
    symbols: tuple[str, ...] = ()
    size: int = 0
    precision: int = 0
    scale: int = 0
    fields: tuple[Field, ...] = ()
    inner: tuple[Shape, ...] = ()

    @property
    def optional(self) -> bool:
        """May it be null?"""
        return self.kind == "union" and any(branch.kind == "null" for branch in self.inner)

    @property
    def present(self) -> tuple[Shape, ...]:
        """What it is where it is not null: the branches of a union, else itself."""
        if self.kind != "union":
            return (self,)
        return tuple(branch for branch in self.inner if branch.kind != "null")

    def walk(self) -> Iterator[Shape]:
        """Everything below it and then itself: a type comes after those it is made of."""
        for below in (*(field.shape for field in self.fields), *self.inner):
            yield from below.walk()
        yield self


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a record. `default` means nothing unless `has_default`."""

    name: str
    shape: Shape
    doc: str = ""
    has_default: bool = False
    default: Any = None
    classification: str = ""


def shape_of(schema: Schema) -> Shape:
    """The schema's record."""
    return _Builder().make(schema.document, "")


class _Builder:
    def __init__(self) -> None:
        self._named: dict[str, Shape] = {}

    def make(self, schema: Any, space: str) -> Shape:
        if isinstance(schema, list):
            return Shape(kind="union", inner=tuple(self.make(branch, space) for branch in schema))
        if isinstance(schema, str):
            return self._reference(schema, space)
        return self._object(schema, space)

    def _object(self, schema: Mapping[str, Any], space: str) -> Shape:
        kind = schema["type"]
        if kind in ("record", "error", "enum", "fixed"):
            return self._define(schema, space)
        if kind in ("array", "map"):
            item = self.make(schema["items" if kind == "array" else "values"], space)
            return Shape(kind=kind, inner=(item,))
        if isinstance(kind, str) and kind in PRIMITIVES:
            return Shape(kind=kind, **_logical(schema, kind))
        return self.make(kind, space)

    def _reference(self, name: str, space: str) -> Shape:
        if name in PRIMITIVES:
            return Shape(kind=name)
        full = f"{space}.{name}"
        return self._named[full] if "." not in name and full in self._named else self._named[name]

    def _define(self, schema: Mapping[str, Any], space: str) -> Shape:
        name = schema["name"]
        space = schema.get("namespace", space) if "." not in name else name.rpartition(".")[0]
        full = name if "." in name or not space else f"{space}.{name}"
        shape = Shape(
            kind="record" if schema["type"] == "error" else schema["type"],
            name=full,
            doc=schema.get("doc", ""),
            symbols=tuple(schema.get("symbols", ())),
            size=schema.get("size", 0),
            fields=tuple(self._field(entry, space) for entry in schema.get("fields", ())),
            **_logical(schema, schema["type"]),
        )
        self._named[full] = shape
        return shape

    def _field(self, entry: Mapping[str, Any], space: str) -> Field:
        return Field(
            name=entry["name"],
            shape=self.make(entry["type"], space),
            doc=entry.get("doc", ""),
            has_default="default" in entry,
            default=entry.get("default"),
            classification=str(entry.get("classification", "")),
        )


def _logical(schema: Mapping[str, Any], kind: str) -> dict[str, Any]:
    logical = schema.get("logicalType")
    if not isinstance(logical, str) or (kind, logical) not in _LOGICAL:
        return {}
    sizes = {key: schema.get(key, 0) for key in ("precision", "scale") if logical == "decimal"}
    return {"logical": logical, **sizes}
