"""What resolving a writer's schema with a reader's would do, by the rules of the specification.

Avro 1.12, "Schema Resolution", plus what the rules leave to the reader and readers then get wrong:
logical types, text in bytes, aliases that clash. Apache `avro`'s own checker (Python, 1.12.2) is
asked as well, by `compatibility`; it says neither where nor all. Against the specification it is

- stricter on aliases of named types: it takes an alias without a namespace as a full name, where
  "Aliases" says it is in the type's namespace. It is given full names, and then agrees;
- looser on unions of the reader: it is content with any branch that is compatible, where "the first
  schema in the reader's union that matches" is read, and matching records is by name alone;
- silent on decimals: "two schemas that are decimal logical types match if their scales and
  precisions match";
- silent on defaults of the wrong type, and on aliases that name two fields.

fastavro (1.13.1) resolves as the specification says, with three exceptions: it compares aliases of
named types without namespaces, keeps the writer's logical type whatever the reader's is, and fills
in defaults of bytes and fixed as text.
"""

from __future__ import annotations

from collections.abc import Iterator

from workers.governance.compatibility.defaults import (
    Incompatibility,
    alias_clashes,
    below,
    field_faults,
)
from workers.governance.compatibility.shape import NAMED, Field, Shape
from workers.governance.findings import Severity

# "Schema Resolution": the writer's schema may be promoted to the reader's.
_PROMOTIONS = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
_LOSSY = {("int", "float"), ("long", "float"), ("long", "double")}


def resolve(reader: Shape, writer: Shape) -> list[Incompatibility]:
    """Everything in the way of reading the writer's records with the reader's schema."""
    return list(_Walk().compare(reader, writer, ""))


def matches(reader: Shape, writer: Shape) -> bool:
    """Does a reader that chooses among branches take this one? "To match, one of" the rules."""
    if "union" in (reader.kind, writer.kind):
        return True
    if reader.kind != writer.kind:
        return reader.kind in _PROMOTIONS.get(writer.kind, ())
    if reader.kind in ("array", "map"):
        return matches(reader.parts[0], writer.parts[0])
    if reader.kind in NAMED:
        return same_name(reader, writer) and reader.size == writer.size
    return True


def same_name(reader: Shape, writer: Shape) -> bool:
    """Do named types stand for each other: by unqualified name, or by the reader's aliases?"""
    return reader.short_name == writer.short_name or writer.name in reader.aliases


def writer_field(field: Field, writer: Shape) -> Field | None:
    """The writer's field that a reader's field is read from: by name, else by its aliases."""
    found = (writer.field(name) for name in (field.name, *field.aliases))
    return next((candidate for candidate in found if candidate is not None), None)


class _Walk:
    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def compare(self, reader: Shape, writer: Shape, path: str) -> Iterator[Incompatibility]:
        # A named type that is used in many places is compared at the first: shared types could
        # otherwise make a walk exponential.
        if (id(reader), id(writer)) in self._seen:
            return
        self._seen.add((id(reader), id(writer)))
        if writer.kind == "union":
            for branch in writer.parts:
                yield from self._branch(reader, branch, path)
        elif reader.kind == "union":
            yield from self._branch(reader, writer, path)
        elif reader.kind == writer.kind and reader.kind in ("array", "map"):
            mark = "[]" if reader.kind == "array" else "{}"
            yield from self.compare(reader.parts[0], writer.parts[0], path + mark)
        elif not matches(reader, writer):
            yield _mismatch(reader, writer, path)
        else:
            yield from self._matched(reader, writer, path)

    def _branch(self, reader: Shape, writer: Shape, path: str) -> Iterator[Incompatibility]:
        """One branch of the writer, or its only type, against the reader's first that matches."""
        if reader.kind != "union":
            if matches(reader, writer) or reader.kind == writer.kind:
                yield from self.compare(reader, writer, path)
            else:
                yield _unread(reader, writer, path)
            return
        chosen = next((part for part in reader.parts if matches(part, writer)), None)
        if chosen is None:
            yield _unread(reader, writer, path)
        else:
            yield from self.compare(chosen, writer, path)

    def _matched(self, reader: Shape, writer: Shape, path: str) -> Iterator[Incompatibility]:
        yield from _meaning(reader, writer, path)
        if reader.kind == "enum":
            yield from _symbols(reader, writer, path)
        if reader.kind == "record":
            yield from self._fields(reader, writer, path)
        if reader.name != writer.name and writer.name not in reader.aliases:
            yield Incompatibility(
                rule="namespace-changed",
                where=path,
                breaks=f"{writer.name} is now {reader.name}: records decode, and generated classes "
                "move",
                remedy=f'write "aliases": ["{writer.name}"]',
                severity=Severity.WARNING,
            )

    def _fields(self, reader: Shape, writer: Shape, path: str) -> Iterator[Incompatibility]:
        clashes = {clash.where: clash for clash in alias_clashes(reader, path)}
        yield from clashes.values()
        for field in reader.fields:
            where = below(path, field.name)
            source = writer_field(field, writer)
            if where in clashes:
                continue  # nobody knows which field it is
            if source is not None:
                yield from self.compare(field.shape, source.shape, where)
                yield from _two_sources(field, writer, where)
            elif field.has_default:
                yield from field_faults(field, where)
            else:
                yield _missing(field, reader, writer, where)


