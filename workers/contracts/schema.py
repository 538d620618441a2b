"""One Avro schema, read with limits, and what the codec needs to know of it.

A schema is input from outside. Before any decoder sees it, it is held to limits that keep the
decoders safe: `fastavro` crashes the process on deep recursion and makes gigabytes out of arrays of
zero-byte items, so both are refused here, once, at load.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import fastavro

from workers.errors import ContractError

Json = Any
PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
MAX_TEXT = 1_000_000
MAX_FIXED = 1_000_000
"""Bytes of a fixed."""
MAX_PRECISION = 1000
"""Digits of a decimal: a number of so many is made for each value that is held to it."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaLimits:
    """How large a schema may be: nesting in levels, fields over the whole schema."""

    nesting: int = 32
    fields: int = 5000


@dataclass(frozen=True, slots=True)
class Node:
    """A schema with names resolved: a finite tree, because recursive schemas are refused.

    `kind` is the Avro type name; `children` are (label, node) of fields, items, values or branches;
    `fallback` is an enum's default, what a reader takes for a symbol that it does not know.
    """

    kind: str
    logical: str | None = None
    children: tuple[tuple[str, Node], ...] = ()
    symbols: tuple[str, ...] = ()
    fallback: str | None = None
    size: int = 0
    precision: int = 0
    scale: int = 0

    @property
    def nullable(self) -> Node | None:
        """The other branch of a two-branch union with null; else None."""
        if self.kind != "union" or len(self.children) != 2:
            return None
        others = [node for _, node in self.children if node.kind != "null"]
        return others[0] if len(others) == 1 else None

    def walk(self) -> Iterator[Node]:
        """This node and everything below it."""
        yield self
        for _, child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Schema:
    """A record schema that passed the limits."""

    text: str
    document: Mapping[str, Json] = field(repr=False)
    root: Node = field(repr=False)

    @cached_property
    def parsed(self) -> Any:
        """What fastavro wants to be given."""
        return fastavro.parse_schema(dict(self.document))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the whole schema, documentation included, however it is laid out."""
        plain = json.dumps(self.document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(plain.encode()).hexdigest()

    @property
    def field_names(self) -> tuple[str, ...]:
        """Names of the top-level fields, in writing order."""
        return tuple(name for name, _ in self.root.children)

    @property
    def full_name(self) -> str:
        """Namespace and name of the record."""
        return _full_name(self.document, "")


def parse(text: str | bytes, *, where: str, limits: SchemaLimits | None = None) -> Schema:
    """Read a record schema.

    Raises:
        ContractError: not JSON, not Avro, not a record, recursive, or over a limit; names `where`.
    """
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) > MAX_TEXT:
        raise ContractError(f"{where}: {len(raw)} bytes of schema, more than {MAX_TEXT}")
    try:
        decoded = raw.decode()
        document = json.loads(decoded)
    except (ValueError, RecursionError) as error:
        raise ContractError(f"{where}: not a JSON document: {error}") from error
    if not isinstance(document, dict) or document.get("type") != "record":
        raise ContractError(f"{where}: the top level must be a record")
    root = _Resolver(where, limits or SchemaLimits()).resolve(document, "", where="")
    schema = Schema(decoded, document, root)
    try:
        _ = schema.parsed
    except Exception as error:  # fastavro raises many unrelated types on bad schemas
        raise ContractError(f"{where}: not an Avro schema: {error}") from error
    return schema


def _full_name(document: Mapping[str, Json], namespace: str) -> str:
    name = str(document.get("name", ""))
    space = document.get("namespace", namespace)
    return name if "." in name or not space else f"{space}.{name}"


class _Resolver:
    """Turns the JSON of a schema into a tree, holding it to the limits on the way."""

    def __init__(self, file: str, limits: SchemaLimits) -> None:
        self._file = file
        self._limits = limits
        self._named: dict[str, Node | None] = {}
        self._fields = 0

    def resolve(self, schema: Json, namespace: str, *, where: str, depth: int = 0) -> Node:
        if depth > self._limits.nesting:
            raise self._fault(where, f"nested deeper than {self._limits.nesting} levels")
        if isinstance(schema, str):
            return self._reference(schema, namespace, where)
        if isinstance(schema, list):
            return self._union(schema, namespace, where, depth)
        if not isinstance(schema, dict):
            raise self._fault(where, "a schema is a name, an object or a list")
        return self._object(schema, namespace, where, depth)

    def _object(self, schema: Mapping[str, Json], namespace: str, where: str, depth: int) -> Node:
        kind = schema.get("type")
        if isinstance(kind, dict | list):
            return self.resolve(kind, namespace, where=where, depth=depth + 1)
        if kind in ("record", "error", "enum", "fixed"):
            return self._define(schema, namespace, where, depth)
        if kind in ("array", "map"):
            return self._repeated(schema, namespace, where, depth)
        return self._logical(schema, namespace, where)

    def _logical(self, schema: Mapping[str, Json], namespace: str, where: str) -> Node:
        base = self._reference(schema.get("type"), namespace, where)
        if base.kind not in PRIMITIVES:
            return base
        return Node(base.kind, **self._logical_properties(schema, where))

    def _reference(self, name: Json, namespace: str, where: str) -> Node:
        if not isinstance(name, str):
            raise self._fault(where, "a field has no type")
        if name in PRIMITIVES:
            return Node(name)
        for candidate in (name, f"{namespace}.{name}") if "." not in name else (name,):
            if candidate in self._named:
                node = self._named[candidate]
                if node is None:
                    raise self._fault(
                        where, f"{name} contains itself; recursive schemas crash decoders"
                    )
                return node
        raise self._fault(where, f"unknown type {name!r}")

    def _define(self, schema: Mapping[str, Json], namespace: str, where: str, depth: int) -> Node:
        name = _full_name(schema, namespace)
        if not name or name in self._named or name in PRIMITIVES:
            raise self._fault(where, f"type {name!r} has no name, or one that is taken")
        if not _NAME.fullmatch(name):
            raise self._fault(where, f"type {name!r}: a name has letters, digits and _ alone")
        self._named[name] = None
        node: Node
        if schema["type"] == "enum":
            symbols, default = schema.get("symbols"), schema.get("default")
            if not isinstance(symbols, list):
                raise self._fault(where, "an enum needs a list of symbols")
            fallback = default if default in symbols else None
            node = Node("enum", symbols=tuple(map(str, symbols)), fallback=fallback)
        elif schema["type"] == "fixed":
            size = schema.get("size")
            if type(size) is not int or not 0 <= size <= MAX_FIXED:
                raise self._fault(where, f"fixed needs a size from 0 to {MAX_FIXED}")
            node = Node("fixed", size=size, **self._logical_properties(schema, where))
        else:
            node = self._record(schema, name.rpartition(".")[0], where, depth)
        self._named[name] = node
        return node

    def _record(self, schema: Mapping[str, Json], namespace: str, where: str, depth: int) -> Node:
        fields = schema.get("fields")
        if not isinstance(fields, list):
            raise self._fault(where, "a record needs a list of fields")
        self._fields += len(fields)
        if self._fields > self._limits.fields:
            raise self._fault(where, f"more than {self._limits.fields} fields")
        children: list[tuple[str, Node]] = []
        seen: set[str] = set()
        for entry in fields:
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                raise self._fault(where, "a field needs a name")
            if entry["name"] in seen:
                raise self._fault(where, f"two fields named {entry['name']!r}")
            seen.add(entry["name"])
            path = f"{where}.{entry['name']}" if where else entry["name"]
            node = self.resolve(entry.get("type"), namespace, where=path, depth=depth + 1)
            children.append((entry["name"], node))
        return Node("record", children=tuple(children))

    def _repeated(self, schema: Mapping[str, Json], namespace: str, where: str, depth: int) -> Node:
        label = "items" if schema["type"] == "array" else "values"
        item = self.resolve(schema.get(label), namespace, where=where, depth=depth + 1)
        if label == "items" and _may_be_empty(item):
            raise self._fault(where, "an array of zero-byte items lets six bytes fill the memory")
        return Node(schema["type"], children=((label, item),))

    def _union(self, schema: list[Json], namespace: str, where: str, depth: int) -> Node:
        branches = [self.resolve(s, namespace, where=where, depth=depth + 1) for s in schema]
        if not branches or any(branch.kind == "union" for branch in branches):
            raise self._fault(where, "a union needs branches and may not hold a union")
        return Node("union", children=tuple((branch.kind, branch) for branch in branches))

    def _logical_properties(self, schema: Mapping[str, Json], where: str) -> dict[str, Any]:
        logical = schema.get("logicalType")
        if not isinstance(logical, str):
            return {}
        found: dict[str, Any] = {"logical": logical}
        if logical == "decimal":
            precision = schema.get("precision", 0)
            if type(precision) is not int or not 0 <= precision <= MAX_PRECISION:
                raise self._fault(where, f"a decimal's precision is from 1 to {MAX_PRECISION}")
            found |= {"precision": precision, "scale": schema.get("scale", 0)}
        return found

    def _fault(self, where: str, text: str) -> ContractError:
        return ContractError(f"{self._file}: {where or 'top level'}: {text}")


def _may_be_empty(node: Node) -> bool:
    if node.kind == "null":
        return True
    if node.kind == "fixed":
        return node.size == 0
    return node.kind == "record" and all(_may_be_empty(child) for _, child in node.children)
