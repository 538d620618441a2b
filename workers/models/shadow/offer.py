"""What the champion made of a batch, as a shadow is offered it, and the part that it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_SHARE = blake2b(digest_size=8, salt=b"workers.shadow")
_ALL = 2**64
Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a challenger is asked about and compared in, by columns: one entry a row."""

    champion: str
    table: pa.RecordBatch
    scores: npt.NDArray[np.float64]
    decided: pa.StringArray
    ids: pa.StringArray
    keys: Sequence[bytes | None]
    stamps: Sequence[int]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """References to a batch; nothing is copied.

    `table` and `scores` have one entry for each of `rows`, which are places in the lists; `decided`
    has the decision of each row that was published. `champion` is the version that scored.
    """

    champion: str
    table: pa.RecordBatch
    scores: npt.NDArray[np.float64]
    rows: Sequence[int]
    decided: Mapping[int, str]
    origin: str
    keys: Sequence[bytes | None]
    partitions: Sequence[int]
    offsets: Sequence[int]
    timestamps: Sequence[tuple[int, int]]

    @property
    def size(self) -> int:
        """How many of its rows were published: what can be compared."""
        return len(self.decided)

    def joins(self, other: Offer) -> bool:
        """Can both be one question to the challenger?"""
        mine, theirs = (self.champion, self.origin), (other.champion, other.origin)
        return mine == theirs and bool(self.table.schema.equals(other.table.schema))

    def asked(self, share: float) -> Asked:
        """The rows that were published, not those that are dead letters, and are in the share."""
        places = self._sampled(self._published(), share)
        table, scores, rows = self.table, self.scores, self.rows
        if len(places) < len(rows):
            table, scores = table.take(pa.array(places, pa.int64())), scores[places]
            rows = [rows[place] for place in places]
        # Nearly always every row of the batch, in its order: its lists are the columns then.
        whole = len(rows) == len(self.keys) and list(rows) == list(range(len(rows)))

        def of(column: Sequence[Entry]) -> Sequence[Entry]:
            return column if whole else [column[row] for row in rows]

        return Asked(
            champion=self.champion,
            table=table,
            scores=scores,
            decided=pa.array([self.decided[row] for row in rows], pa.string()),
            ids=_ids(self.origin, of(self.partitions), of(self.offsets)),
            keys=of(self.keys),
            stamps=[stamp for _, stamp in of(self.timestamps)],
        )

    def _published(self) -> Sequence[int]:
        if self.size == len(self.rows):
            return range(len(self.rows))
        return [place for place, row in enumerate(self.rows) if row in self.decided]

    def _sampled(self, places: Sequence[int], share: float) -> Sequence[int]:
        """Those of the places that are in the share, by key; by decision id where there is none."""
        if share >= 1:
            return places
        names = [self._name(self.rows[place]) for place in places]
        return [place for place, is_in in zip(places, in_share(names, share), strict=True) if is_in]

    def _name(self, row: int) -> bytes:
        key = self.keys[row]
        if key is not None:
            return key
        return f"{self.origin}:{self.partitions[row]}:{self.offsets[row]}".encode()


def joined(parts: Sequence[Asked]) -> Asked:
    """Rows of offers of which each `joins` the first, as one question."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return Asked(
        champion=first.champion,
        table=pa.concat_batches([part.table for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        decided=pa.concat_arrays([part.decided for part in parts]),
        ids=pa.concat_arrays([part.ids for part in parts]),
        keys=list(chain.from_iterable(part.keys for part in parts)),
        stamps=list(chain.from_iterable(part.stamps for part in parts)),
    )


def in_share(names: Iterable[bytes], share: float) -> list[bool]:
    """Is each key in this share? What is in a share is in every larger one too."""
    digests = []
    for name in names:
        # A copy is twice as fast as a new one with its salt.
        hashed = _SHARE.copy()
        hashed.update(name)
        digests.append(hashed.digest())
    found: list[bool] = (np.frombuffer(b"".join(digests), dtype=">u8") < share * _ALL).tolist()
    return found


def _ids(origin: str, partitions: Sequence[int], offsets: Sequence[int]) -> pa.StringArray:
    """Decision ids, as the enrichment blocks have them."""
    numbers = [pa.array(column, pa.int64()).cast(pa.string()) for column in (partitions, offsets)]
    return pc.binary_join_element_wise(origin, *numbers, ":")
