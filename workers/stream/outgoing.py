"""From outcomes to the records that are produced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from workers.contracts.framing import HEADER
from workers.enrich.batch import Batch, Outcomes, Rejection
from workers.errors import Code, Reject
from workers.stream.deadletters import Origin, dead_letter
from workers.stream.records import Record, header_bytes
from workers.stream.retries import RETRY_BYTES, attempts_before, passing, restored, retry_record
from workers.topology import HeaderPolicy, Partitioning, Shape, Worker


def held_to_size(outcomes: Outcomes, limit: int) -> Outcomes:
    """The outcomes, with an enriched event over `limit` bytes, headers too, made a rejection.

    So is one whose decision record would be: an event without its decision is not published.
    """
    batch = outcomes.batch
    keys, headers, values = batch.keys, batch.headers, outcomes.enriched
    longest = max(map(len, filter(None, values.values())), default=0)
    decision = max((len(b) for blocks in outcomes.decisions.values() for b in blocks), default=0)
    key_most = max(map(len, filter(None, keys)), default=0)
    most = max(longest, decision) + key_most
    added = outcomes.added
    if most <= limit and not added and not any(headers):
        # One look at the batch instead of one a record.
        return outcomes
    reject = {}
    for row, value in values.items():
        key = len(keys[row] or b"")
        extra = header_bytes(headers[row]) + header_bytes(added.get(row))
        if len(value or b"") + key + extra > limit:
            reject[row] = _too_large("enriched event", limit)
        elif decision + key_most > limit and _decision_bytes(outcomes, row) + key > limit:
            reject[row] = _too_large("decision record", limit)
    return refused(outcomes, reject) if reject else outcomes


def _decision_bytes(outcomes: Outcomes, row: int) -> int:
    return max(map(len, outcomes.decisions.get(row, ())), default=0)


def _too_large(what: str, limit: int) -> Reject:
    text = f"the {what} would be over output.max_message_bytes {limit}"
    return Reject(Code.OUTPUT_TOO_LARGE, text)


def refused(outcomes: Outcomes, rows: dict[int, Reject], stage: str = "output") -> Outcomes:
    """The outcomes, with these enriched rows turned into rejections."""
    rejected = {row: Rejection(reject, stage) for row, reject in rows.items()}
    return replace(
        outcomes,
        enriched={row: v for row, v in outcomes.enriched.items() if row not in rows},
        decisions={row: v for row, v in outcomes.decisions.items() if row not in rows},
        decided={row: v for row, v in outcomes.decided.items() if row not in rows},
        rejected={**outcomes.rejected, **rejected},
        added={row: v for row, v in outcomes.added.items() if row not in rows},
    )


class Outgoing:
    """Turns the outcomes of one worker's batches into records."""

    def __init__(self, worker: Worker, origin: Origin) -> None:
        """`worker` names the topics, `origin` signs the dead letters."""
        self._output = worker.output.topic
        self._decisions = worker.decisions.topic if worker.decisions else None
        self._same = worker.output.partitioning is Partitioning.SAME
        self._pass = worker.headers is HeaderPolicy.KEEP
        self._beside = worker.output.shape is Shape.HEADERS
        self._origin = origin
        self._later = worker.retry_topic
        self._tier = worker.tier

    def later(self, outcomes: Outcomes) -> list[int]:
        """Rejected rows that are tried again by way of a topic: no dead letters yet."""
        if self._later is None or not outcomes.rejected:
            return []
        # One that would be too large with our headers is a dead letter, which can be cut down.
        return [row for row in passing(outcomes) if self._fits(outcomes.batch, row)]

    def _fits(self, batch: Batch, row: int) -> bool:
        size = len(batch.keys[row] or b"") + len(batch.values[row] or b"")
        return size + header_bytes(batch.headers[row]) + RETRY_BYTES <= self._origin.limit

    def records(self, outcomes: Outcomes, attempts: int) -> Iterator[Record]:
        """Every record of the outcomes. Within a topic in the order of the batch, which is the
        order of every partition and so of every key.
        """
        batch, topic, same = self._as_it_came(outcomes.batch), self._output, self._same
        keys, stamps, partitions = batch.keys, batch.timestamps, batch.partitions
        headers = batch.headers
        # The outcomes were made schema by schema; sorting what is nearly sorted costs little.
        for row, value in sorted(outcomes.enriched.items()):
            kept = headers[row]
            if self._beside:
                kept = [*(kept or ()), *outcomes.added.get(row, ())]
            elif kept:
                kept = [h for h in kept if h[0] != HEADER] if self._pass else None
            yield topic, keys[row], value, kept, stamps[row][1], partitions[row] if same else -1
        if self._decisions is not None:
            for row, values in sorted(outcomes.decisions.items()):
                for block in values:
                    yield self._decisions, keys[row], block, None, stamps[row][1], -1
        if outcomes.rejected:
            yield from self._rejected(outcomes, batch, attempts)

    def _rejected(self, outcomes: Outcomes, batch: Batch, attempts: int) -> Iterator[Record]:
        """Rejected rows: what is tried again, and dead letters."""
        later = frozenset(self.later(outcomes))
        for row, rejection in sorted(outcomes.rejected.items()):
            tried = attempts + attempts_before(outcomes.batch, row, self._tier)
            if row in later and self._later is not None:
                yield retry_record(self._later, batch, row, tried)
            else:
                yield dead_letter(self._origin, batch, row, rejection, tried)

    def _as_it_came(self, batch: Batch) -> Batch:
        return batch if self._tier is None else restored(batch, self._tier)
