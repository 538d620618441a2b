"""Arrow columns of Avro types: their types, their ranges, their logical values."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workers.contracts.schema import Node
from workers.contracts.strict import INT_RANGE, UUID, Malformed, logical_range

_TIME_UNITS = {"millis": "ms", "micros": "us", "nanos": "ns"}
_DECIMAL128_DIGITS = 38


def is_mixed(node: Node) -> bool:
    """A union of several types: valid, and carried to the output, but no column for features."""
    return node.kind == "union" and node.nullable is None


def check_ranges(node: Node, array: pa.Array) -> None:
    """Hold every value of the column to its type's range, at any depth.

    Raises:
        Malformed: some row is out of range; halving finds which.
    """
    inner = node.nullable
    if inner is not None:
        check_ranges(inner, array)
    elif node.kind in ("int", "long"):
        _check_integers(node, array)
    elif node.logical == "uuid":
        if not pc.all(pc.match_substring_regex(array, f"^{UUID}$"), min_count=0).as_py():
            raise Malformed("a uuid that is not one")
    else:
        if node.kind == "map":
            _check_keys(array)
        for child, values in _below(node, array):
            check_ranges(child, values)


def has_ranges(node: Node) -> bool:
    """May `check_ranges` find anything in a column of this type?"""
    return any(
        each.kind in ("int", "map") or each.logical == "uuid" or logical_range(each.logical)
        for each in node.walk()
    )


def _check_keys(array: pa.MapArray) -> None:
    """Hold each map to one value a key: which of two is meant, readers answer differently."""
    counts = np.diff(array.offsets.to_numpy())
    rows = np.repeat(np.arange(len(counts)), counts)
    pairs = pa.table({"row": rows, "key": array.keys})
    if pairs.group_by(["row", "key"]).aggregate([]).num_rows < len(rows):
        raise Malformed("a key twice in a map")


def _below(node: Node, array: pa.Array) -> list[tuple[Node, pa.Array]]:
    if node.kind == "record":
        return [(child, array.field(i)) for i, (_, child) in enumerate(node.children)]
    if node.kind == "array":
        return [(node.children[0][1], array.flatten())]
    if node.kind == "map":
        return [(node.children[0][1], array.items)]
    return []


def _check_integers(node: Node, array: pa.Array) -> None:
    bounds = logical_range(node.logical) or (INT_RANGE if node.kind == "int" else None)
    if bounds is None or len(array) == array.null_count:
        return
    low, high = _extremes(array)
    if low < bounds[0] or high > bounds[1]:
        raise Malformed("a number out of its type's range")


def _extremes(array: pa.Array) -> tuple[int, int]:
    if array.null_count:
        found = pc.min_max(array).as_py()
        return found["min"], found["max"]
    # Without nulls numpy can look at them as they are.
    values = array.to_numpy()
    return int(values.min()), int(values.max())


def logical_column(array: pa.Array, node: Node) -> pa.Array:
    """A column whose physical integers, at any depth, are the dates and timestamps they stand for.

    Its type is `arrow_type(node)` then.
    """
    inner = node.nullable or node
    wanted = _logical_type(inner)
    if wanted is not None:
        return array.cast(pa.int32()).cast(wanted) if wanted == pa.date32() else array.cast(wanted)
    return array if array.type == arrow_type(inner) else _nested(array, inner)


def _nested(array: pa.Array, inner: Node) -> pa.Array:
    missing = array.is_null()
    match inner.kind:
        case "record":
            parts = [logical_column(array.field(i), c) for i, (_, c) in enumerate(inner.children)]
            fields = [pa.field(n, p.type) for (n, _), p in zip(inner.children, parts, strict=True)]
            return pa.StructArray.from_arrays(parts, fields=fields, mask=missing)
        case "array":
            items = logical_column(array.values, inner.children[0][1])
            return pa.ListArray.from_arrays(array.offsets, items, mask=missing)
        case "map":
            items = logical_column(array.items, inner.children[0][1])
            return pa.MapArray.from_arrays(array.offsets, array.keys, items, mask=missing)
        case _:
            return array.cast(arrow_type(inner))


def _logical_type(node: Node) -> pa.DataType | None:
    if node.kind not in ("int", "long"):
        return None
    if node.logical == "date":
        return pa.date32()
    family, _, unit = (node.logical or "").rpartition("-")
    if family == "timestamp" and unit in _TIME_UNITS:
        return pa.timestamp(_TIME_UNITS[unit], "UTC")
    if family == "local-timestamp" and unit in _TIME_UNITS:
        return pa.timestamp(_TIME_UNITS[unit])
    return None


_ARROW: dict[str, Callable[[Node], pa.DataType]] = {
    "null": lambda _: pa.null(),
    "boolean": lambda _: pa.bool_(),
    "int": lambda _: pa.int64(),
    "long": lambda _: pa.int64(),
    "float": lambda _: pa.float32(),
    "double": lambda _: pa.float64(),
    "bytes": lambda _: pa.binary(),
    "fixed": lambda _: pa.binary(),
    "string": lambda _: pa.string(),
    "enum": lambda _: pa.string(),
    "union": lambda _: pa.null(),
    "record": lambda node: pa.struct([(n, arrow_type(child)) for n, child in node.children]),
    "array": lambda node: pa.list_(arrow_type(node.children[0][1])),
    "map": lambda node: pa.map_(pa.string(), arrow_type(node.children[0][1])),
}


def arrow_type(node: Node) -> pa.DataType:
    """The Arrow type of a field's column."""
    inner = node.nullable or node
    if _is_decimal(inner):
        return pa.decimal128(inner.precision, inner.scale)
    return _logical_type(inner) or _ARROW[inner.kind](inner)


def arrow_value(value: Any, node: Node) -> Any:
    """A physical value as `pa.array` takes it for `arrow_type(node)`."""
    inner = node.nullable or node
    if value is None or is_mixed(inner):
        return None
    if _is_decimal(inner):
        return Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-inner.scale)
    make = _VALUES.get(inner.kind)
    return value if make is None else make(value, inner)


_VALUES: dict[str, Callable[[Any, Node], Any]] = {
    "record": lambda value, node: {n: arrow_value(value[n], c) for n, c in node.children},
    "array": lambda value, node: [arrow_value(item, node.children[0][1]) for item in value],
    "map": lambda value, node: [(k, arrow_value(v, node.children[0][1])) for k, v in value.items()],
}


def _is_decimal(node: Node) -> bool:
    return node.logical == "decimal" and 0 < node.precision <= _DECIMAL128_DIGITS
