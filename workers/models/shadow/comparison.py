"""Champion beside challenger, row by row: what is counted, and the records that say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workers.contracts.codec import BlockEncoder
from workers.contracts.comparison import comparison_schema
from workers.models.shadow.challenger import Challenger
from workers.models.shadow.counts import CountsState, Fault
from workers.models.shadow.frames import State
from workers.models.shadow.offer import Asked
from workers.models.shadow.process import Answers, ChildFailed

Comparison = tuple[bytes | None, bytes, int]
"""Key and value of a record, and its timestamp in milliseconds."""
_FAULTS = pa.array([None, Fault.FEATURES.value, Fault.NAN.value])
"""By `State`."""


class Publisher(Protocol):
    """Takes comparisons; called from the shadow's thread alone."""

    def publish(self, comparisons: Sequence[Comparison]) -> None:
        """Hand them to the client, which may lose them; never waits, never raises."""
        ...

    def close(self) -> None:
        """Send what can be sent within a moment."""
        ...


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the challenger made of rows: one entry a row, null in `decision` where it failed."""

    scores: npt.NDArray[np.float64]
    decision: pa.Array
    failure: pa.Array


def opinion(answers: Answers, challenger: Challenger) -> Opinion:
    """Hold what the process says to what a challenger can say.

    Raises:
        ChildFailed: an entry is not in its range.
    """
    decisions, (low, high) = challenger.decisions, challenger.bundle.manifest.score_range
    states, bands = answers["state"], answers["band"]
    if np.any(states > max(State)) or np.any((bands < 0) | (bands >= len(decisions))):
        raise ChildFailed(Fault.GARBAGE, "a state or band that there is not")
    scores = answers["score"]
    good = (states == State.SCORED) & (scores >= low) & (scores <= high)
    states = np.where((states == State.SCORED) & ~good, State.FAILED, states)
    picked = pc.take(pa.array(decisions, pa.string()), pa.array(bands, mask=~good))
    return Opinion(np.where(good, scores, np.nan), picked, pc.take(_FAULTS, pa.array(states)))


def failed(fault: Fault, rows: int) -> Opinion:
    """Of rows that cost it its process."""
    nothing = pa.nulls(rows, pa.string())
    return Opinion(np.full(rows, np.nan), nothing, pa.repeat(fault.value, rows))


def count(counts: CountsState, asked: Asked, made: Opinion) -> None:
    """Add rows up."""
    failures = pc.value_counts(made.failure.drop_null()).to_pylist()
    counts.failed.update({entry["values"]: entry["counts"] for entry in failures})
    agrees = pc.equal(made.decision, asked.decided)
    counts.compared += len(agrees) - agrees.null_count
    counts.disagreed += len(agrees) - agrees.null_count - agrees.true_count
    difference = np.abs(asked.scores - made.scores)
    difference = difference[~np.isnan(difference)]
    if len(difference):
        counts.differing += len(difference)
        counts.difference_sum += float(difference.sum())
        counts.difference_max = max(counts.difference_max, float(difference.max()))


class Recorder:
    """Makes the records of one worker's comparisons."""

    def __init__(self, prefix: bytes) -> None:
        """`prefix` frames each of them: `Registered.frame` of their contract."""
        self._prefix = prefix
        self._block = BlockEncoder(comparison_schema())

    def records(self, asked: Asked, challenger: Challenger, made: Opinion) -> list[Comparison]:
        """One a row, in their order."""
        columns: dict[str, Any] = {
            "decision_id": asked.ids,
            "model": pa.repeat(challenger.bundle.manifest.name, len(asked)),
            "champion": _side(asked.champion, asked.scores, asked.decided),
            "challenger": _side(challenger.version, made.scores, made.decision),
            "agrees": pc.equal(made.decision, asked.decided),
            "failure": made.failure,
            "event_at": asked.stamps,
        }
        prefix = self._prefix
        values = [prefix + datum for datum in self._block.encode(columns, len(asked))]
        return list(zip(asked.keys, values, asked.stamps, strict=True))


def _side(version: str, scores: npt.NDArray[np.float64], decision: pa.Array) -> pa.StructArray:
    score = pa.array(scores, mask=np.isnan(scores))
    parts = [pa.repeat(version, len(score)), score, decision]
    fields = [
        pa.field("version", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("decision", pa.string()),
    ]
    return pa.StructArray.from_arrays(parts, fields=fields)
