"""The fields of a schema as rows, nested ones unfolded; and what differs between two versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from workers.governance.documents.shape import Field, Shape

_WORDS = {
    "string": "text",
    "int": "integer, 32 bit",
    "long": "integer, 64 bit",
    "float": "number, 32 bit",
    "double": "number, 64 bit",
    "boolean": "true or false",
    "bytes": "bytes",
    "null": "null",
    "date": "date",
    "uuid": "UUID",
    "time-millis": "time of day, ms",
    "time-micros": "time of day, µs",
    "timestamp-millis": "timestamp, UTC, ms",
    "timestamp-micros": "timestamp, UTC, µs",
    "local-timestamp-millis": "local timestamp, ms",
    "local-timestamp-micros": "local timestamp, µs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A field by path: `enrichment.reasons[].code`, `labels{}.since`; `default` as JSON."""

    path: str
    kind: str
    optional: bool
    default: str
    doc: str


def rows(record: Shape) -> tuple[Row, ...]:
    """Every field of a record, those of nested records after the field that holds them."""
    return tuple(_rows(record, ""))


def _rows(record: Shape, path: str) -> Iterator[Row]:
    for field in record.fields:
        yield _row(field, path)
        for inner, below in _records(field.shape, f"{path}{field.name}"):
            yield from _rows(inner, f"{below}.")


def _row(field: Field, path: str) -> Row:
    return Row(
        path=f"{path}{field.name}",
        kind=words(field.shape),
        optional=field.shape.optional,
        default=json.dumps(field.default, ensure_ascii=False) if field.has_default else "",
        doc=field.doc,
    )


def _records(shape: Shape, path: str) -> Iterator[tuple[Shape, str]]:
    """Records in a field's type, with the path to each."""
    if shape.kind == "record":
        yield shape, path
        return
    mark = {"array": "[]", "map": "{}"}.get(shape.kind, "")
    for inner in shape.inner:
        yield from _records(inner, f"{path}{mark}")


def words(shape: Shape) -> str:
    """A type as people say it; null is told apart by `optional`."""
    if shape.logical == "decimal":
        return f"decimal, {shape.precision} digits, {shape.scale} after the point"
    match shape.kind:
        case "union":
            text = " or ".join(words(branch) for branch in shape.present) or "null"
        case "array":
            text = f"list of {words(shape.inner[0])}"
        case "map":
            text = f"map of text to {words(shape.inner[0])}"
        case "enum":
            text = f"one of {', '.join(f'`{symbol}`' for symbol in shape.symbols)}"
        case "fixed":
            text = f"{shape.size} bytes"
        case "record":
            text = f"record {shape.name.rpartition('.')[2]}"
        case _:
            text = _WORDS[shape.logical or shape.kind]
    return text


def differences(old: Shape, new: Shape) -> tuple[str, ...]:
    """What a version changed of the fields, in short: added, gone, another type or default."""
    before = {row.path: row for row in rows(old)}
    after = {row.path: row for row in rows(new)}
    found = [f"added `{path}` ({after[path].kind})" for path in after if path not in before]
    found += [f"removed `{path}`" for path in before if path not in after]
    for path in before.keys() & after.keys():
        was, now = before[path], after[path]
        if (was.kind, was.optional) != (now.kind, now.optional):
            found.append(f"`{path}`: {_whole(was)} → {_whole(now)}")
        elif was.default != now.default:
            found.append(f"`{path}`: default {was.default or 'none'} → {now.default or 'none'}")
    return tuple(sorted(found))


def _whole(row: Row) -> str:
    return f"{row.kind}{', optional' if row.optional else ''}"
