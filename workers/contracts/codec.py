"""Bytes to columns and back.

`Decoder.decode` turns many datums of one schema into an Arrow batch and says, row by row, which
could not be read. Two routes, chosen once when the schema is loaded:

`columns`  pyruhvro (Rust). Fast, not strict: so `int` is read as `long` and then held to its range,
           logical types are stripped and then range-checked, UTF-8 is validated, and every datum is
           followed by a random guard of eight bytes, read as the last field, so that a record that
           is too short or too long is seen. A batch that fails is halved until the bad rows stand
           alone; `strict.check` then says what is wrong with each.
`records`  schemas with bytes, fixed or a union of several types, which pyruhvro cannot decode or
           features cannot use: a strict walk, then fastavro, record by record.
"""

from __future__ import annotations

import copy
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyruhvro

from workers.contracts.columns import (
    arrow_type,
    arrow_value,
    check_ranges,
    has_ranges,
    is_mixed,
    logical_column,
)
from workers.contracts.schema import Node, Schema
from workers.contracts.strict import Malformed, check
from workers.errors import Code, Reject

GUARD_FIELD = "workers_guard_of_this_process"
Rows = list[int]


class Route(StrEnum):
    """How a schema's records are decoded; shown by `workers check`."""

    COLUMNS = "columns"
    RECORDS = "records"
    RESOLVED = "records, resolved to the model's version"


@dataclass(frozen=True, slots=True)
class Decoded:
    """`table` holds the readable rows in order, `rows` says which datums they are."""

    table: pa.RecordBatch
    rows: Rows
    rejections: dict[int, Reject]


def make_guard() -> bytes:
    """Eight random bytes whose first does not come again, so that no shift of them equals them."""
    while True:
        guard = os.urandom(8)
        if guard[0] not in guard[1:]:
            return guard


_GUARD = make_guard()
_GUARD_BITS = int.from_bytes(_GUARD, "little", signed=True)


