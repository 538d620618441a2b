"""Records of one version, read as another: Avro's schema resolution, by columns or by records.

Avro 1.12, "Schema Resolution": fields are matched by name, or by the reader's aliases; what the
writer has not comes from the reader's default; numbers are promoted. Where a whole column can be
taken as it is, promoted, or filled with a default, that is done by columns. All else is fastavro's,
record by record.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.compute as pc

from workers.contracts.codec import Decoded, Decoder, Route
from workers.contracts.columns import arrow_type, arrow_value, is_mixed
from workers.contracts.defaults import with_python_defaults, without_logical_types
from workers.contracts.schema import Node, Schema
from workers.contracts.strict import Malformed, check
from workers.errors import Code, Reject

_PROMOTED = {
    ("int", "long"),
    ("int", "float"),
    ("int", "double"),
    ("long", "float"),
    ("long", "double"),
    ("float", "double"),
}


class Unresolvable(Exception):  # noqa: N818  what the versions are
    """Records of this writer's version cannot be read as the reader's; the text says why."""


@dataclass(frozen=True, slots=True)
class _Column:
    """Where a reader's column comes from: a writer's column, or else its default."""

    name: str
    source: str | None
    node: Node
    default: Any = None

    def take(self, table: pa.RecordBatch, rows: int) -> pa.Array:
        # A table of no columns says that it has no rows.
        kind = arrow_type(self.node)
        if self.source is None:
            return pa.array([self.default] * rows, kind)
        column = table.column(self.source)
        inner = self.node.nullable or self.node
        if inner.kind == "enum":
            known = pc.is_in(column, pa.array([*inner.symbols, None], pa.string()))
            if pc.all(known, min_count=0).as_py():
                return column
            return pc.if_else(known, column, inner.fallback)
        return column if column.type == kind else column.cast(kind, safe=False)


class VersionReader:
    """Reads datums of one version into columns of another one's fields."""

    def __init__(self, writer: Schema, reader: Schema, fields: Sequence[str]) -> None:
        """`fields` are the reader's, top-level.

        Raises:
            Unresolvable: the writer lacks a field that has no default, or has another type of it.
        """
        self._fields = {name: node for name, node in reader.root.children if name in fields}
        for name, node in self._fields.items():
            if is_mixed(node):
                raise Unresolvable(f"field {name} is a union of several types: it makes no column")
        theirs = dict(writer.root.children)
        self._same = all(theirs.get(name) == node for name, node in self._fields.items())
        self._columns = None if self._same else _columns(writer, reader, self._fields)
        self._resolver: Resolver | None = None
        if not self._same and self._columns is None:
            self._resolver = Resolver(writer, reader)
        self._decoder = Decoder(writer)

    @property
    def route(self) -> Route:
        """How records of the writer's version are decoded."""
        return self._decoder.route if self._resolver is None else Route.RESOLVED

    def decode(self, datums: Sequence[bytes]) -> Decoded:
        """The reader's columns of the datums that can be read, and why the others cannot."""
        if self._resolver is not None:
            return self._resolved(datums, self._resolver)
        decoded = self._decoder.decode(datums)
        if self._columns is None:
            return Decoded(decoded.table.select(self._fields), decoded.rows, decoded.rejections)
        table = pa.RecordBatch.from_arrays(
            [column.take(decoded.table, len(decoded.rows)) for column in self._columns],
            names=list(self._fields),
        )
        return Decoded(table, decoded.rows, decoded.rejections)

    def _resolved(self, datums: Sequence[bytes], resolver: Resolver) -> Decoded:
        events, rows, rejections = list[dict[str, Any]](), list[int](), dict[int, Reject]()
        for row, datum in enumerate(datums):
            try:
                events.append(resolver.read(datum))
                rows.append(row)
            except Reject as reject:
                rejections[row] = reject
        arrays = [
            pa.array([arrow_value(event[name], node) for event in events], arrow_type(node))
            for name, node in self._fields.items()
        ]
        return Decoded(
            pa.RecordBatch.from_arrays(arrays, names=list(self._fields)), rows, rejections
        )


class Resolver:
    """Reads and rewrites records of one version as another one's. Slow, and right."""

    def __init__(self, writer: Schema, reader: Schema) -> None:
        """Compile both.

        Raises:
            Unresolvable: the writer lacks a field that has no default.
        """
        for name, entry in _entries(reader).items():
            source = _source(writer, entry)
            if source is None and "default" not in entry:
                raise Unresolvable(f"field {name} is not in it and has no default")
            if source is not None:
                _hold_meaning(name, _node(writer, source), _node(reader, name))
        _hold_aliases(writer, reader)
        self._root = writer.root
        self._writer = fastavro.parse_schema(without_logical_types(writer.document))
        bare = _with_defaults(reader)
        # Both are the same event; a record's name may have changed between versions.
        bare["aliases"] = [*bare.get("aliases", ()), self._writer["name"]]
        self._reader = fastavro.parse_schema(bare, _ignore_default_error=True)

    def read(self, datum: bytes) -> dict[str, Any]:
        """One event in the reader's physical values.

        Raises:
            Reject: `decode` where the datum is not what the writer's schema says, `contract` where
                it cannot be read as the reader's.
        """
        try:
            check(self._root, datum)
        except Malformed as error:
            raise Reject(Code.MALFORMED, str(error)) from error
        try:
            stream = io.BytesIO(datum)
            return dict(fastavro.schemaless_reader(stream, self._writer, self._reader))
        except Exception as error:
            # fastavro's text holds values of the record.
            text = f"the record cannot be read as the newer version: {type(error).__name__}"
            raise Reject(Code.UNRESOLVABLE, text) from error

    def rewrite(self, datum: bytes) -> bytes:
        """The datum as the reader's version would have written it.

        Raises:
            Reject: as `read`.
        """
        event, stream = self.read(datum), io.BytesIO()
        try:
            fastavro.schemaless_writer(stream, self._reader, event)
        except Exception as error:
            text = f"the record cannot be written as the newer version: {type(error).__name__}"
            raise Reject(Code.UNRESOLVABLE, text) from error
        return stream.getvalue()


