"""Events of a file as datums of one contract version, in batches."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

from workers.contracts.schema import Schema
from workers.errors import Halt

BATCH = 4_000


class FileFault(Halt):
    """The file cannot be read as events of the contract; names the place."""


def datums_of(file: Path, schema: Schema) -> Iterator[list[bytes]]:
    """Batches of bare datums of `schema`, from an Avro container or a Parquet file.

    A container's records are resolved to `schema` as Avro says; Parquet's columns go by name.

    Raises:
        FileFault: it is not there, is neither, damaged, or an event does not fit the contract;
            names which.
    """
    if not file.is_file():
        raise FileFault(f"{file}: there is no such file")
    batch: list[bytes] = []
    number = 0
    try:
        for event in _events(file, schema):
            batch.append(datum_of(event, schema))
            number += 1
            if len(batch) == BATCH:
                yield batch
                batch = []
    except (OSError, ValueError, TypeError, KeyError, EOFError, pa.ArrowException) as error:
        place = f"{file}: event {number + 1}"
        raise FileFault(f"{place}: not an event of {schema.full_name}: {error}") from error
    if batch:
        yield batch


def datum_of(event: Mapping[str, Any], schema: Schema) -> bytes:
    """The event as a bare datum of `schema`.

    Raises:
        ValueError: it does not fit; so do other errors of the Avro library.
    """
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema.parsed, event, strict_allow_default=True)
    return stream.getvalue()


def _events(file: Path, schema: Schema) -> Iterator[dict[str, Any]]:
    match file.suffix:
        case ".avro":
            with file.open("rb") as opened:
                records: Iterable[Any] = fastavro.reader(opened, schema.parsed)
                yield from records
        case ".parquet":
            with pq.ParquetFile(file) as opened_parquet:
                for table in opened_parquet.iter_batches(BATCH):
                    yield from table.to_pylist()
        case other:
            raise FileFault(f"{file}: {other or 'no ending'}: events come as .avro or .parquet")
