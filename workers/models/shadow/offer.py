"""What the champion made of a batch, as a shadow is offered it, and the part that it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_SALT = b"workers.shadow"
_ALL = 2**64


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

    def published(self) -> list[int]:
        """Places in `rows` of what was published: not of what ended as a dead letter."""
        if self.size == len(self.rows):
            return list(range(len(self.rows)))
        return [place for place, row in enumerate(self.rows) if row in self.decided]

    def ids(self, places: Iterable[int]) -> list[str]:
        """Decision ids, as the enrichment blocks have them."""
        stem, partitions, offsets = self.origin, self.partitions, self.offsets
        rows = self.rows
        return [f"{stem}:{partitions[rows[p]]}:{offsets[rows[p]]}" for p in places]

    def sampled(self, places: list[int], share: float) -> list[int]:
        """Those of the places that are in the share, by key; by decision id where there is none."""
        if share >= 1:
            return places
        keys = [self.keys[self.rows[place]] for place in places]
        names = [
            key if key is not None else self.ids([place])[0].encode()
            for place, key in zip(places, keys, strict=True)
        ]
        return [place for place, name in zip(places, names, strict=True) if in_share(name, share)]


def joined(offers: Sequence[Offer]) -> Offer:
    """Offers of which each `joins` the first, as one."""
    first, base = offers[0], 0
    if len(offers) == 1:
        return first
    rows, decided = list[int](), dict[int, str]()
    for offer in offers:
        rows += [base + row for row in offer.rows]
        decided |= {base + row: decision for row, decision in offer.decided.items()}
        base += len(offer.keys)
    return Offer(
        champion=first.champion,
        table=pa.concat_batches([offer.table for offer in offers]),
        scores=np.concatenate([offer.scores for offer in offers]),
        rows=rows,
        decided=decided,
        origin=first.origin,
        keys=list(chain.from_iterable(offer.keys for offer in offers)),
        partitions=list(chain.from_iterable(offer.partitions for offer in offers)),
        offsets=list(chain.from_iterable(offer.offsets for offer in offers)),
        timestamps=list(chain.from_iterable(offer.timestamps for offer in offers)),
    )


def in_share(name: bytes, share: float) -> bool:
    """Is the key in this share? What is in a share is in every larger one too."""
    digest = blake2b(name, digest_size=8, salt=_SALT).digest()
    return int.from_bytes(digest, "big") < share * _ALL
