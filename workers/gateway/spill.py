"""Decisions on disk while their topic cannot be written. What was added is there after a kill.

A folder of segments. Each begins with a line that says from which offsets on a record of it may be
in its topic already; then the records, each with its length and checksum. A torn end, left by a
kill in the middle of a write, was never acknowledged to anybody and ends the segment.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import IO, NamedTuple

from workers.errors import ClientHalt

Places = Mapping[tuple[str, int], int]
"""Offsets by topic and partition."""
_HEAD = Struct(">II")
_FIELDS = Struct(">HiIq")
_NO_KEY = -1
OVERHEAD = _HEAD.size + _FIELDS.size


class Spilled(NamedTuple):
    """A decision record: topic, key, value, timestamp in ms."""

    topic: str
    key: bytes | None
    value: bytes
    stamp: int


class SpillFull(Exception):  # noqa: N818  what the disk is
    """There is no room: nothing of the records was kept."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of spilled records that nobody writes to any more."""

    file: Path
    since: Places
    records: list[Spilled]

    def remove(self) -> None:
        """Every record of it is in its topic."""
        self.file.unlink()
        _sync_folder(self.file.parent)


class Spill:
    """The folder, for one process at a time. Used by one thread."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Open it; what a last life left is in `segments`.

        Raises:
            ClientHalt: it cannot be written, or another process has it.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder / "lock")
        except BlockingIOError as error:
            raise ClientHalt(
                f"{folder}: another process spills there; give every replica its own `log.spill`"
            ) from error
        except OSError as error:
            raise ClientHalt(f"{folder}: {error.strerror}: decisions cannot be spilled") from error
        self._folder = folder
        self.limit = limit
        self._open: IO[bytes] | None = None
        self._sealed = sorted(folder.glob("*.spill"))
        self._number = max((int(file.stem) for file in self._sealed), default=0)
        self.size = sum(file.stat().st_size for file in self._sealed)

    @property
    def empty(self) -> bool:
        """Is nothing left to be replayed?"""
        return self._open is None and not self._sealed

    def add(self, records: Iterable[Spilled], since: Places) -> None:
        """Keep these; on return the disk has them.

        Raises:
            SpillFull: they would not fit, or the disk has no room.
        """
        data = b"".join(_packed(record) for record in records)
        if self.size + len(data) > self.limit:
            raise SpillFull(f"{self.size} bytes are spilled already, of {self.limit}")
        began = 0 if self._open is None else self._open.tell()
        try:
            opened = self._open or self._begin(since)
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        except OSError as error:
            self._undo(began)
            raise SpillFull(f"{self._folder}: {error.strerror}") from error
        self.size += len(data)

    def _begin(self, since: Places) -> IO[bytes]:
        self._number += 1
        file = self._folder / f"{self._number:012}.spill"
        listed = [[topic, partition, offset] for (topic, partition), offset in since.items()]
        self._open = file.open("wb")
        self._open.write(json.dumps(listed).encode() + b"\n")
        _sync_folder(self._folder)
        return self._open

    def _undo(self, began: int) -> None:
        """Half a write must not stand before what is written later."""
        opened, self._open = self._open, None
        if opened is None:
            return
        file = Path(opened.name)
        with contextlib.suppress(OSError):
            os.ftruncate(opened.fileno(), began)
        with contextlib.suppress(OSError):
            opened.close()
        if began:
            self._sealed.append(file)
        else:
            file.unlink(missing_ok=True)

    def seal(self) -> list[Path]:
        """Begin anew; the files that wait to be replayed, the oldest first."""
        if self._open is not None:
            self._sealed.append(Path(self._open.name))
            self._open.close()
            self._open = None
        return list(self._sealed)

    def done(self, segment: Segment) -> None:
        """The topic has all of it."""
        self.size -= segment.file.stat().st_size
        segment.remove()
        self._sealed.remove(segment.file)
        if not self._sealed and self._open is None:
            self.size = 0

    def close(self) -> None:
        """Leave it to the next process."""
        self.seal()
        self._lock.close()


def _locked(file: Path) -> IO[str]:
    opened = file.open("w")
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        opened.close()
        raise
    return opened


def read_segment(file: Path) -> Segment:
    """A segment's records, up to a torn end."""
    with file.open("rb") as opened:
        first = opened.readline()
        since = {}
        with contextlib.suppress(ValueError):
            since = {(topic, partition): at for topic, partition, at in json.loads(first)}
        return Segment(file, since, list(_records(opened.read())))


def _packed(record: Spilled) -> bytes:
    topic, key = record.topic.encode(), record.key or b""
    length = _NO_KEY if record.key is None else len(key)
    fields = _FIELDS.pack(len(topic), length, len(record.value), record.stamp)
    body = fields + topic + key + record.value
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def _records(data: bytes) -> Iterator[Spilled]:
    at = 0
    while at + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, at)
        body = data[at + _HEAD.size : at + _HEAD.size + length]
        if len(body) < length or zlib.crc32(body) != checksum:
            return
        at += _HEAD.size + length
        topic, key, value, stamp = _FIELDS.unpack_from(body)
        rest = body[_FIELDS.size :]
        name = rest[:topic].decode()
        found = None if key == _NO_KEY else rest[topic : topic + key]
        begin = topic + max(key, 0)
        yield Spilled(name, found, rest[begin : begin + value], stamp)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
