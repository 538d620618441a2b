"""The enrichment block as headers, for readers that may not change their schema.

Behind the record's own headers come, for each block, one header a field, `<block>.<field>`, and one
with the whole of it, `<block>.block`. A reader takes the last of a name: a record may have come
with such headers already.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from workers.contracts.framing import Header
from workers.enrich.binding import Binding
from workers.enrich.policy import Policy
from workers.topology import WholeBlock

WHOLE = "block"
"""`<block>.block` holds the whole block."""
REASONS = "reasons"
"""The one field that is no single value: it is in the whole block alone."""


class BlockHeaders:
    """Writes blocks as headers. The names of a block are always all there, in the block's order."""

    def __init__(self, policy: Policy, binding: Binding) -> None:
        self._blocks = policy.blocks
        self._fields = binding.block.field_names
        # Avro is asked for together with the decisions' contract alone.
        self._prefix = binding.block_prefix if policy.whole is WholeBlock.AVRO else None

    def of(
        self, columns: Sequence[Mapping[str, Any]], encoded: Sequence[Sequence[bytes]]
    ) -> Iterator[list[Header]]:
        """The headers of every row; for each block its columns and its datums are given."""
        parts: list[Sequence[Header]] = []
        for name, each, datums in zip(self._blocks, columns, encoded, strict=True):
            values = {field: _values(each[field], len(datums)) for field in self._fields}
            parts += [
                _headers(f"{name}.{field}", column, stamps=field == "scored_at")
                for field, column in values.items()
                if field != REASONS
            ]
            whole = _documents(values) if self._prefix is None else _framed(self._prefix, datums)
            parts.append([(f"{name}.{WHOLE}", content) for content in whole])
        return map(list, zip(*parts, strict=True))


def _values(column: Any, count: int) -> list[Any]:
    """As plain values of Python. A column that is None has none."""
    if column is None:
        return [None] * count
    if isinstance(column, pa.Array):
        column = column.to_pylist()
    elif isinstance(column, np.ndarray):
        column = column.tolist()
    return list(column)


def _headers(name: str, column: list[Any], *, stamps: bool) -> list[Header]:
    """One header a row; what many rows share is made once."""
    if stamps:
        column = [rfc3339(int(value)) for value in column]
    known: dict[Any, Header] = {}
    return [known.get(value) or known.setdefault(value, (name, _text(value))) for value in column]


def _text(value: str | float | bool | None) -> bytes:  # noqa: FBT001  a value, no choice
    """UTF-8 text; a double as the shortest that reads back as the same; null as nothing."""
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return (repr(value) if isinstance(value, float) else str(value)).encode()


def rfc3339(milliseconds: int) -> str:
    """RFC 3339, UTC, to the millisecond."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _documents(values: Mapping[str, list[Any]]) -> Iterator[bytes]:
    """The block as JSON, as the gateway answers it: no type names, times as integers."""
    write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    names = tuple(values)
    stamp = names.index("scored_at")
    for row in zip(*values.values(), strict=True):
        plain = list(row)
        plain[stamp] = int(plain[stamp])
        yield write(dict(zip(names, plain, strict=True))).encode()


def _framed(prefix: bytes, datums: Sequence[bytes]) -> Iterator[bytes]:
    return (prefix + datum for datum in datums)
