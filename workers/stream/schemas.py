"""Schemas that records need and the worker has not got yet: their partitions wait, no others.

Nothing here blocks: the resolver's own thread asks. An id is believed to be unknown only when the
registry answered so; while it does not answer, the record is neither enriched nor dead-lettered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import SchemaKey
from workers.contracts.notes import ContractEvent
from workers.contracts.resolver import Resolver
from workers.enrich.batch import Batch, Outcomes
from workers.errors import Halt
from workers.stream.journal import Event, Journal
from workers.stream.snapshot import Pause, PauseKind
from workers.stream.source import Source


class Schemas:
    """What a loop does about schemas, between its batches."""

    def __init__(
        self,
        resolver: Resolver,
        rebind: Callable[[Catalogue], None],
        source: Source,
        journal: Journal,
    ) -> None:
        """`rebind` makes the path go on with a catalogue, or raises a Halt and changes nothing."""
        self._resolver = resolver
        self._rebind = rebind
        self._source = source
        self._journal = journal
        self._revision = 0
        self._bound = Catalogue()
        self._refused: str | None = None
        self._waiting: dict[int, frozenset[SchemaKey]] = {}

    def take(self) -> None:
        """Go on with the newest contracts."""
        snapshot = self._resolver.snapshot
        if snapshot.revision == self._revision:
            return
        self._revision = snapshot.revision
        try:
            self._rebind(snapshot.catalogue)
        except Halt as halt:
            # A contract that does not fit never replaces ones that work.
            self._refused = str(halt)
            self._journal.error(Event.CONTRACTS_REFUSED, why=str(halt))
        else:
            self._refused = None
            self._bound = snapshot.catalogue
            versions = [str(entry) for entry in self._bound]
            self._journal.info(Event.CONTRACTS_TAKEN, versions=versions)

    def hold(self, outcomes: Outcomes) -> Batch | None:
        """Stop reading partitions with records of schemas that are being looked up.

        Returns what may go on: rows of other partitions, and rows before the first such record.
        None where that is all of them.
        """
        asked = [key for key in outcomes.unknown if not self._answered(key)]
        if not asked:
            return None
        self._resolver.ask(asked)
        batch = outcomes.batch
        first: dict[int, int] = {}
        needed: dict[int, set[SchemaKey]] = {}
        for key in asked:
            for row in outcomes.unknown[key]:
                partition = batch.partitions[row]
                first[partition] = min(row, first.get(partition, row))
                needed.setdefault(partition, set()).add(key)
        for partition, keys in needed.items():
            self._waiting[partition] = frozenset(keys)
            self._source.hold(partition, batch.offsets[first[partition]], self._pause(keys))
        rows = enumerate(batch.partitions)
        return batch.select([row for row, p in rows if row < first.get(p, len(batch))])

    def release(self) -> None:
        """Read partitions again whose schemas are known by now, or denied.

        Raises:
            Retry: a partition cannot be moved now.
        """
        for partition, keys in list(self._waiting.items()):
            if not self._source.still_held(partition, self._pause(keys)):
                del self._waiting[partition]
                continue
            asked = [key for key in keys if not self._answered(key)]
            if asked:
                # A denial ends after a while: what was answered once may be a question again.
                self._resolver.ask(asked)
            else:
                del self._waiting[partition]
                self._source.release(partition)

    def close(self) -> None:
        """Nobody asks any more."""
        self._resolver.close()

    def _answered(self, key: SchemaKey) -> bool:
        """Does the path know it, or is it denied? What only the resolver knows is no answer yet."""
        if self._bound.find(key) is not None:
            return True
        return self._resolver.settled(key) and self._resolver.catalogue.find(key) is None

    @property
    def known(self) -> tuple[tuple[str, ...], str | None]:
        """The contracts in use; and why newer ones are not, if so."""
        return tuple(str(entry) for entry in self._bound), self._refused

    def _pause(self, keys: Iterable[SchemaKey]) -> Pause:
        return Pause(PauseKind.SCHEMA, self._why(keys))

    def _why(self, keys: Iterable[SchemaKey]) -> str:
        found = sorted(self._resolver.why(key) for key in list(keys)[:3])
        refused = [f"newer contracts do not fit: {self._refused}"] if self._refused else []
        return "; ".join([*found, *refused])


_LEVELS = {
    ContractEvent.CHANGED: Journal.error,
    ContractEvent.FOUND: Journal.info,
    ContractEvent.RECOVERED: Journal.info,
}


def noted(journal: Journal) -> Callable[[ContractEvent, Mapping[str, object]], None]:
    """What a resolver tells, as log lines."""

    def note(event: ContractEvent, fields: Mapping[str, object]) -> None:
        _LEVELS.get(event, Journal.warn)(journal, event, **fields)

    return note
