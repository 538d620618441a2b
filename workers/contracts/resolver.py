"""Follows contracts while a worker runs: new versions, unknown ids, a registry that comes and goes.

A worker asks and goes on; one thread does the waiting. What is known stays known: a registry that
is down, stale, or that changed its mind takes nothing away.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workers.contracts.cache import DiskCache
from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.framing import SchemaKey
from workers.contracts.known import KnownState, shown
from workers.contracts.notes import ContractEvent, HealthState, Note, NotesState, unnoted
from workers.contracts.questions import Denial, Pace, QuestionsState
from workers.contracts.sources import Source
from workers.errors import ContractError, Retry

START_TRIES = 3
CLOSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A catalogue and how many there were before it."""

    catalogue: Catalogue
    revision: int


class Resolver:
    """Contracts that follow their source.

    After `start`, every method returns at once and raises nothing; they may be called from any
    thread.
    """

    def __init__(
        self,
        source: Source,
        subjects: Sequence[str],
        *,
        pace: Pace | None = None,
        cache: DiskCache | None = None,
        note: Note = unnoted,
    ) -> None:
        self._source = source
        self._subjects = tuple(dict.fromkeys(subjects))
        self._pace = pace or Pace()
        self._cache = cache
        self._notes = NotesState(note)
        self._health = HealthState(source.name, self._pace, self._notes)
        self._known = KnownState(self._subjects)
        self._snapshot = Snapshot(Catalogue(), 0)
        self._lock = threading.Lock()
        self._questions = QuestionsState()
        self._refresh_at = 0.0
        self._refreshed_last = True
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def catalogue(self) -> Catalogue:
        """The newest."""
        return self._snapshot.catalogue

    @property
    def revision(self) -> int:
        """Grows with each new catalogue."""
        return self._snapshot.revision

    @property
    def snapshot(self) -> Snapshot:
        """Catalogue and revision of one moment."""
        return self._snapshot

    @property
    def unwell(self) -> str | None:
        """What is wrong with the source, while it is."""
        return self._health.fault

    def start(self) -> None:
        """Fill the catalogue from the source, and from the cache where the source is unwell.

        Blocks for the source's answers; then a thread takes over.

        Raises:
            ContractError: a subject is in neither, or cache and source contradict each other.
        """
        try:
            for subject in self._subjects:
                self._begin(subject)
        except ContractError:
            self._source.close()
            raise
        self._publish()
        now = self._pace.monotonic()
        self._refresh_at = now + (
            self._health.backoff if self._health.fault else self._after_refresh()
        )
        self._thread = threading.Thread(target=self._run, name="contracts", daemon=True)
        self._thread.start()

    def ask(self, keys: Iterable[SchemaKey]) -> None:
        """Look these up, each once however often it is asked for."""
        now = self._pace.monotonic()
        asked = False
        with self._lock:
            for key in keys:
                if not self._is_settled(key, now):
                    asked = True
                    self._questions.ask(key, now)
        if asked:
            self._wake.set()

    def settled(self, key: SchemaKey) -> bool:
        """Is it in the catalogue, or denied so often and so lately that it counts as unknown?"""
        with self._lock:
            return self._is_settled(key, self._pace.monotonic())

    def why(self, key: SchemaKey) -> str:
        """How it stands with a key, for people."""
        with self._lock:
            found = self.catalogue.find(key)
            if found is not None:
                return f"id {shown(key)} is {found}"
            if self._questions.holds(key, self._pace.monotonic(), self._pace.unknown_for):
                return self._questions.denied[key].reason
            if self._health.fault is not None:
                return f"id {shown(key)} is not known, and {self._health.fault}"
            question = self._questions.open.get(key)
            if question is not None and question.denials:
                return f"{self._source.name} denied id {shown(key)} once and is asked again"
            return f"id {shown(key)} is being looked up"

    def close(self) -> None:
        """End the thread and the request under way."""
        self._closed.set()
        self._wake.set()
        self._source.close()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _is_settled(self, key: SchemaKey, now: float) -> bool:
        return self.catalogue.find(key) is not None or self._questions.holds(
            key, now, self._pace.unknown_for
        )

    # At the start.

    def _begin(self, subject: str) -> None:
        kept, warnings = self._cache.read(subject) if self._cache else ([], [])
        for warning in warnings:
            self._notes.once(ContractEvent.CACHE, warning)
        _, contradictions = self._known.take(kept)
        found: Sequence[Registered] = ()
        # An unwell source is not asked again for what the cache has: each try may take long.
        if self._health.fault is None or not kept:
            found = self._first_versions(subject, tries=1 if kept else START_TRIES)
        self._note_faults()
        new, conflicts = self._known.take(found)
        if conflicts or contradictions:
            raise ContractError(self._contradiction([*conflicts, *contradictions]))
        if not found and self._health.fault is None and kept:
            self._notes.once(ContractEvent.MISSING, f"{self._source.name} has no {subject}")
        self._keep(new)
        if not self._known.has(subject):
            raise ContractError(self._nowhere(subject))

    def _first_versions(self, subject: str, tries: int) -> Sequence[Registered]:
        for attempt in range(tries):
            try:
                found = self._source.versions(subject)
            except Retry as error:
                self._health.unwell(str(error))
                if attempt + 1 < tries:
                    self._closed.wait(self._health.backoff)
            else:
                self._health.well()
                return found
        return ()

    def _contradiction(self, conflicts: list[str]) -> str:
        folder = self._cache.folder if self._cache else "the cache"
        return (
            f"{self._source.name}: {'; '.join(conflicts)}. Ids and versions never change: records "
            f"were written under the old ones. If the registry was set up anew on purpose, remove "
            f"{folder}"
        )

    def _nowhere(self, subject: str) -> str:
        tried = self._health.fault or f"{self._source.name} has no usable version of it"
        kept = f"; nothing is kept of it in {self._cache.folder}" if self._cache else ""
        return (
            f"{subject}: {tried}{kept}. Register it (`workers contracts register`), or start again "
            "when the registry answers"
        )

    # On the thread.

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(self._step())
            self._wake.clear()

    def _step(self) -> float:
        """Do what is due; seconds until something is."""
        now = self._pace.monotonic()
        if (pause := self._health.pause(now)) > 0:
            return pause
        with self._lock:
            key = self._questions.due(now)
            next_due = self._questions.next_due()
        if key is None and now < self._refresh_at:
            return min(self._refresh_at, next_due or self._refresh_at) - now
        try:
            # By turns: a flood of unknown ids must not keep new versions from being seen.
            if key is None or (now >= self._refresh_at and not self._refreshed_last):
                self._refreshed_last = True
                self._refresh()
            else:
                self._refreshed_last = False
                self._look_up(key)
        except Retry as error:
            if not self._closed.is_set():
                self._health.unwell(str(error))
        except Exception as error:  # noqa: BLE001  a dead thread would make partitions wait for ever
            self._health.unwell(f"{self._source.name}: unexpected {type(error).__name__}")
        else:
            self._health.well()
        return 0.0

    def _refresh(self) -> None:
        self._accept(self._versions())
        self._refresh_at = self._pace.monotonic() + self._after_refresh()

    def _after_refresh(self) -> float:
        return self._pace.refresh * (0.9 + 0.2 * self._pace.chance())

    def _versions(self) -> list[Registered]:
        found: list[Registered] = []
        for subject in self._subjects:
            versions = self._source.versions(subject)
            if not versions:
                self._notes.once(ContractEvent.MISSING, f"{self._source.name} has no {subject}")
            found += versions
        return found

    def _look_up(self, key: SchemaKey) -> None:
        try:
            found = list(self._source.lookup(key))
        except ContractError as error:
            self._deny(key, f"id {shown(key)} cannot be used: {error}")
            return
        if not found:
            self._denied_once(key)
            return
        if any(entry.subject in self._subjects for entry in found):
            # What is derived from a new input was released with it: both come at once.
            found += self._versions()
        self._accept(found)
        if self.catalogue.find(key) is None:
            self._deny(key, f"id {shown(key)} contradicts what is known of its subject")
        with self._lock:
            self._questions.open.pop(key, None)

    def _denied_once(self, key: SchemaKey) -> None:
        with self._lock:
            question = self._questions.open.get(key)
            denials = 1 + (question.denials if question else 0)
            if denials < self._source.confirmations:
                self._questions.again(key, self._pace.monotonic() + self._pace.confirm_after)
                return
        self._deny(key, f"{self._source.name} has no schema with id {shown(key)}")

    def _deny(self, key: SchemaKey, reason: str) -> None:
        until = self._pace.monotonic() + self._pace.unknown_for
        with self._lock:
            self._questions.deny(key, Denial(until, reason))
        self._notes.tell(ContractEvent.DENIED, id=shown(key), reason=reason)

    def _accept(self, entries: Iterable[Registered]) -> None:
        new, conflicts = self._known.take(entries)
        for conflict in conflicts:
            self._notes.once(
                ContractEvent.CHANGED, f"{self._source.name}: {conflict}; the known one stays"
            )
        self._note_faults()
        if new:
            self._publish()
            self._notes.tell(ContractEvent.FOUND, versions=[str(entry) for entry in new])
            self._keep(new)

    def _note_faults(self) -> None:
        for fault in self._source.faults():
            self._notes.once(ContractEvent.UNUSABLE, fault)

    def _publish(self) -> None:
        self._snapshot = Snapshot(self._known.catalogue(), self._snapshot.revision + 1)

    def _keep(self, entries: Iterable[Registered]) -> None:
        own = [entry for entry in entries if entry.subject in self._subjects]
        if self._cache is not None and own and (warning := self._cache.write(own)) is not None:
            self._notes.once(ContractEvent.CACHE, warning)
