"""What differs between two versions of a schema, field by field, and whom it touches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from workers.contracts.catalogue import Registered
from workers.contracts.directory import ContractDirectory
from workers.contracts.schema import Schema
from workers.errors import ContractError
from workers.governance.compatibility.defaults import below
from workers.governance.compatibility.resolution import same_name, writer_field
from workers.governance.compatibility.shape import Field, Shape, shape_of
from workers.governance.compatibility.versions import incompatibilities
from workers.governance.findings import Severity


class What(StrEnum):
    """Kinds of differences."""

    ADDED = "added"
    REMOVED = "removed"
    RENAMED = "renamed"
    TYPE = "type changed"
    SYMBOLS = "symbols changed"
    DEFAULT = "default changed"
    DOC = "doc changed"
    ALIASES = "aliases changed"
    REORDERED = "reordered"


_HARMLESS = {What.DEFAULT, What.DOC, What.ALIASES, What.REORDERED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference at `where`, a path in the new schema, or in the old one if it is gone there.

    `backward`: new readers still read old records here. `forward`: old readers read new ones.
    """

    where: str
    what: What
    text: str
    backward: bool
    forward: bool


@dataclass(frozen=True, slots=True)
class _Raw:
    """A difference before its effects are known; `old` and `new` are its paths."""

    what: What
    old: str
    new: str
    text: str


def diff(old: Schema, new: Schema) -> list[Change]:
    """The differences in the order of the new schema's fields; removed ones come last of a record.

    Raises:
        ContractError: Apache `avro` is not installed.
    """
    # The effects are the checker's: where it finds a fault, the change at that path is the cause.
    backward, forward = _faulty(new, old), _faulty(old, new)
    return [
        Change(
            where=raw.new or raw.old,
            what=raw.what,
            text=raw.text,
            backward=raw.what in _HARMLESS or (raw.new or raw.old) not in backward,
            forward=raw.what in _HARMLESS or (raw.old or raw.new) not in forward,
        )
        for raw in _Walk().types(shape_of(old), shape_of(new), "", "")
    ]


def pair_of(
    directory: ContractDirectory, subject: str, old: int | None, new: int | None
) -> tuple[Registered, Registered]:
    """The versions to compare: by default the newest and the one before it.

    Raises:
        ContractError: there is no such subject or version, or none before it.
    """
    versions = directory.catalogue.versions(subject)
    if not versions:
        known = ", ".join(directory.catalogue.subjects)
        raise ContractError(f"no subject {subject!r}; there are {known}")
    newer = max(versions) if new is None else new
    earlier = [number for number in versions if number < newer]
    if old is None and not earlier:
        raise ContractError(f"{subject}: version {newer} has none before it to compare with")
    older = max(earlier) if old is None else old
    for number in (older, newer):
        if number not in versions:
            raise ContractError(f"{subject} has no version {number}; it has {[*versions]}")
    return versions[older], versions[newer]


def summary(changes: list[Change]) -> str:
    """The effect of all of them, in one line."""
    if not changes:
        return "nothing differs"
    backward = "yes" if all(change.backward for change in changes) else "NO"
    forward = "yes" if all(change.forward for change in changes) else "NO"
    return f"new readers read old records: {backward}; old readers read new records: {forward}"


def _faulty(reader: Schema, writer: Schema) -> set[str]:
    found = incompatibilities(reader, writer)
    return {fault.where for fault in found if fault.severity is Severity.BREAKING}


class _Walk:
    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def types(self, old: Shape, new: Shape, before: str, path: str) -> Iterator[_Raw]:
        if (id(old), id(new)) in self._seen:
            return
        self._seen.add((id(old), id(new)))
        inner_old, inner_new = _required(old), _required(new)
        if inner_old and inner_new and inner_old.kind == inner_new.kind and str(old) != str(new):
            # ["null", T] on both sides: what differs is in T.
            yield from self.types(inner_old, inner_new, before, path)
        elif old.kind != new.kind or (old.kind == "union" and str(old) != str(new)):
            yield _Raw(What.TYPE, before, path, f"{old} → {new}")
        else:
            yield from self._same_kind(old, new, before, path)

    def _same_kind(self, old: Shape, new: Shape, before: str, path: str) -> Iterator[_Raw]:
        yield from _own(old, new, before, path)
        mark = {"array": "[]", "map": "{}"}.get(new.kind, "")
        for left, right in zip(old.parts, new.parts, strict=False):
            yield from self.types(left, right, before + mark, path + mark)
        if new.kind == "record":
            yield from self._fields(old, new, before, path)

    def _fields(self, old: Shape, new: Shape, before: str, path: str) -> Iterator[_Raw]:
        kept: list[Field] = []
        for field in new.fields:
            source = writer_field(field, old)
            if source is None or source in kept:
                yield _Raw(What.ADDED, "", below(path, field.name), _described(field))
                continue
            kept.append(source)
            yield from self._field(source, field, before, path)
        positions = [old.fields.index(field) for field in kept]
        if positions != sorted(positions):
            order = ", ".join(field.name for field in new.fields)
            yield _Raw(What.REORDERED, before, path, f"now {order}")
        for gone in old.fields:
            if gone not in kept:
                yield _Raw(What.REMOVED, below(before, gone.name), "", _described(gone))

    def _field(self, old: Field, new: Field, before: str, path: str) -> Iterator[_Raw]:
        places = below(before, old.name), below(path, new.name)
        if old.name != new.name:
            yield _Raw(What.RENAMED, *places, f"{old.name} → {new.name}, by alias")
        yield from self.types(old.shape, new.shape, *places)
        if _default(old) != _default(new):
            yield _Raw(What.DEFAULT, *places, f"{_default(old)} → {_default(new)}")
        if old.doc != new.doc:
            yield _Raw(What.DOC, *places, f"{old.doc!r} → {new.doc!r}")
        if old.name == new.name and old.aliases != new.aliases:
            yield _Raw(What.ALIASES, *places, f"{_list(old.aliases)} → {_list(new.aliases)}")


def _own(old: Shape, new: Shape, before: str, path: str) -> Iterator[_Raw]:
    """Differences of a type itself, not of what it holds."""
    if old.name != new.name:
        kind = What.ALIASES if same_name(new, old) and same_name(old, new) else What.TYPE
        yield _Raw(kind, before, path, f"{old.kind} {old.name} → {new.name}")
    elif old.size != new.size or old.logical != new.logical:
        yield _Raw(What.TYPE, before, path, f"{_sized(old)} → {_sized(new)}")
    if old.symbols != new.symbols:
        yield _Raw(What.SYMBOLS, before, path, f"{_list(old.symbols)} → {_list(new.symbols)}")
    if old.symbol_default != new.symbol_default:
        text = f"symbol {old.symbol_default or 'none'} → {new.symbol_default or 'none'}"
        yield _Raw(What.DEFAULT, before, path, text)
    if old.doc != new.doc:
        yield _Raw(What.DOC, before, path, f"{old.doc!r} → {new.doc!r}")


def _required(shape: Shape) -> Shape | None:
    """The other branch of a union of two with null."""
    others = [part for part in shape.parts if part.kind != "null"]
    return others[0] if shape.kind == "union" and len(others) == 1 == len(shape.parts) - 1 else None


def _sized(shape: Shape) -> str:
    return f"{shape} of {shape.size} bytes" if shape.kind == "fixed" else str(shape)


def _described(field: Field) -> str:
    default = f", default {_default(field)}" if field.has_default else ", no default"
    return f"{field.shape}{default}"


def _default(field: Field) -> str:
    return json.dumps(field.default) if field.has_default else "none"


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
