"""Rows of a batch that could be decoded, whatever version wrote them, as each model reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from workers.enrich.rules import Places
from workers.enrich.versions import Version
from workers.errors import Code, Reject


@dataclass(frozen=True, slots=True)
class Read:
    """`table` has a row for each of `places`; the other places have their reason."""

    table: pa.RecordBatch
    places: Places
    rejections: dict[int, Reject]


@dataclass(frozen=True, slots=True)
class Rows:
    """Entries of `rows`, `datums` and `versions`, and rows of `table`, belong together: a place.

    `table` is read as `built`, the version that the worker's first model was built for.
    """

    table: pa.RecordBatch
    built: int
    rows: list[int]
    datums: list[bytes]
    versions: list[Version]

    def read(self, built: int, places: Places | None) -> Read:
        """These places (None: all) as a model reads them that was built for this version."""
        if built == self.built:
            if places is None:
                return Read(self.table, np.arange(len(self.rows)), {})
            return Read(self.table.take(pa.array(places)), places, {})
        return self._decoded(built, np.arange(len(self.rows)) if places is None else places)

    def _decoded(self, built: int, places: Places) -> Read:
        """Decoded once more, as another version: what a model of another version costs."""
        tables, kept, rejections = list[pa.RecordBatch](), list[int](), dict[int, Reject]()
        by_version: dict[int, list[int]] = {}
        for place in places.tolist():
            by_version.setdefault(id(self.versions[place]), []).append(place)
        for group in by_version.values():
            version = self.versions[group[0]]
            reader = version.readers.get(built)
            if reader is None:
                text = f"{version.source} cannot be read as version {built}"
                reject = Reject(Code.UNRESOLVABLE, text)
                rejections |= dict.fromkeys(group, reject)
                continue
            decoded = reader.decode([self.datums[place] for place in group])
            tables.append(decoded.table)
            kept.extend(group[row] for row in decoded.rows)
            rejections |= {group[row]: why for row, why in decoded.rejections.items()}
        table = pa.concat_batches(tables) if tables else self.table.slice(0, 0)
        return Read(table, np.array(kept, dtype=np.intp), rejections)


def joined(parts: list[Rows]) -> Rows | None:
    """One table of all versions' rows: their columns are the same."""
    parts = [part for part in parts if part.rows]
    if len(parts) <= 1:
        return parts[0] if parts else None
    return Rows(
        pa.concat_batches([part.table for part in parts]),
        parts[0].built,
        [row for part in parts for row in part.rows],
        [datum for part in parts for datum in part.datums],
        [version for part in parts for version in part.versions],
    )
