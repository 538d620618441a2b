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
from workers.models.shadow.offer import Offer
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


def count(counts: CountsState, offer: Offer, places: list[int], made: Opinion) -> None:
    """Add rows up."""
    failures = pc.value_counts(made.failure.drop_null()).to_pylist()
    counts.failed.update({entry["values"]: entry["counts"] for entry in failures})
    agrees = pc.equal(made.decision, pa.array(_decided(offer, places), pa.string()))
    counts.compared += len(agrees) - agrees.null_count
    counts.disagreed += len(agrees) - agrees.null_count - agrees.true_count
    difference = np.abs(offer.scores[places] - made.scores)
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

    def records(
        self, offer: Offer, places: list[int], challenger: Challenger, made: Opinion
    ) -> list[Comparison]:
        """One for each of the places, in their order."""
        decided = pa.array(_decided(offer, places), pa.string())
        columns: dict[str, Any] = {
            "decision_id": offer.ids(places),
            "model": pa.repeat(challenger.bundle.manifest.name, len(places)),
            "champion": _side(offer.champion, offer.scores[places], decided),
            "challenger": _side(challenger.version, made.scores, made.decision),
            "agrees": pc.equal(made.decision, decided),
            "failure": made.failure,
            "event_at": [offer.timestamps[offer.rows[place]][1] for place in places],
        }
        datums = self._block.encode(columns, len(places))
        keys, rows, prefix = offer.keys, offer.rows, self._prefix
        stamps = columns["event_at"]
        return [
            (keys[rows[place]], prefix + datum, stamp)
            for place, datum, stamp in zip(places, datums, stamps, strict=True)
        ]


def _decided(offer: Offer, places: list[int]) -> list[str]:
    return [offer.decided[offer.rows[place]] for place in places]


def _side(version: str, scores: npt.NDArray[np.float64], decision: pa.Array) -> pa.StructArray:
    score = pa.array(scores, mask=np.isnan(scores))
    parts = [pa.repeat(version, len(score)), score, decision]
    fields = [
        pa.field("version", pa.string(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("decision", pa.string()),
    ]
    return pa.StructArray.from_arrays(parts, fields=fields)
