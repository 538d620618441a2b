"""Landings as records of flights.outcomes."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pyruhvro

from examples.flights.encode import _without_zone
from workers.contracts.directory import read_directory
from workers.contracts.framing import frame


def encode_outcomes(landings: pl.DataFrame) -> list[bytes]:
    """A framed record a row: what has landed when, and how late; `decision_id` where it has one."""
    from pathlib import Path

    root = Path(__file__).parents[2]
    registered = read_directory(root / "schemas").catalogue.versions("flights.outcomes-value")[1]
    text = registered.schema.text
    fields = pyruhvro.avro_to_arrow_schema(text)
    if "decision_id" not in landings.columns:
        landings = landings.with_columns(
            pl.lit(None, pl.String).alias("decision_id"), pl.col("tailnum").fill_null("unknown")
        )
    table = landings.select(
        "decision_id", "tailnum", "departed_at", "arrival_delay", "landed_at"
    ).to_arrow()
    columns = [table.column(f.name).combine_chunks().cast(_without_zone(f.type)) for f in fields]
    batch = pa.RecordBatch.from_arrays(columns, schema=fields)
    prefix = frame(registered.id or 0)
    return [
        prefix + bytes(datum)
        for chunk in pyruhvro.serialize_record_batch(batch, text, 1)
        for datum in chunk.to_pylist()
    ]
