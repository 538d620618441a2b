"""Files of events: written whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from fastavro.write import Writer

from workers.contracts.codec import Decoder
from workers.contracts.columns import is_mixed
from workers.contracts.schema import Schema
from workers.offline.events import BATCH, FileFault

PARTITION, OFFSET = "record_partition", "record_offset"
"""Columns of Parquet that say which record became the row."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Bare datums and the places of their records, an entry each."""

    datums: Sequence[bytes]
    partitions: Sequence[int]
    offsets: Sequence[int]


class EventFile(Protocol):
    """Takes events, batch by batch."""

    def write(self, rows: Rows) -> None:
        """Add these, in their order."""
        ...

    def close(self) -> None:
        """Write what the format has at its end."""
        ...


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A place to write to, which becomes `file` only if nothing is raised."""
    made = file.with_name(f".{file.name}.new")
    try:
        yield made
        made.replace(file)
    finally:
        made.unlink(missing_ok=True)


@contextmanager
def event_file(file: Path, schema: Schema, facts: Mapping[str, str]) -> Iterator[EventFile]:
    """An Avro container or a Parquet file, by its ending; `facts` go into its metadata.

    Raises:
        FileFault: another ending, or events that Parquet cannot hold; names the remedy.
    """
    kinds: dict[str, type[Container] | type[Columns]] = {".avro": Container, ".parquet": Columns}
    kind = kinds.get(file.suffix)
    if kind is None:
        raise FileFault(f"{file}: {file.suffix or 'no ending'}: written are .avro and .parquet")
    with whole(file) as made, made.open("wb") as opened:
        target: EventFile = kind(opened, schema, facts)
        try:
            yield target
        finally:
            target.close()


class Container:
    """An Avro container: the datums byte for byte, in deflated blocks."""

    def __init__(self, opened: IO[bytes], schema: Schema, facts: Mapping[str, str]) -> None:
        self._writer: Any = Writer(opened, schema.parsed, codec="deflate", metadata=dict(facts))

    def write(self, rows: Rows) -> None:
        """A block of these; the place of a record is in the block's decision_id."""
        if rows.datums:
            self._writer.write_block(_Block(len(rows.datums), io.BytesIO(b"".join(rows.datums))))

    def close(self) -> None:
        """Nothing but what is buffered."""
        self._writer.flush()


@dataclass(frozen=True)
class _Block:
    """What the writer wants of a block."""

    num_records: int
    bytes_: io.BytesIO


class Columns:
    """Parquet: the fields of the contract, and which record became the row."""

    def __init__(self, opened: IO[bytes], schema: Schema, facts: Mapping[str, str]) -> None:
        mixed = [name for name, node in schema.root.children if is_mixed(node)]
        taken = [name for name in (PARTITION, OFFSET) if name in schema.field_names]
        if mixed or taken:
            why = "is a union of several types" if mixed else "is a name that we use"
            raise FileFault(f"field {(mixed or taken)[0]} {why}: write .avro instead of Parquet")
        self._decoder = Decoder(schema)
        places = [pa.field(PARTITION, pa.int32()), pa.field(OFFSET, pa.int64())]
        fields = [*places, *self._decoder.decode([]).table.schema]
        self._schema = pa.schema(fields, metadata=dict(facts))
        self._writer = pq.ParquetWriter(opened, self._schema)

    def write(self, rows: Rows) -> None:
        """A row group of these.

        Raises:
            FileFault: a datum is none of the schema.
        """
        decoded = self._decoder.decode(rows.datums)
        for row, why in decoded.rejections.items():
            raise FileFault(f"partition {rows.partitions[row]} offset {rows.offsets[row]}: {why}")
        places = [pa.array(rows.partitions, pa.int32()), pa.array(rows.offsets, pa.int64())]
        columns = [*places, *decoded.table.columns]
        table = pa.Table.from_arrays(columns, names=self._schema.names)
        self._writer.write_table(table.cast(self._schema))

    def close(self) -> None:
        """The footer."""
        self._writer.close()


def write_container(file: Path, schema: Schema, values: Iterable[bytes]) -> int:
    """Write bare datums of `schema` as an Avro container, whole or not at all; how many."""
    count, source = 0, iter(values)
    with whole(file) as made, made.open("wb") as opened:
        target = Container(opened, schema, {})
        while batch := list(islice(source, BATCH)):
            count += len(batch)
            target.write(Rows(batch, [0] * len(batch), range(len(batch))))
        target.close()
    return count