def _mismatch(reader: Shape, writer: Shape, path: str) -> Incompatibility:
    if reader.kind != writer.kind:
        return Incompatibility(
            rule="type-changed",
            where=path,
            breaks=f"records have {writer}, which cannot be read as {reader}",
        )
    if same_name(reader, writer):
        return Incompatibility(
            rule="fixed-size-changed",
            where=path,
            breaks=f"records have {writer.size} bytes, the reader wants {reader.size}",
        )
    return _renamed(reader, writer, path)


def _renamed(reader: Shape, writer: Shape, path: str) -> Incompatibility:
    shorts = {alias.rpartition(".")[2] for alias in reader.aliases}
    elsewhere = writer.short_name in shorts
    return Incompatibility(
        rule="alias-in-other-namespace" if elsewhere else "type-renamed",
        where=path,
        breaks=f"records have the {writer.kind} {writer.name}, the reader wants {reader.name}"
        + (f" or {', '.join(reader.aliases)}" if reader.aliases else ""),
        remedy=f'write "aliases": ["{writer.name}"] at the {reader.kind} {reader.short_name}',
    )


def _unread(reader: Shape, writer: Shape, path: str) -> Incompatibility:
    alike = [part for part in reader.parts if part.kind == writer.kind and writer.name]
    if len(alike) == 1 and alike[0].size == writer.size:
        return _renamed(alike[0], writer, path)
    rule = "union-branch-unread" if reader.kind == "union" else "type-changed"
    if writer.kind == "null":
        rule = "null-unread"
    return Incompatibility(
        rule=rule, where=path, breaks=f"records may have {writer}; the reader has only {reader}"
    )


def _missing(field: Field, reader: Shape, writer: Shape, where: str) -> Incompatibility:
    used = {id(writer_field(other, writer)) for other in reader.fields}
    alike = [
        other.name
        for other in writer.fields
        if id(other) not in used and matches(field.shape, other.shape)
    ]
    return Incompatibility(
        rule="field-missing",
        where=where,
        breaks="records do not have it, the reader wants it, and it has no default",
        remedy=f'if it is {alike[0]!r} under a new name, write "aliases": ["{alike[0]}"]'
        if alike
        else "",
    )


def _two_sources(field: Field, writer: Shape, where: str) -> Iterator[Incompatibility]:
    there = [name for name in dict.fromkeys((field.name, *field.aliases)) if writer.field(name)]
    if len(there) > 1:
        yield Incompatibility(
            rule="alias-clash",
            where=where,
            breaks=f"records have {' and '.join(there)}, and by its aliases it is each of them",
            remedy="take the alias away, or give the field a name of its own",
        )


def _symbols(reader: Shape, writer: Shape, path: str) -> Iterator[Incompatibility]:
    lost = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
    if lost and reader.symbol_default not in reader.symbols:
        yield Incompatibility(
            rule="enum-symbol-unknown",
            where=path,
            breaks=f"records may have {', '.join(lost)}, which the reader's enum "
            f"{reader.short_name} does not know, and it has no default",
        )


def _meaning(reader: Shape, writer: Shape, path: str) -> Iterator[Incompatibility]:
    """The bytes can be read; are they what was written?"""
    if reader.logical != writer.logical:
        decimals = {"decimal"} == {s.logical.name for s in (reader, writer) if s.logical}
        yield Incompatibility(
            rule="decimal-changed"
            if decimals and reader.logical and writer.logical
            else "logical-changed",
            where=path,
            breaks=f"the same bytes get another meaning: written as {writer}, read as {reader}",
        )
    elif (writer.kind, reader.kind) == ("bytes", "string"):
        # "Schema Resolution" allows it; "Primitive Types" says that a string is UTF-8.
        yield Incompatibility(
            rule="bytes-as-string",
            where=path,
            breaks="records have bytes, and bytes that are not UTF-8 cannot be read as a string",
            remedy="keep it bytes; in a union, put bytes before string, for the first that fits is "
            "read",
        )
    elif (writer.kind, reader.kind) in _LOSSY:
        yield Incompatibility(
            rule="promotion-loses-digits",
            where=path,
            breaks=f"large numbers lose digits when a {writer.kind} is read as a {reader.kind}",
            remedy="read it as long, or as double where it is an int",
            severity=Severity.WARNING,
        )
