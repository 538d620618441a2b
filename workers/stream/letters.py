"""A dead letter as it is read back: the record that failed, and what was written beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from workers.contracts.framing import Header
from workers.enrich.batch import Batch
from workers.stream.deadletters import CONNECT, OURS, SEALED

_FIRST = f"{CONNECT}topic"
"""The first header that a worker writes; what is before it came with the record."""
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the record that failed was read."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter. `headers` are the record's own, `said` what the worker wrote.

    `partition` and `offset` are its own place: the broker gave them, so nobody can forge them.
    `origin` is None where the headers do not say it, as a forged or foreign letter may.
    """

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    said: Mapping[str, str]
    timestamp: tuple[int, int]
    origin: Origin | None = None

    @property
    def place(self) -> str:
        """Its own place, `partition:offset`."""
        return f"{self.partition}:{self.offset}"

    @property
    def verdict(self) -> str:
        """Why, in one word."""
        return self.said.get(f"{OURS}verdict", "")

    @property
    def code(self) -> str:
        """Why, exactly."""
        return self.said.get(f"{OURS}code", "")

    @property
    def why(self) -> str:
        """Why, for people."""
        return self.said.get(f"{CONNECT}exception.message", "")

    @property
    def worker(self) -> str:
        """Whose it is."""
        return self.said.get(f"{OURS}worker", "")

    @property
    def schema_id(self) -> int | None:
        """The id that the record named."""
        return _number(self.said.get(f"{OURS}schema.id"))

    @property
    def model(self) -> str:
        """The model's name, where the record got so far."""
        return self.said.get(f"{OURS}model", "")

    @property
    def model_version(self) -> str:
        """The model's version, where the record got so far."""
        return self.said.get(f"{OURS}model.version", "")

    @property
    def failed_at(self) -> int | None:
        """Milliseconds UTC."""
        return _number(self.said.get(f"{OURS}failed_at"))

    @property
    def sealed(self) -> bool:
        """Is the value encrypted?"""
        return SEALED in self.said

    @property
    def carried(self) -> bool:
        """Is the record here whole, and not only its digest?"""
        left_out = (f"{OURS}value.bytes", f"{OURS}headers.dropped", f"{OURS}key.bytes")
        return not any(name in self.said for name in left_out)

    @property
    def cause(self) -> str:
        """What it is grouped by: the reason without its numbers."""
        return f"{self.verdict}:{self.code}: {_NUMBER.sub('N', self.why)}"

    def as_it_came(self, value: bytes | None, now: int) -> Batch:
        """The record that failed, as a batch of one row. `value` is opened, where it was sealed.

        Raises:
            ValueError: the letter does not say where it came from.
        """
        if self.origin is None:
            raise ValueError(f"dead letter {self.place} does not say where it came from")
        kind = _number(self.said.get(f"{OURS}timestamp.type"))
        stamp = _number(self.said.get(f"{OURS}timestamp"))
        timestamp = self.timestamp if kind is None or stamp is None else (kind, stamp)
        return Batch(
            topic=self.origin.topic,
            now=now,
            keys=[self.key],
            values=[value],
            headers=[self.headers or None],
            partitions=[self.origin.partition],
            offsets=[self.origin.offset],
            timestamps=[timestamp],
        )


def letters_of(batch: Batch) -> list[Letter]:
    """The dead letters of a batch that was read from a dead-letter topic."""
    return [_letter(batch, row) for row in range(len(batch))]


def _letter(batch: Batch, row: int) -> Letter:
    headers = list(batch.headers[row] or ())
    names = [name for name, _ in headers]
    # The last of a name: a record may have been dead-lettered before, or claim to have been.
    start = len(names) - 1 - names[::-1].index(_FIRST) if _FIRST in names else len(names)
    said = {name: (content or b"").decode("utf-8", "replace") for name, content in headers[start:]}
    return Letter(
        partition=batch.partitions[row],
        offset=batch.offsets[row],
        key=batch.keys[row],
        value=batch.values[row],
        headers=headers[:start],
        said=said,
        timestamp=batch.timestamps[row],
        origin=_origin(said),
    )


def _origin(said: Mapping[str, str]) -> Origin | None:
    topic = said.get(_FIRST)
    partition = _number(said.get(f"{CONNECT}partition"))
    offset = _number(said.get(f"{CONNECT}offset"))
    if not topic or partition is None or offset is None:
        return None
    return Origin(topic, partition, offset)


def _number(text: str | None) -> int | None:
    """A number that somebody may have forged: None where it is none, or no 64-bit one."""
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 19:
        return None
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which dead letters are meant; what is None or empty means all of them."""

    verdicts: Sequence[str] = ()
    codes: Sequence[str] = ()
    schema_id: int | None = None
    model: str | None = None
    model_version: str | None = None
    key: bytes | None = None
    origin_partition: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    places: frozenset[str] = field(default_factory=frozenset)

    def takes(self, letter: Letter) -> bool:
        """Is this letter meant?"""
        return all(
            (
                not self.verdicts or letter.verdict in self.verdicts,
                not self.codes or letter.code in self.codes,
                self.schema_id is None or letter.schema_id == self.schema_id,
                self.model is None or letter.model == self.model,
                self.model_version is None or letter.model_version == self.model_version,
                self.key is None or letter.key == self.key,
                self.origin_partition is None
                or (letter.origin and letter.origin.partition == self.origin_partition),
                not self.places or letter.place in self.places,
                self._in_time(letter),
            )
        )

    def _in_time(self, letter: Letter) -> bool:
        if self.since is None and self.until is None:
            return True
        at = letter.failed_at
        if at is None:
            return False
        since = self.since.timestamp() * 1000 if self.since else float("-inf")
        until = self.until.timestamp() * 1000 if self.until else float("inf")
        return since <= at < until
