"""Records of a topic as rows, each decoded by the version that wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa

from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.codec import Decoder
from workers.contracts.framing import SchemaKey, locate
from workers.enrich.batch import Batch
from workers.errors import Code, ContractError, Reject

PLACE = ("record_partition", "record_offset", "record_at")
"""Columns of every table: which record became the row."""
NUMBER, CATEGORY = "number.", "category."
"""What the columns of logged features begin with."""
_LISTS = ("numbers", "number_names", "categories", "category_names")


@dataclass(slots=True)
class RowsState:
    """What batches became; `unreadable` has the code of each record that is no event."""

    frames: list[pl.DataFrame] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


class RecordReader:
    """Reads records of one subject."""

    def __init__(self, contracts: Catalogue, subject: str) -> None:
        """Raises:
        ContractError: there is no such subject.
        """
        self.subject = subject
        self._contracts = contracts
        self._decoders: dict[tuple[str, int], Decoder] = {}
        if not contracts.versions(subject):
            raise ContractError(f"no contract named {subject}")

    def read(self, batch: Batch, into: RowsState) -> None:
        """Add the batch's rows.

        Raises:
            ContractError: a schema id is in no contract: the record may be good, so it is not
                passed over.
        """
        groups: dict[SchemaKey, tuple[list[int], list[bytes]]] = {}
        for row, value in enumerate(batch.values):
            try:
                found = None if value is None else locate(value, batch.headers[row])
            except Reject as reject:
                into.unreadable.append(reject.code)
                continue
            if value is None or found is None:
                into.unreadable.append(Code.TOMBSTONE if value is None else Code.UNFRAMED)
                continue
            key, start = found
            rows, datums = groups.setdefault(key, ([], []))
            rows.append(row)
            datums.append(value[start:])
        for key, (rows, datums) in groups.items():
            self._decode(batch, key, rows, datums, into)

    def _decode(
        self, batch: Batch, key: SchemaKey, rows: list[int], datums: list[bytes], into: RowsState
    ) -> None:
        version = self._contracts.find(key)
        if version is None:
            shown = key if isinstance(key, int) else key.hex()
            raise ContractError(
                f"{batch.topic} [{batch.partitions[rows[0]]}] offset {batch.offsets[rows[0]]}: "
                f"schema id {shown} is in no contract; bring the contracts up to date and collect "
                "again"
            )
        if version.subject != self.subject:
            into.unreadable += [Code.OTHER_SUBJECT] * len(rows)
            return
        decoded = self._decoder(version).decode(datums)
        into.unreadable += [why.code for why in decoded.rejections.values()]
        kept = [rows[row] for row in decoded.rows]
        if kept:
            into.frames.append(_with_places(decoded.table, batch, kept))

    def _decoder(self, version: Registered) -> Decoder:
        key = (version.subject, version.version)
        if key not in self._decoders:
            self._decoders[key] = Decoder(version.schema)
        return self._decoders[key]


def _with_places(table: pa.RecordBatch, batch: Batch, rows: list[int]) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a record batch is a frame")
    places = {
        PLACE[0]: pl.Series([batch.partitions[row] for row in rows], dtype=pl.Int32),
        PLACE[1]: pl.Series([batch.offsets[row] for row in rows], dtype=pl.Int64),
        PLACE[2]: pl.Series([batch.timestamps[row][1] for row in rows], dtype=pl.Int64),
    }
    return frame.with_columns(**places)


def joined(state: RowsState) -> pl.DataFrame | None:
    """One frame of them all; None where there is no row."""
    return pl.concat(state.frames, how="diagonal_relaxed") if state.frames else None


def spread_features(frame: pl.DataFrame) -> pl.DataFrame:
    """Logged features as columns of their own, by name, instead of lists.

    Features of a number and of a category may have one name in two models: they are two columns.
    """
    if _LISTS[0] not in frame.columns:
        return frame
    names = pl.col("number_names", "category_names").fill_null([]).list.join("\x1f")
    keyed = frame.with_columns(names.name.prefix("_"))
    parts = keyed.partition_by(
        ["_number_names", "_category_names"], maintain_order=True, as_dict=True
    )
    made = [_spread(part.drop("_number_names", "_category_names")) for part in parts.values()]
    return pl.concat(made, how="diagonal_relaxed")


def _spread(part: pl.DataFrame) -> pl.DataFrame:
    """Rows whose features have the same names."""
    columns: dict[str, pl.Expr] = {}
    for prefix, values, names in ((NUMBER, _LISTS[0], _LISTS[1]), (CATEGORY, _LISTS[2], _LISTS[3])):
        listed = part[names][0]
        for place, name in enumerate([] if listed is None else listed.to_list()):
            columns[f"{prefix}{name}"] = pl.col(values).list.get(place, null_on_oob=True)
    return part.with_columns(**columns).drop(_LISTS)


def feature_columns(frame: pl.DataFrame | Mapping[str, object]) -> list[str]:
    """Columns of logged features."""
    names = frame.columns if isinstance(frame, pl.DataFrame) else list(frame)
    return [name for name in names if name.startswith((NUMBER, CATEGORY))]