def _with_defaults(reader: Schema) -> dict[str, Any]:
    """The reader's physical schema, its defaults in Python's values.

    Raises:
        Unresolvable: a default is no value of its type.
    """
    try:
        return dict(with_python_defaults(without_logical_types(reader.document)))
    except ValueError as error:
        raise Unresolvable(str(error)) from error


def _entries(schema: Schema) -> dict[str, Mapping[str, Any]]:
    return {entry["name"]: entry for entry in schema.document["fields"]}


def _node(schema: Schema, name: str) -> Node:
    return dict(schema.root.children)[name]


def _source(writer: Schema, entry: Mapping[str, Any]) -> str | None:
    """The writer's field that a reader's field means: by name, else by the reader's aliases."""
    names = writer.field_names
    candidates = (entry["name"], *entry.get("aliases", ()))
    return next((name for name in candidates if name in names), None)


def _columns(writer: Schema, reader: Schema, fields: Mapping[str, Node]) -> list[_Column] | None:
    """Where each column comes from; None where some need a look at every record.

    Raises:
        Unresolvable: a field is missing and has no default, or means something else.
    """
    entries, found = _entries(reader), list[_Column]()
    whole = True
    for name, node in fields.items():
        source = _source(writer, entries[name])
        if source is None:
            if "default" not in entries[name]:
                raise Unresolvable(f"field {name} is not in it and has no default")
            whole_reader = _with_defaults(reader)
            value = next(e["default"] for e in whole_reader["fields"] if e["name"] == name)
            found.append(_Column(name, None, node, arrow_value(value, node)))
            continue
        written = _node(writer, source)
        _hold_meaning(name, written, node)
        whole = whole and _by_column(written, node)
        found.append(_Column(name, source, node))
    return found if whole else None


def _by_column(written: Node, read: Node) -> bool:
    """Can the whole column be taken, at most promoted?"""
    if written == read:
        return True
    if read.nullable is not None:
        return _by_column(written.nullable or written, read.nullable)
    if (written.kind, read.kind) == ("enum", "enum"):
        return read.fallback is not None or set(written.symbols) <= set(read.symbols)
    plain = written.logical is None and read.logical is None
    return plain and (written.kind, read.kind) in _PROMOTED


def _hold_meaning(path: str, written: Node, read: Node) -> None:
    """Hold a type to the logical type of its values: resolution would not notice another one.

    Avro 1.12, "Logical Types": a reader that ignores them reads the physical value.

    Raises:
        Unresolvable: it is another; names the field.
    """
    pairs = [(w, r) for w in _branches(written) for r in _branches(read)]
    # Branches of other types are other values; a single pair is one promoted to the other.
    for w, r in pairs if len(pairs) == 1 else [(w, r) for w, r in pairs if w.kind == r.kind]:
        if (w.logical, w.precision, w.scale) != (r.logical, r.precision, r.scale):
            raise Unresolvable(
                f"field {path} has another meaning in it: {_shown(w)}, not {_shown(r)}"
            )
        below = dict(w.children)
        for label, child in r.children:
            if label in below:
                _hold_meaning(f"{path}.{label}", below[label], child)


def _branches(node: Node) -> list[Node]:
    """The types that a value may have, null left out."""
    found = [child for _, child in node.children] if node.kind == "union" else [node]
    return [branch for branch in found if branch.kind != "null"]


def _hold_aliases(writer: Schema, reader: Schema) -> None:
    """Hold records to one meaning of each field: fastavro may take the alias where both are there.

    Raises:
        Unresolvable: a record of the writer's has a field and an alias that the reader gives it.
    """
    records = [{entry["name"] for entry in fields} for fields in _records(writer.document)]
    for fields in _records(reader.document):
        for entry in fields:
            for alias in entry.get("aliases", ()):
                if any({entry["name"], alias} <= names for names in records):
                    raise Unresolvable(
                        f"field {entry['name']} is in it, and so is its alias {alias}: which one "
                        "is meant is not said"
                    )


def _records(schema: Any) -> Iterator[list[Mapping[str, Any]]]:
    """The fields of every record in a schema."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _records(branch)
    elif isinstance(schema, Mapping):
        if isinstance(schema.get("fields"), list):
            yield schema["fields"]
        for key in ("type", "items", "values", "fields"):
            yield from _records(schema.get(key))


def _shown(node: Node) -> str:
    if node.logical == "decimal":
        return f"decimal({node.precision}, {node.scale})"
    return node.logical or f"a plain {node.kind}"
