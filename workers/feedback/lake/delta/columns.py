"""Which columns a Delta table needs for files that it is given."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import Field, Schema

from workers.feedback.lake.commits import DataFile
from workers.feedback.lake.place import LakeFault, Place

DAY = "day"
"""The partition: a column that is in the names of folders, not in files."""
_FOOTER = 64 * 1024
"""More than the end of a file of two hundred columns."""
_VOID = '"void"'
_REMEDY = "or set `lake.delta: false`"


def new_columns(
    place: Place, table: str, before: Mapping[str, str], files: Iterable[DataFile]
) -> list[Field]:
    """Columns of the files that are not among `before`: Delta's types as JSON, by name.

    `table` is for messages. A column that is null in every row of every file, and has no type for
    that reason, waits for one.

    Raises:
        LakeFault: a column has no type of Delta's, or another one than before; a file is damaged.
    """
    types, seen = dict(before), dict.fromkeys(before, "the Delta table")
    spelt = {name.lower(): name for name in before}
    for file in files:
        for column in read_schema(place, file):
            kind = _kind(table, file, column)
            if spelt.setdefault(column.name.lower(), column.name) != column.name:
                raise LakeFault(
                    f"{table}: column `{column.name}` of {file.path} differs from "
                    f"`{spelt[column.name.lower()]}` in nothing but case, which Delta does not "
                    f"tell apart. Rename the field, {_REMEDY}"
                )
            if types.setdefault(column.name, kind) != kind:
                raise LakeFault(
                    f"{table}: column `{column.name}` is {_shown(types[column.name])} in "
                    f"{seen[column.name]} and {_shown(kind)} in {file.path}; a column of a Delta "
                    "table has one type. Give the field another name in its contract, begin "
                    f"another lake, {_REMEDY}"
                )
            seen.setdefault(column.name, file.path)
    new = [name for name in types if name not in before and types[name] != _VOID]
    return [_field(name, types[name]) for name in new]


def read_schema(place: Place, file: DataFile) -> pa.Schema:
    """Columns of a Parquet file, of which only the end is read.

    Raises:
        LakeFault: it is damaged, or gone.
    """
    end = place.end(file.path, file.bytes, _FOOTER)
    footer = int.from_bytes(end[-8:-4], "little") + 8
    if len(end) < footer <= file.bytes:
        end = place.end(file.path, file.bytes, footer)
    try:
        return pq.read_schema(io.BytesIO(end))
    except (pa.ArrowException, OSError) as error:
        raise LakeFault(f"{place.name}/{file.path}: damaged: {error}") from error


def _kind(table: str, file: DataFile, column: pa.Field) -> str:
    """Delta's type, as JSON."""
    place = f"{table}: column `{column.name}` of {file.path}"
    if column.name.lower() == DAY:
        raise LakeFault(f"{place} has the name of the partition. Rename the field, {_REMEDY}")
    if pa.types.is_null(column.type):
        return _VOID
    try:
        text = str(Schema.from_arrow(pa.schema([column])).fields[0].type.to_json())
    except Exception as error:
        raise LakeFault(_untold(place, column)) from error
    # Neither has a meaning to readers: null within a list, and nanoseconds.
    if _VOID in text or "timestamp_nanos" in text:
        raise LakeFault(_untold(place, column))
    return text


def _untold(place: str, column: pa.Field) -> str:
    return (
        f"{place} is {column.type}, for which Delta has no type. Leave the field out of its "
        f"contract, {_REMEDY}"
    )


def _field(name: str, kind: str) -> Field:
    document = {"name": name, "type": json.loads(kind), "nullable": True, "metadata": {}}
    return Field.from_json(json.dumps(document))


def _shown(kind: str) -> str:
    return kind.strip('"')
