"""What goes into the path and what comes out of it, by columns.

Lists by row number rather than an object a record: at a hundred thousand events a second an object
a record would cost as much as decoding it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workers.contracts.framing import Header, SchemaKey
from workers.errors import Reject
from workers.models.model import Model, Scored

HeaderList = list[Header] | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one poll of one topic, in the order they were handed out.

    All lists have one entry a record. `timestamps` are (type, milliseconds) as the client gives
    them; `now` is milliseconds UTC, taken when the batch was polled. `unreadable` holds rows whose
    headers the client library cannot return.
    """

    topic: str
    now: int
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    headers: list[HeaderList] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    timestamps: list[tuple[int, int]] = field(default_factory=list)
    unreadable: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.values)

    def place(self, row: int) -> bytes:
        """Partition and offset of a row: what tells it from every other of its topic."""
        return b"%d:%d" % (self.partitions[row], self.offsets[row])

    def next_offsets(self) -> dict[int, int]:
        """The offset to commit for each partition once every row of it is accounted for."""
        # Rows are in order within a partition, so the last one seen is the highest.
        last = dict(zip(self.partitions, self.offsets, strict=True))
        return {partition: offset + 1 for partition, offset in last.items()}

    def select(self, rows: Sequence[int]) -> Batch:
        """The batch of these rows alone."""
        return Batch(
            self.topic,
            self.now,
            [self.keys[row] for row in rows],
            [self.values[row] for row in rows],
            [self.headers[row] for row in rows],
            [self.partitions[row] for row in rows],
            [self.offsets[row] for row in rows],
            [self.timestamps[row] for row in rows],
            frozenset(new for new, row in enumerate(rows) if row in self.unreadable),
        )


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a row goes to the dead-letter topic, and what was known of it by then."""

    reject: Reject
    stage: str
    schema_id: int | None = None
    model_version: str | None = None


@dataclass(frozen=True, slots=True)
class DecodedRows:
    """What the model was given, and its scores: for whoever wants to score the same rows again.

    `table` and `scores` have one entry for each of `rows`, which are rows of the batch; a score is
    NaN where there is none. `version` is the champion's; `decided` has the rows where its word
    stands: published, and no rule's, challenger's or fallback's.
    """

    table: pa.RecordBatch
    rows: list[int]
    scores: npt.NDArray[np.float64]
    version: str
    decided: dict[int, str]


@dataclass(frozen=True, slots=True)
class Opinion:
    """How a block was decided, for whoever counts: an entry each for the published `rows`.

    `without` says why no model decided, where that was so; None: a model decided all. `challenged`
    is how many of them a canary's challenger decided, None where there is no canary. `asked` is
    what the champion was given and said, of the rows that it was asked about.
    """

    block: str
    model: Model
    rows: list[int]
    scores: npt.NDArray[np.float64]
    decisions: npt.NDArray[np.object_]
    without: npt.NDArray[np.object_] | None = None
    challenged: int | None = None
    asked: Scored | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """Rows that were given reasons, and the seconds that took."""

    rows: int = 0
    seconds: float = 0.0

    def __add__(self, other: Explained) -> Explained:
        return Explained(self.rows + other.rows, self.seconds + other.seconds)


NOTHING = Explained()


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of every row of a batch: exactly one of enriched, rejected, dropped.

    `enriched` maps row to the output value (None passes a tombstone on), `decisions` maps row to
    the values of its decision records, one a block, `decided` maps row to the first block's
    decision. `unknown` has the rows, rejected here, whose schema key is in no contract known so
    far: who can ask for it, should.
    `decoded` is None where no model was asked. `opinions` has one a block, or more where parts
    were decided apart; `ages` are the seconds of events, where they have a limit. `explained`: the
    reasons of all blocks. `added` has the headers that an enriched row gets behind its own.
    """

    batch: Batch
    enriched: dict[int, bytes | None]
    rejected: dict[int, Rejection]
    dropped: frozenset[int]
    decisions: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    decided: dict[int, str] = field(default_factory=dict)
    unknown: dict[SchemaKey, list[int]] = field(default_factory=dict)
    decoded: DecodedRows | None = None
    opinions: tuple[Opinion, ...] = ()
    ages: npt.NDArray[np.float64] | None = None
    explained: Explained = NOTHING
    added: dict[int, list[Header]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counted = len(self.enriched) + len(self.rejected) + len(self.dropped)
        if counted != len(self.batch) or self.enriched.keys() & self.rejected.keys():
            raise AssertionError(
                f"{len(self.batch)} rows in; {len(self.enriched)} enriched, "
                f"{len(self.rejected)} rejected, {len(self.dropped)} dropped"
            )
