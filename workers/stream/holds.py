"""The parts that hold rows back, as one; in which order they are asked is written here alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from workers.enrich.batch import Batch, Outcomes
from workers.stream.breaker import Breaker
from workers.stream.pausing import Pauses
from workers.stream.retries import Waiting
from workers.stream.schemas import Schemas
from workers.stream.sequence import KeyOrder


class _Holding(Protocol):
    def release(self) -> None:
        """Read partitions again that need not be held any more. Raises Retry."""


class _Unscored(Protocol):
    def hold(self, batch: Batch) -> Batch:
        """Hold partitions by their records; what may go on."""


class _Scored(Protocol):
    def hold(self, outcomes: Outcomes) -> Batch | None:
        """Hold partitions by what became of their records; what may go on, None: all of it."""


class Holds:
    """What a loop asks between its batches and about each of them. One thread calls it."""

    def __init__(
        self,
        *,
        schemas: Schemas,
        breaker: Breaker,
        pauses: Pauses,
        waiting: Waiting | None = None,
        order: KeyOrder | None = None,
    ) -> None:
        """`waiting` is there where a retry topic is read, `order` where that of keys is kept."""
        self.schemas = schemas
        self.order = order
        due = () if waiting is None else (waiting,)
        keys = () if order is None else (order,)
        self._breaker = breaker
        # Newer contracts answer what a partition waits for. The order of keys reads topics first:
        # a broker that does not answer keeps nothing else from going on.
        self._holding: tuple[_Holding, ...] = (schemas, breaker, *due, pauses, *keys)
        # What somebody paused is held as that, whatever its records wait for.
        self._unscored: tuple[_Unscored, ...] = (pauses, *due)
        # The breaker last: it takes note of rows, and one that is held behind it would come again
        # and be noted twice.
        self._scored: tuple[_Scored, ...] = (*keys, breaker)

    def release(self) -> None:
        """Go on with the newest contracts, and with partitions that nothing holds any more.

        Raises:
            Retry: the broker does not answer, or a partition cannot be moved now.
        """
        self.schemas.take()
        for part in self._holding:
            part.release()

    def due(self, batch: Batch) -> Batch:
        """The rows that may be scored now."""
        for part in self._unscored:
            batch = part.hold(batch)
        return batch

    def current(self, epoch: int) -> bool:
        """Is every failure known that the order of keys must know of?

        Raises:
            Retry: the broker does not answer.
        """
        return self.order is None or self.order.current(epoch)

    def outcomes(
        self,
        batch: Batch,
        enrich: Callable[[Batch], Outcomes],
        judge: Callable[[Outcomes], Outcomes],
    ) -> Outcomes:
        """The outcomes of the rows that go on; `judge` adds what is not in the record itself.

        A schema that is being looked up comes before any judgement: its rows are no dead letters
        yet, which nothing else must see as such.
        """
        outcomes = enrich(batch)
        if (rest := self.schemas.hold(outcomes)) is not None:
            outcomes = enrich(rest)
        outcomes = self._parked(judge(outcomes))
        for part in self._scored:
            if (rest := part.hold(outcomes)) is not None:
                outcomes = self._parked(judge(enrich(rest)))
        return outcomes

    def _parked(self, outcomes: Outcomes) -> Outcomes:
        return outcomes if self.order is None else self.order.parked(outcomes)

    def published(self, outcomes: Outcomes) -> None:
        """These outcomes are on their way to the broker."""
        if self.order is not None:
            self.order.published(outcomes)

    def rewound(self) -> None:
        """Rows will come again."""
        self._breaker.rewound()
        if self.order is not None:
            self.order.rewound()
