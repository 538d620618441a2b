"""Flight events as bare Avro datums."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pyruhvro

from examples.flights.events import EVENT


def encode(events: pl.DataFrame, schema: str) -> list[bytes]:
    """One datum a row, under `schema`, the text of flights-value."""
    fields = pyruhvro.avro_to_arrow_schema(schema)
    table = events.select(EVENT).to_arrow()
    columns = [table.column(f.name).combine_chunks().cast(_without_zone(f.type)) for f in fields]
    # The timestamps are UTC; the encoder wants them without a zone.
    batch = pa.RecordBatch.from_arrays(columns, schema=fields)
    datums: list[bytes] = []
    for chunk in pyruhvro.serialize_record_batch(batch, schema, 1):
        datums.extend(chunk.to_pylist())
    return datums


def _without_zone(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp(kind.unit) if pa.types.is_timestamp(kind) else kind
