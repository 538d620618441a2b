"""Features for training and notebooks, by the code that a worker computes them with."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import numpy.typing as npt
import polars as pl

from workers.contracts.codec import Decoder
from workers.contracts.schema import Schema
from workers.models.booster import Matrix
from workers.models.bundle import Feature
from workers.models.features import Features
from workers.offline.events import datums_of

BATCH = 4_000
Events = Path | pl.DataFrame | Iterable[bytes] | Iterable[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """`matrix` has a row for each event, in their order, and a column for each of `names`.

    A worker would not score the events of `rejected`, place to text; do not train on them:
    `matrix[table.usable]`.
    """

    names: tuple[str, ...]
    matrix: Matrix
    rejected: dict[int, str]

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """One entry a row: would a worker score it?"""
        usable = np.ones(len(self.matrix), dtype=bool)
        usable[list(self.rejected)] = False
        return usable

    def frame(self) -> pl.DataFrame:
        """The same as a table; categories are their codes, as the booster sees them."""
        return pl.DataFrame(self.matrix, schema=list(self.names), orient="row")


def build_features(events: Events, schema: Schema, features: Sequence[Feature]) -> FeatureTable:
    """The matrix that a worker would score, bit for bit, columns in the order of `features`.

    `events` are a file (.avro or .parquet), a table, bare Avro datums of `schema`, or mappings.
    What is no datum yet is encoded first and then decoded: as a producer and the worker do it, so
    that a number which the contract narrows is narrow here too. Columns that are no field of
    `schema`, such as a label, are left out.

    Raises:
        ModelError: an expression is not SQL, or reads a field that `schema` lacks; names it.
        FileFault: the file cannot be read as events of `schema`.
        ValueError: an event does not fit `schema`; so do other errors of the Avro library.
    """
    names = tuple(feature.name for feature in features)
    compiled = Features(features, columns=names)
    compiled.check_fields(schema.field_names)
    decoder = Decoder(schema)
    parts: list[Matrix] = [np.empty((0, len(names)))]
    rejected: dict[int, str] = {}
    start = 0
    for datums in _batches(events, schema):
        decoded = decoder.decode(datums)
        featured = compiled.compute(decoded.table)
        part = np.full((len(datums), len(names)), np.nan)
        part[decoded.rows] = featured.matrix
        parts.append(part)
        rejected |= {start + row: str(why) for row, why in decoded.rejections.items()}
        rejected |= {
            start + decoded.rows[row]: str(why) for row, why in featured.rejections.items()
        }
        start += len(datums)
    return FeatureTable(names, np.concatenate(parts), rejected)


def _batches(events: Events, schema: Schema) -> Iterator[list[bytes]]:
    if isinstance(events, Path):
        yield from datums_of(events, schema)
        return
    source: Iterator[Any] = (
        events.iter_rows(named=True) if isinstance(events, pl.DataFrame) else iter(events)
    )
    for first in source:
        taken = chain([first], islice(source, BATCH - 1))
        yield [_datum(event, schema) for event in taken]


def _datum(event: bytes | Mapping[str, Any], schema: Schema) -> bytes:
    if isinstance(event, bytes):
        return event
    # A training table has a label and more beside the event: only the event is encoded.
    fields = {name: event[name] for name in schema.field_names if name in event}
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema.parsed, fields, strict_allow_default=True)
    return stream.getvalue()
