"""What a resolver says, and how its source is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from enum import StrEnum

from workers.contracts.questions import Pace

MAX_ONCE = 1000


class ContractEvent(StrEnum):
    """Every event name a resolver notes."""

    UNWELL = "contracts.unwell"
    RECOVERED = "contracts.recovered"
    FOUND = "contracts.versions_found"
    DENIED = "contracts.id_denied"
    CHANGED = "contracts.content_changed"
    UNUSABLE = "contracts.version_unusable"
    MISSING = "contracts.subject_missing"
    CACHE = "contracts.cache_unwell"


Note = Callable[[ContractEvent, Mapping[str, object]], None]
"""Told of events, mostly from the resolver's thread. CHANGED is an error, FOUND and RECOVERED are
information, the others warnings."""


def unnoted(event: ContractEvent, fields: Mapping[str, object]) -> None:
    """Nobody is told."""


class NotesState:
    """Tells of events; of some only once."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._said: set[tuple[ContractEvent, str]] = set()

    def tell(self, event: ContractEvent, **fields: object) -> None:
        """Tell. A listener that fails must not end the resolver's thread."""
        with contextlib.suppress(Exception):
            self._note(event, fields)

    def once(self, event: ContractEvent, reason: str) -> None:
        """Tell, unless it was told before."""
        if (event, reason) not in self._said and len(self._said) < MAX_ONCE:
            self._said.add((event, reason))
            self.tell(event, reason=reason)


class HealthState:
    """Is the source well, and if not, when is it tried again?"""

    def __init__(self, name: str, pace: Pace, notes: NotesState) -> None:
        self._name = name
        self._pace = pace
        self._notes = notes
        self.fault: str | None = None
        self.backoff = pace.backoff
        self._not_before = 0.0

    def unwell(self, fault: str) -> None:
        """It does not answer."""
        if self.fault is None:
            self._notes.tell(ContractEvent.UNWELL, reason=fault)
        self.fault = fault
        jitter = 0.5 + self._pace.chance()
        self._not_before = self._pace.monotonic() + self.backoff * jitter
        self.backoff = min(2 * self.backoff, self._pace.backoff_max)

    def well(self) -> None:
        """It answered."""
        if self.fault is not None:
            self._notes.tell(ContractEvent.RECOVERED, source=self._name)
        self.fault = None
        self.backoff = self._pace.backoff

    def pause(self, now: float) -> float:
        """Seconds until it may be asked; none where it is well."""
        return 0.0 if self.fault is None else max(0.0, self._not_before - now)
