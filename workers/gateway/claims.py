"""Who answers a key: decided by the order of one topic, the same for every replica.

A gateway writes a claim, reads on until it meets it, and has the key if no other claim stands
before it. The answer is written under the claim, and counts if the claim still stands when it is
met. A claim without an answer ends after its time, so a gateway that died holds no key for ever.
All times are the records' own: every reader of the topic comes to the same end.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ENTRY_BYTES = 200
"""What an entry takes beside its answer."""


class Doing(StrEnum):
    """What a record of the topic does."""

    CLAIM = "claim"
    ANSWER = "answer"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Note:
    """A record: `claim` names the attempt, `digest` the request."""

    doing: Doing
    claim: str
    digest: str
    status: int = 0
    body: str = ""

    def packed(self) -> bytes:
        """As it is written."""
        found: dict[str, Any] = {
            "doing": self.doing.value, "claim": self.claim, "digest": self.digest,
        }  # fmt: skip
        if self.doing is Doing.ANSWER:
            found |= {"status": self.status, "body": self.body}
        return json.dumps(found).encode()


def note_of(value: bytes | None) -> Note | None:
    """What was written; None where it is none of ours."""
    try:
        found = json.loads(value or b"")
        return Note(
            Doing(found["doing"]),
            str(found["claim"]),
            str(found["digest"]),
            int(found.get("status", 0)),
            str(found.get("body", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


@dataclass(frozen=True, slots=True)
class Held:
    """What stands for a key: a claim, or an answer under it."""

    claim: str
    digest: str
    stamp: int
    status: int = 0
    body: str = ""

    @property
    def answered(self) -> bool:
        """Is there an answer?"""
        return self.status != 0


class ClaimsState:
    """What stands for each key, by the records read so far. Used by one thread."""

    def __init__(self, *, window: float, patience: float, limit: int) -> None:
        """Seconds that an answer counts, and a claim without one; bytes that may be kept."""
        self._window = int(window * 1000)
        self._patience = int(patience * 1000)
        self._limit = limit
        self._held: OrderedDict[bytes, Held] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def full(self) -> bool:
        """Must new keys be refused? Forgetting one within its window would break its promise."""
        return self.size > self._limit

    def find(self, key: bytes, now: int) -> Held | None:
        """What stands for a key at this time, in ms."""
        found = self._held.get(key)
        return None if found is None or self._over(found, now) else found

    def take(self, key: bytes, note: Note, stamp: int) -> bool:
        """The next record of a key's partition; does it count?"""
        before = self.find(key, stamp)
        match note.doing:
            case Doing.CLAIM:
                if before is not None:
                    return False
                self._put(key, Held(note.claim, note.digest, stamp))
            case Doing.ANSWER:
                if before is None or before.answered or before.claim != note.claim:
                    return False
                self._put(key, Held(note.claim, note.digest, stamp, note.status, note.body))
            case Doing.RELEASE:
                if before is None or before.answered or before.claim != note.claim:
                    return False
                self._drop(key)
        return True

    def forget(self, now: int) -> None:
        """Let go of what is over, the oldest first."""
        while self._held:
            key, held = next(iter(self._held.items()))
            if not self._over(held, now):
                return
            self._drop(key)

    def _over(self, held: Held, now: int) -> bool:
        return now - held.stamp > (self._window if held.answered else self._patience)

    def _put(self, key: bytes, held: Held) -> None:
        self._drop(key)
        self._held[key] = held
        self.size += ENTRY_BYTES + len(held.body)

    def _drop(self, key: bytes) -> None:
        if (held := self._held.pop(key, None)) is not None:
            self.size -= ENTRY_BYTES + len(held.body)
