"""What a resolver knows: only ever more."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import replace

from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.framing import SchemaKey

MAX_OTHERS = 1000
"""Schemas of other people's subjects that are held, so that records of them can be named."""


class KnownState:
    """Versions that were seen. None is ever dropped or changed, whatever a registry says later."""

    def __init__(self, subjects: Collection[str]) -> None:
        self._subjects = frozenset(subjects)
        self._own: dict[tuple[str, int], Registered] = {}
        self._others: OrderedDict[tuple[str, int], Registered] = OrderedDict()

    def take(self, entries: Iterable[Registered]) -> tuple[list[Registered], list[str]]:
        """Take what is new; gives it, and what was refused because it contradicts what is known."""
        new: list[Registered] = []
        conflicts: list[str] = []
        by_key = {key: entry for entry in self._all() for key in entry.keys}
        for entry in entries:
            place = (entry.subject, entry.version)
            held = self._own if entry.subject in self._subjects else self._others
            known = held.get(place)
            if (conflict := _conflict(entry, known, by_key)) is not None:
                conflicts.append(conflict)
                continue
            merged = entry if known is None else _merged(known, entry)
            if merged != known:
                held[place] = merged
                by_key |= dict.fromkeys(merged.keys, merged)
                new.append(merged)
        while len(self._others) > MAX_OTHERS:
            self._others.popitem(last=False)
        return new, conflicts

    def has(self, subject: str) -> bool:
        """Is any version of a subject known?"""
        return any(name == subject for name, _ in self._own)

    def catalogue(self) -> Catalogue:
        """All of it. Where an id stands under several subjects, ours name it."""
        return Catalogue(self._all())

    def _all(self) -> list[Registered]:
        return [*self._own.values(), *self._others.values()]


def _conflict(
    entry: Registered, known: Registered | None, by_key: dict[SchemaKey, Registered]
) -> str | None:
    if known is not None:
        if known.schema.fingerprint != entry.schema.fingerprint:
            return f"{entry} is another schema than it was before"
        if None not in (known.id, entry.id) and known.id != entry.id:
            return f"{entry} had id {known.id} before, and now has {entry.id}"
    for key in entry.keys:
        other = by_key.get(key)
        if other is not None and other.schema.fingerprint != entry.schema.fingerprint:
            return (
                f"id {shown(key)} is {entry} now, and was {other} before, which is another schema"
            )
    return None


def _merged(known: Registered, entry: Registered) -> Registered:
    if (known.id is None and entry.id is not None) or (known.guid is None and entry.guid):
        return replace(known, id=known.id or entry.id, guid=known.guid or entry.guid)
    return known


def shown(key: SchemaKey) -> str:
    """A key for messages."""
    return str(key) if isinstance(key, int) else key.hex()
