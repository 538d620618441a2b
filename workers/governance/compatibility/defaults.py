"""Faults of one schema alone: defaults that are no value of their type, aliases that clash."""

from __future__ import annotations

import dataclasses
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workers.contracts.strict import INT_RANGE, logical_range
from workers.governance.compatibility.shape import NO_DEFAULT, Field, Shape
from workers.governance.findings import Severity

_RANGES = {"int": INT_RANGE, "long": (-(2**63), 2**63 - 1)}
_FLOAT_MAX = 3.4028235677973366e38


@dataclass(frozen=True, slots=True, kw_only=True)
class Incompatibility:
    """Something of a reader's schema, or between a reader's and a writer's, that does not fit.

    `rule` is a stable name; `where` the path in the reader's schema. A `Severity.WARNING` decodes,
    and yet is worth a thought. Two that differ in their remedy alone are the same fault.
    """

    rule: str
    where: str
    breaks: str
    remedy: str = dataclasses.field(default="", compare=False)
    severity: Severity = Severity.BREAKING


def own_faults(root: Shape) -> list[Incompatibility]:
    """What is wrong with a schema before it is compared with any other."""
    return [fault for path, record in records(root) for fault in _of_record(record, path)]


def records(root: Shape) -> Iterator[tuple[str, Shape]]:
    """Every record of a schema, once, with the path to its first use."""
    seen: set[int] = set()
    waiting = [("", root)]
    while waiting:
        path, shape = waiting.pop(0)
        if shape.name and id(shape) in seen:
            continue
        seen.add(id(shape))
        if shape.kind == "record":
            yield path, shape
        waiting += [(below(path, field.name), field.shape) for field in shape.fields]
        waiting += [(path + _MARKS.get(shape.kind, ""), part) for part in shape.parts]


_MARKS = {"array": "[]", "map": "{}"}


def below(path: str, name: str) -> str:
    """The path of a field."""
    return f"{path}.{name}" if path else name


def _of_record(record: Shape, path: str) -> Iterator[Incompatibility]:
    for field in record.fields:
        yield from field_faults(field, below(path, field.name))
    yield from alias_clashes(record, path)


def field_faults(field: Field, where: str) -> Iterator[Incompatibility]:
    """What is wrong with a field's default."""
    if not field.has_default:
        return
    fault = default_fault(field.shape, field.default)
    if fault is not None:
        yield Incompatibility(
            rule="default-invalid",
            where=where,
            breaks=f"its default is no value of its type: {fault}",
            remedy="write a default of the field's type",
        )
    elif field.shape.kind == "union" and default_fault(field.shape.parts[0], field.default):
        # Avro 1.12, "Complex Types: Unions", lets a default be of any branch; up to 1.11 it is of
        # the first one, and readers of that age fail when they need it.
        yield Incompatibility(
            rule="default-not-first-branch",
            where=where,
            breaks="its default is not of the union's first branch: readers before Avro 1.12 fail",
            remedy='put the default\'s type first, as ["int", "null"] with 0',
            severity=Severity.WARNING,
        )


def alias_clashes(record: Shape, path: str) -> Iterator[Incompatibility]:
    """Aliases that can mean two fields of one record.

    "Aliases": the writer's field of that name is read as if it had the reader's. Where two fields
    claim it, or a field has it as its name, libraries choose differently: fastavro takes the last
    alias, avro for Python the name, Java renames first.
    """
    names = [field.name for field in record.fields]
    aliases = Counter(alias for field in record.fields for alias in set(field.aliases))
    for field in record.fields:
        for alias in field.aliases:
            if alias in names or aliases[alias] > 1:
                yield Incompatibility(
                    rule="alias-clash",
                    where=below(path, field.name),
                    breaks=f"its alias {alias!r} is another field's name or alias, so libraries "
                    "read different fields",
                    remedy="let each name and alias stand for one field",
                )


def default_fault(shape: Shape, value: Any) -> str | None:
    """Why a JSON default is no value of a type; None where it is one.

    Avro 1.12, "Complex Types: Records", table of field default values.
    """
    match shape.kind:
        case "union":
            faults = [default_fault(part, value) for part in shape.parts]
            return None if None in faults else f"it fits no branch of {shape}"
        case "record":
            return _record_fault(shape, value)
        case "array" | "map":
            return _collection_fault(shape, value)
        case "int" | "long":
            return _integer_fault(shape, value)
        case _:
            return _scalar_fault(shape, value)


def _record_fault(shape: Shape, value: Any) -> str | None:
    if not isinstance(value, dict):
        return "a record's default is an object"
    for field in shape.fields:
        given = value.get(field.name, field.default)
        if given is NO_DEFAULT:
            return f"it has no {field.name!r}"
        fault = default_fault(field.shape, given)
        if fault is not None:
            return f"{field.name}: {fault}"
    return None


def _collection_fault(shape: Shape, value: Any) -> str | None:
    wanted = list if shape.kind == "array" else dict
    if not isinstance(value, wanted):
        return f"it is no {shape.kind}"
    items = value.values() if isinstance(value, dict) else value
    return next((f for f in (default_fault(shape.parts[0], i) for i in items) if f), None)


def _integer_fault(shape: Shape, value: Any) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return f"it is no {shape.kind}"
    bounds = logical_range(shape.logical.name) if shape.logical else None
    low, high = bounds or _RANGES[shape.kind]
    return None if low <= value <= high else f"it is beyond the range of {shape}"


def _scalar_fault(shape: Shape, value: Any) -> str | None:
    fits: dict[str, bool] = {
        "null": value is None,
        "boolean": isinstance(value, bool),
        "float": _is_number(value) and abs(value) < _FLOAT_MAX,
        "double": _is_number(value),
        "string": isinstance(value, str) and (shape.logical is None or _is_uuid(value)),
        "enum": value in shape.symbols,
        # Code points 0 to 255 stand for the bytes.
        "bytes": _is_latin(value),
        "fixed": _is_latin(value) and len(value) == shape.size,
    }
    return None if fits[shape.kind] else f"it is no {shape}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_latin(value: Any) -> bool:
    return isinstance(value, str) and all(ord(letter) < 256 for letter in value)


def _is_uuid(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True