class Decoder:
    """Decodes datums of one schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.route = _route(schema.root)
        self._physical = json.dumps(_physical(dict(schema.document)))
        self._columns = tuple(
            (index, name, node)
            for index, (name, node) in enumerate(schema.root.children)
            if not is_mixed(node)
        )
        self._record_types = {name: arrow_type(node) for _, name, node in self._columns}
        self._ranged = tuple(
            (index, node)
            for index, (_, node) in enumerate(schema.root.children)
            if has_ranges(node)
        )

    def decode(self, datums: Sequence[bytes]) -> Decoded:
        """Columns of the datums that can be read, and why the others cannot."""
        if self.route is Route.RECORDS:
            return self._decode_records(datums)
        rejections: dict[int, Reject] = {}
        parts: list[tuple[Rows, pa.RecordBatch]] = []
        guarded = [datum + _GUARD for datum in datums]
        self._halve(guarded, range(len(datums)), parts, rejections)
        rows = [row for part, _ in parts for row in part]
        tables = [table for _, table in parts]
        if not tables:
            return Decoded(self._empty(), rows, rejections)
        table = tables[0] if len(tables) == 1 else pa.concat_batches(tables)
        return Decoded(table, rows, rejections)

    def _halve(
        self,
        guarded: list[bytes],
        rows: range,
        parts: list[tuple[Rows, pa.RecordBatch]],
        rejections: dict[int, Reject],
    ) -> None:
        if not rows:
            return
        try:
            table = self._decode_columns(guarded[rows.start : rows.stop])
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  # pyruhvro's PanicException is no Exception
            if len(rows) == 1:
                rejections[rows[0]] = self._explain(guarded[rows[0]], error)
                return
            middle = (rows.start + rows.stop) // 2
            self._halve(guarded, range(rows.start, middle), parts, rejections)
            self._halve(guarded, range(middle, rows.stop), parts, rejections)
        else:
            parts.append((list(rows), table))

    def _decode_columns(self, guarded: list[bytes]) -> pa.RecordBatch:
        batch = pyruhvro.deserialize_array(guarded, self._physical)
        batch.validate(full=True)
        # As numbers of numpy, which are looked at without a function of Arrow's for each step.
        guard = batch.column(batch.num_columns - 1).to_numpy().view(np.int64)
        if not (guard == _GUARD_BITS).all():
            raise Malformed("the record is longer or shorter than its schema")
        self._check_long_numbers(guarded, batch)
        for index, node in self._ranged:
            check_ranges(node, batch.column(index))
        return pa.RecordBatch.from_arrays(
            [self._logical(batch.column(index), name, node) for index, name, node in self._columns],
            names=list(self._record_types),
        )

    def _logical(self, array: pa.Array, name: str, node: Node) -> pa.Array:
        return array if array.type == self._record_types[name] else logical_column(array, node)

    def _check_long_numbers(self, guarded: list[bytes], batch: pa.RecordBatch) -> None:
        """Hold rows with something like a number of ten bytes to the strict walk.

        Raises:
            Malformed: such a row is not what the schema says.
        """
        rows = long_number_rows(guarded)
        if not rows:
            return
        again = self._encode_again(batch.take(rows))
        for row, encoded in zip(rows, again, strict=True):
            if encoded != guarded[row]:
                check(self.schema.root, guarded[row][: -len(_GUARD)])

    def _encode_again(self, batch: pa.RecordBatch) -> list[bytes | None]:
        try:
            chunks = pyruhvro.serialize_record_batch(batch, self._physical, 1)
        except ValueError:
            # What it cannot write is left to the strict walk.
            return [None] * len(batch)
        return [bytes(datum) for chunk in chunks for datum in chunk.to_pylist()]

    def _explain(self, guarded: bytes, error: BaseException) -> Reject:
        try:
            check(self.schema.root, guarded[: -len(_GUARD)])
        except Malformed as malformed:
            return Reject(Code.MALFORMED, str(malformed))
        # The strict walk found nothing: say which decoder refused, never what the payload holds.
        return Reject(Code.REFUSED_BY_DECODER, f"the columnar decoder: {type(error).__name__}")

    def _decode_records(self, datums: Sequence[bytes]) -> Decoded:
        rejections: dict[int, Reject] = {}
        events: list[dict[str, Any]] = []
        rows: Rows = []
        for row, datum in enumerate(datums):
            try:
                events.append(self.read_one(datum))
                rows.append(row)
            except Malformed as error:
                rejections[row] = Reject(Code.MALFORMED, str(error))
        arrays = [
            pa.array([arrow_value(event[name], node) for event in events], self._record_types[name])
            for _, name, node in self._columns
        ]
        if not arrays:
            return Decoded(_rows_without_columns(len(rows)), rows, rejections)
        table = pa.RecordBatch.from_arrays(arrays, names=list(self._record_types))
        return Decoded(table, rows, rejections)

    def read_one(self, datum: bytes) -> dict[str, Any]:
        """One event in physical values, by the strict walk and fastavro.

        Raises:
            Malformed: the datum is not what the schema says.
        """
        check(self.schema.root, datum)
        physical = json.loads(self._physical)
        physical["fields"].pop()
        read = fastavro.schemaless_reader(io.BytesIO(datum), fastavro.parse_schema(physical), None)
        return dict(read)

    def _empty(self) -> pa.RecordBatch:
        fields = list(self._record_types.items())
        return pa.RecordBatch.from_pylist([], schema=pa.schema(fields))


class BlockEncoder:
    """Encodes columns as bare datums of one schema."""

    def __init__(self, schema: Schema) -> None:
        self._arrow = pyruhvro.avro_to_arrow_schema(schema.text)
        # Without what changes no byte: it is parsed for every batch.
        self._text = json.dumps(_undocumented(schema.document), separators=(",", ":"))
        self._fields = [(field.name, field.type) for field in self._arrow]

    def encode(self, columns: dict[str, Any], rows: int) -> list[bytes]:
        """`rows` datums from columns by field name: arrays, or None for all null."""
        arrays = [
            pa.nulls(rows, kind) if columns[name] is None else _array(columns[name], kind)
            for name, kind in self._fields
        ]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._arrow)
        encoded: list[bytes] = []
        for chunk in pyruhvro.serialize_record_batch(batch, self._text, 1):
            encoded.extend(chunk.to_pylist())
        return encoded


def _array(column: Any, kind: pa.DataType) -> pa.Array:
    return column if isinstance(column, pa.Array) else pa.array(column, kind)


def long_number_rows(datums: Sequence[bytes]) -> list[int]:
    """Rows with nine bytes of a set high bit before one that is not 0 and has it clear.

    So begins and ends a varint of ten bytes, whose last may hold one bit; so does much text that is
    not ASCII, and the guard may end one. Avro 1.12, "Binary encoding": variable-length zig-zag.
    """
    joined = np.frombuffer(b"".join(datums), dtype=np.uint8)
    high = joined >= 0x80
    # Runs of two, four, eight, then nine: four passes instead of nine.
    run = high[:-1] & high[1:]
    run = run[:-2] & run[2:]
    run = run[:-4] & run[4:]
    run = run[:-2] & high[8:-1]
    places = np.flatnonzero(run)
    last = joined[places + 9]
    places = places[(last > 0) & (last < 0x80)]
    if not len(places):
        return []
    ends = np.cumsum([len(datum) for datum in datums])
    return sorted(set(np.searchsorted(ends, places, side="right").tolist()))


def _route(root: Node) -> Route:
    """Records, where pyruhvro would panic or its result would lose what was written."""
    for node in root.walk():
        if node.kind in ("bytes", "fixed") or is_mixed(node):
            return Route.RECORDS
    return Route.COLUMNS


def _physical(schema: Any) -> Any:
    """Without logical types, with `long` for `int` (the same bytes) and the guard at the end."""
    stripped = _strip(copy.deepcopy(schema))
    stripped["fields"].append({"name": GUARD_FIELD, "type": "double"})
    return stripped


def _strip(schema: Any) -> Any:
    if schema == "int":
        return "long"
    if isinstance(schema, list):
        return [_strip(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {k: v for k, v in schema.items() if k in _PHYSICAL_KEYS}
    for key in ("type", "items", "values"):
        if key in kept:
            kept[key] = _strip(kept[key])
    if "fields" in kept:
        kept["fields"] = [{"name": f["name"], "type": _strip(f["type"])} for f in kept["fields"]]
    return kept


def _undocumented(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_undocumented(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {k: _undocumented(v) for k, v in schema.items() if k not in ("doc", "default")}


_PHYSICAL_KEYS = frozenset(
    {"type", "name", "namespace", "fields", "items", "values", "symbols", "size"}
)


def _rows_without_columns(rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{} for _ in range(rows)])
