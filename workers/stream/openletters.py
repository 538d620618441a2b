"""Which keys have dead letters that nobody has settled, by the dead-letter topic and its ledger.

A key is held as its SHA-256: that is what a letter says of a key that was too large to carry.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from pydantic import ValidationError

from workers.enrich.batch import Batch
from workers.stream.deadletters import OURS
from workers.stream.ledger import Done, Entry
from workers.stream.letters import Letter, Origin, letters_of

Place = tuple[int, int]
_SETTLED = (Done.REPLAYED, Done.RESOLVED)


def digest(key: bytes) -> bytes:
    """What a key is known by here."""
    return hashlib.sha256(key).digest()


@dataclass(slots=True)
class OpenLettersState:
    """The dead letters of one worker, as far as they were read, and which of them are open.

    Of two letters of one record, as at least once may write, the replay of one settles both.
    """

    worker: str
    topic: str
    _letters: dict[Place, tuple[bytes, Origin]] = field(default_factory=dict)
    _open: dict[bytes, dict[Origin, set[Place]]] = field(default_factory=dict)
    _done: dict[Place, Done] = field(default_factory=dict)
    _replayed: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        """Keys that have an open letter."""
        return len(self._open)

    def take_letters(self, batch: Batch) -> list[tuple[bytes, Origin]]:
        """Read on in the dead-letter topic; what these letters are of."""
        found = []
        for letter in letters_of(batch):
            origin, key = letter.origin, _key(letter)
            if origin is None or key is None:
                continue
            if letter.worker == self.worker and origin.topic == self.topic:
                place = letter.partition, letter.offset
                self._letters[place] = key, origin
                self._open_or_not(place)
                found.append((key, origin))
        return found

    def take_ledger(self, batch: Batch) -> list[bytes]:
        """Read on in the ledger; the keys of which something was replayed."""
        replayed = []
        for value in batch.values:
            try:
                entry = Entry.model_validate_json(value or b"")
            except ValidationError:
                continue
            place = entry.partition, entry.offset
            self._done[place] = entry.done
            if entry.done is Done.REPLAYED and entry.origin is not None:
                self._replayed.add(entry.origin)
            self._open_or_not(place)
            if entry.done is Done.REPLAYED and place in self._letters:
                replayed.append(self._letters[place][0])
        return replayed

    def open_of(self, key: bytes) -> int:
        """Records of this key that have an open letter."""
        return len(self._open.get(key, ()))

    def forget_before(self, partition: int, offset: int) -> None:
        """Retention took these letters: nobody can settle them any more."""
        gone = [place for place in self._letters if place[0] == partition and place[1] < offset]
        for place in gone:
            self._close(place)
            del self._letters[place]
            self._done.pop(place, None)

    def before(self, key: bytes, partition: int, offset: int) -> Origin | None:
        """An open letter that a record of this key at this place comes after; None: none."""
        for origin in self._open.get(key, ()):
            # A record that comes again, as at least once may have it, is not behind itself.
            if origin.partition != partition or origin.offset < offset:
                return origin
        return None

    def _open_or_not(self, place: Place) -> None:
        if place not in self._letters:
            return
        key, origin = self._letters[place]
        if str(origin) in self._replayed:
            self._drop(key, origin)
        elif self._done.get(place) in _SETTLED:
            self._close(place)
        else:
            self._open.setdefault(key, {}).setdefault(origin, set()).add(place)

    def _close(self, place: Place) -> None:
        key, origin = self._letters[place]
        places = self._open.get(key, {}).get(origin, set())
        places.discard(place)
        if not places:
            self._drop(key, origin)

    def _drop(self, key: bytes, origin: Origin) -> None:
        origins = self._open.get(key, {})
        origins.pop(origin, None)
        if not origins:
            self._open.pop(key, None)


def _key(letter: Letter) -> bytes | None:
    if letter.key is not None:
        return digest(letter.key)
    try:
        return bytes.fromhex(letter.said[f"{OURS}key.sha256"])
    except (KeyError, ValueError):
        return None
