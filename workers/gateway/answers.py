"""Decisions as JSON, read back from the very records that are logged."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from workers.contracts.codec import Decoder
from workers.contracts.framing import PREFIX
from workers.contracts.jsonread import JsonReader, read_text
from workers.contracts.schema import Schema
from workers.errors import ContractError, Halt

WITHOUT_MODEL = frozenset({"over_budget", "model_failed", "bypassed"})
"""Reasons of a fallback that say: the model would have been asked."""
FEW = 48
"""Events for which columns cost more than they save."""


@dataclass(frozen=True, slots=True)
class Decided:
    """One event's decision: its log records, one a block, and what is answered."""

    records: tuple[bytes, ...]
    blocks: tuple[str, ...]
    """Each block as a JSON object, in the order of the worker's blocks."""
    cause: str | None
    """Why the model was not asked, where it was not."""


class Renderer:
    """Makes answers of decision records."""

    def __init__(self, block: Schema, names: Sequence[str]) -> None:
        """`names` of a worker's blocks, in the order of its records."""
        self._decoder = Decoder(block)
        self._reader = JsonReader(block)
        first, node = block.root.children[0]
        if (first, node.kind) != ("decision_id", "string"):
            raise ContractError(f"{block.full_name} does not begin with its decision_id")
        self.names = tuple(names)

    def decided(self, records: Sequence[tuple[bytes, ...]]) -> list[Decided]:
        """An answer for each event's records."""
        if not records:
            return []
        if len(records) < FEW:
            return [self._few(each) for each in records]
        tables = [
            self._table([each[place] for each in records]) for place in range(len(self.names))
        ]
        blocks = [_lines(table) for table in tables]
        causes = tables[0].column("fallback_reason").to_pylist()
        return [
            Decided(record, block, cause if cause in WITHOUT_MODEL else None)
            for record, block, cause in zip(records, zip(*blocks, strict=True), causes, strict=True)
        ]

    def ids(self, records: Sequence[bytes]) -> list[str]:
        """Decision ids of log records, the first thing in each; empty where that is none."""
        return [_id(record) for record in records]

    def read(self, record: bytes) -> dict[str, Any]:
        """One record's block."""
        return self._reader.read(record, PREFIX)

    def _few(self, records: tuple[bytes, ...]) -> Decided:
        blocks = [self._reader.read(record, PREFIX) for record in records]
        cause = blocks[0]["fallback_reason"]
        shown = tuple(json.dumps(block, separators=(",", ":")) for block in blocks)
        return Decided(records, shown, cause if cause in WITHOUT_MODEL else None)

    def _table(self, records: Sequence[bytes]) -> pa.RecordBatch:
        decoded = self._decoder.decode([record[PREFIX:] for record in records])
        if decoded.rejections:
            why = next(iter(decoded.rejections.values()))
            raise Halt(f"a decision record that cannot be read: {why}")
        return decoded.table


def _id(record: bytes) -> str:
    try:
        return read_text(record, PREFIX)[0]
    except (IndexError, UnicodeDecodeError):
        # Whatever somebody else wrote there.
        return ""


def _lines(table: pa.RecordBatch) -> list[str]:
    """Each row as a JSON object; times are integers, as Avro's JSON has them."""
    columns = [
        column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        for column in table.columns
    ]
    plain = pa.RecordBatch.from_arrays(columns, names=table.schema.names)
    frame = pl.from_arrow(plain)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  what a record batch becomes
    return frame.write_ndjson().split("\n")[: table.num_rows]


def shown(decided: Decided, names: Sequence[str], returns: Collection[str] | None) -> str:
    """One event's outcome; of the block's fields those that the caller may see."""
    blocks = decided.blocks
    if returns is not None:
        blocks = tuple(_only(block, returns) for block in blocks)
    degraded = "true" if decided.cause else "false"
    cause = json.dumps(decided.cause)
    parts = ",".join(f'"{name}":{block}' for name, block in zip(names, blocks, strict=True))
    return f'{{"status":"decided","degraded":{degraded},"cause":{cause},{parts}}}'


def _only(block: str, returns: Collection[str]) -> str:
    document: dict[str, Any] = json.loads(block)
    return json.dumps({name: value for name, value in document.items() if name in returns})
