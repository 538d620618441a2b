"""Finding the record that the broker refuses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from workers.enrich.batch import Batch, Outcomes
from workers.errors import Reject
from workers.stream.outgoing import refused


@dataclass(slots=True)
class CautionState:
    """After a refused batch: smaller batches until the refused record in it is found and past.

    `until` holds where the refused batch ends, by partition; `left` how many of its rows are still
    to be settled. Each refusal halves, each success leaves half of the rest: a binary search.
    """

    largest: int
    limit: int
    until: dict[int, int] = field(default_factory=dict)
    left: int = 0
    refused: dict[tuple[int, int], Reject] = field(default_factory=dict)

    def narrow(self, batch: Batch) -> None:
        """The refused record is somewhere in `batch`."""
        self.until, self.left = batch.next_offsets(), len(batch)
        self.limit = max(1, self.left // 2)

    def passed(self, batch: Batch, readable: Collection[int]) -> None:
        """This batch is committed; `readable` are the partitions that are ours and not stopped."""
        if not self.until:
            return
        until = self.until
        rows = zip(batch.partitions, batch.offsets, strict=True)
        self.left -= sum(offset < until.get(partition, 0) for partition, offset in rows)
        ends = batch.next_offsets()
        self.until = {
            partition: end
            for partition, end in until.items()
            if ends.get(partition, 0) < end and partition in readable
        }
        self.limit = max(1, self.left // 2)
        if not self.until:
            self.end()

    def end(self) -> None:
        """Whole batches again."""
        self.until, self.refused, self.limit, self.left = {}, {}, self.largest, 0

    def apply(self, outcomes: Outcomes) -> Outcomes:
        """The outcomes, with the records known to be refused as rejections."""
        if not self.refused:
            return outcomes
        batch = outcomes.batch
        rows = {
            row: self.refused[batch.partitions[row], batch.offsets[row]]
            for row in outcomes.enriched
            if (batch.partitions[row], batch.offsets[row]) in self.refused
        }
        return refused(outcomes, rows) if rows else outcomes
