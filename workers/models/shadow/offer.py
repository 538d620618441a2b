"""What the champion made of a batch, as a shadow is offered it, and the part that it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

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


def in_share(name: bytes, share: float) -> bool:
    """Is the key in this share? What is in a share is in every larger one too."""
    digest = blake2b(name, digest_size=8, salt=_SALT).digest()
    return int.from_bytes(digest, "big") < share * _ALL
