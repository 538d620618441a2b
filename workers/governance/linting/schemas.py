"""Lint of one schema: what makes a contract hard to read, or hard to change later."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from workers.contracts.catalogue import Registered
from workers.governance.compatibility.apache import refused_by_apache
from workers.governance.compatibility.defaults import below, records
from workers.governance.compatibility.shape import Field, Shape, shape_of
from workers.governance.findings import Finding, Severity

# Avro 1.12, "Names".
_LEGAL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TIME_NAMES = re.compile(r"(.*_)?(at|date|time|timestamp|ts)")


@dataclass(frozen=True, slots=True)
class _Fault:
    severity: Severity
    rule: str
    where: str
    breaks: str
    remedy: str


def lint_schema(entry: Registered) -> list[Finding]:
    """Documentation, names, optional fields, enums and times of a version.

    Raises:
        ContractError: Apache `avro` is not installed.
    """
    root = shape_of(entry.schema)
    found = [fault for path, record in records(root) for fault in _record(path, record)]
    refused = [
        _Fault(Severity.ERROR, fault.rule, fault.where, fault.breaks, fault.remedy)
        for fault in refused_by_apache(root)
    ]
    return [_finding(entry, fault) for fault in [*refused, *found]]


def _finding(entry: Registered, fault: _Fault) -> Finding:
    return Finding(
        severity=fault.severity,
        rule=fault.rule,
        subject=entry.subject,
        version=entry.version,
        where=fault.where,
        breaks=fault.breaks,
        whom="who reads the contract",
        remedy=fault.remedy,
    )


def _record(path: str, record: Shape) -> Iterator[_Fault]:
    if not record.doc:
        text = f"the record {record.short_name} has no doc"
        yield _Fault(Severity.WARNING, "doc-missing", path, text, 'write "doc"')
    yield from _names(path, record)
    for field in record.fields:
        yield from _field(below(path, field.name), field)


def _names(path: str, named: Shape) -> Iterator[_Fault]:
    for name in (*named.name.split("."), *named.symbols):
        if not _LEGAL.fullmatch(name):
            yield _illegal(path, name)


def _illegal(path: str, name: str) -> _Fault:
    text = f"{name!r} is no name in Avro: code generators and other libraries refuse it"
    remedy = "use letters, digits and _, not beginning with a digit"
    return _Fault(Severity.ERROR, "name-illegal", path, text, remedy)


def _field(path: str, field: Field) -> Iterator[_Fault]:
    if not field.doc:
        text = "the field has no doc"
        remedy = 'write "doc": what it means, and in which unit'
        yield _Fault(Severity.WARNING, "doc-missing", path, text, remedy)
    if not _LEGAL.fullmatch(field.name):
        yield _illegal(path, field.name)
    elif not _SNAKE_CASE.fullmatch(field.name):
        text = f"{field.name!r} is not in snake_case, as the other names are"
        remedy = "name new fields so; a released field keeps its name"
        yield _Fault(Severity.WARNING, "name-not-snake-case", path, text, remedy)
    yield from _optional(path, field)
    for leaf in _leaves(field.shape):
        yield from _leaf(path, field, leaf)


def _optional(path: str, field: Field) -> Iterator[_Fault]:
    if field.shape.kind != "union" or "null" not in {part.kind for part in field.shape.parts}:
        return
    if field.shape.parts[0].kind != "null" or field.default is not None:
        text = "an optional field that is not null by default: it cannot be left out or removed"
        remedy = 'write "type": ["null", T], "default": null'
        yield _Fault(Severity.WARNING, "optional-without-null-default", path, text, remedy)


def _leaf(path: str, field: Field, leaf: Shape) -> Iterator[_Fault]:
    if leaf.kind == "enum":
        yield from _names(path, leaf)
        if leaf.symbol_default is None:
            text = f"the enum {leaf.short_name} has no default: no symbol can be added later"
            remedy = 'write "default" in the enum, a symbol such as UNKNOWN'
            yield _Fault(Severity.WARNING, "enum-without-default", path, text, remedy)
    if leaf.kind in ("int", "long") and not leaf.logical and _TIME_NAMES.fullmatch(field.name):
        text = f"it looks like a time and is a bare {leaf.kind}: readers must guess the unit"
        remedy = 'write {"type": "long", "logicalType": "timestamp-millis"}, or "date"'
        yield _Fault(Severity.WARNING, "time-without-logical-type", path, text, remedy)


def _leaves(shape: Shape) -> Iterator[Shape]:
    """What a field holds, through unions, arrays and maps, not into records."""
    if shape.parts:
        for part in shape.parts:
            yield from _leaves(part)
    elif shape.kind != "record":
        yield shape
