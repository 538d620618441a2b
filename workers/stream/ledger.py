"""What was done about dead letters: a topic of its own, written in the replay's transactions.

A dead letter is never changed and never written again. What happens to it stands here, under its
own place in the dead-letter topic, which the broker gave it: headers that somebody forged reach
neither the cap on attempts nor the guard against a second replay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from workers.enrich.batch import Batch
from workers.stream.letters import Letter
from workers.stream.records import Record


class Done(StrEnum):
    """What was done about a dead letter."""

    REPLAYED = "replayed"
    FAILED = "failed"
    RESOLVED = "resolved"
    REOPENED = "reopened"


class Entry(BaseModel):
    """One line of the ledger. `at` is milliseconds UTC, `result` names no content."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    v: int = 1
    done: Done
    partition: int
    offset: int
    origin: str | None
    at: int
    who: str
    why: str
    result: str = ""

    def record(self, topic: str) -> Record:
        """As it is written: the letter's place is the key, so that its history stays together."""
        key = f"{self.partition}:{self.offset}".encode()
        value = json.dumps(self.model_dump(mode="json"), separators=(",", ":")).encode()
        return (topic, key, value, None, self.at, -1)


def entry(letter: Letter, done: Done, at: int, by: tuple[str, str], result: str = "") -> Entry:
    """`by` is who and why."""
    return Entry(
        done=done,
        partition=letter.partition,
        offset=letter.offset,
        origin=None if letter.origin is None else str(letter.origin),
        at=at,
        who=by[0],
        why=by[1],
        result=result,
    )


@dataclass(slots=True)
class LedgerState:
    """The ledger read so far: the last word on each letter, and how often it was tried."""

    last: dict[str, Entry] = field(default_factory=dict)
    tried: dict[str, int] = field(default_factory=dict)
    replayed: set[str] = field(default_factory=set)
    """Origins that were replayed: of two letters of one record the first is."""
    history: dict[str, list[Entry]] = field(default_factory=dict)
    unreadable: int = 0

    def settled(self, letter: Letter) -> Done | None:
        """Is nothing left to do about it? What was done, if so."""
        found = self.last.get(letter.place)
        if found is not None and found.done in (Done.REPLAYED, Done.RESOLVED):
            return found.done
        twin = letter.origin is not None and str(letter.origin) in self.replayed
        return Done.REPLAYED if twin else None

    def attempts(self, letter: Letter) -> int:
        """How often a replay of it was tried."""
        return self.tried.get(letter.place, 0)

    def take(self, batch: Batch) -> None:
        """Read on; what is no entry is counted and passed over."""
        for value in batch.values:
            try:
                found = Entry.model_validate_json(value or b"")
            except ValidationError:
                self.unreadable += 1
            else:
                self.add((found,))

    def add(self, entries: Iterable[Entry]) -> None:
        """Take these into account."""
        for found in entries:
            place = f"{found.partition}:{found.offset}"
            self.last[place] = found
            self.history.setdefault(place, []).append(found)
            if found.done in (Done.REPLAYED, Done.FAILED):
                self.tried[place] = self.tried.get(place, 0) + 1
            if found.done is Done.REPLAYED and found.origin is not None:
                self.replayed.add(found.origin)
            elif found.done is Done.REOPENED:
                self.tried.pop(place, None)

    def shown(self, letter: Letter) -> list[dict[str, Any]]:
        """A letter's history, for people and for JSON."""
        found = self.history.get(letter.place, [])
        return [each.model_dump(mode="json", include=_SHOWN) for each in found]


_SHOWN = {"done", "at", "who", "why", "result"}
