"""An operator's pause: partitions that are not read because somebody said so.

The member stays in the group and keeps what is assigned to it; what is under way is finished. The
word comes with the model's document, which every replica looks at, so it reaches all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from workers.enrich.batch import Batch
from workers.models.aliases import WorkerPause
from workers.stream.journal import Event, Journal
from workers.stream.snapshot import Pause, PauseKind
from workers.stream.source import Source


class Pauses:
    """What a loop does about an operator's pause, between its batches."""

    def __init__(
        self, find: Callable[[], WorkerPause | None], source: Source, journal: Journal
    ) -> None:
        """`find` gives what was said last; None: nothing is paused."""
        self._find = find
        self._source = source
        self._journal = journal
        self._said: WorkerPause | None = None
        self._held: set[int] = set()

    @property
    def why(self) -> str | None:
        """Who paused what, when and why, while somebody has."""
        return None if self._said is None else str(self._said)

    def take(self) -> None:
        """Go by the newest word; read on where the pause is over.

        Raises:
            Retry: a partition cannot be moved now.
        """
        found = self._find()
        if found != self._said:
            self._said = found
            if found is None:
                self._journal.info(Event.RESUMED)
            else:
                self._journal.warn(Event.PAUSED, why=str(found))
        for partition in sorted(self._held):
            pause = self._pause(partition)
            if not self._source.still_held(partition, pause or _OVER):
                self._held.discard(partition)
            elif pause is None:
                self._held.discard(partition)
                self._source.release(partition)

    def hold(self, batch: Batch) -> Batch:
        """The rows that may be done; a paused partition is held from its first row on.

        Only a row shows that there is something not to be done: a quiet partition goes on being
        asked for records, and a new one needs no place to be held at.
        """
        if self._said is None:
            return batch
        first: dict[int, int] = {}
        for partition, offset in zip(batch.partitions, batch.offsets, strict=True):
            if partition not in first and (pause := self._pause(partition)) is not None:
                first[partition] = offset
                self._held.add(partition)
                self._source.hold(partition, offset, pause)
        if not first:
            return batch
        return batch.select([row for row, p in enumerate(batch.partitions) if p not in first])

    def of(self, partitions: Collection[int]) -> dict[int, Pause]:
        """Those that are paused, whether or not a record has come since."""
        found = {partition: self._pause(partition) for partition in partitions}
        return {partition: pause for partition, pause in found.items() if pause is not None}

    def _pause(self, partition: int) -> Pause | None:
        if self._said is None or not self._said.covers(partition):
            return None
        return Pause(PauseKind.OPERATOR, str(self._said))


_OVER = Pause(PauseKind.OPERATOR, "")
