"""What worker and challenger's process say to each other: frames of bounded length, and no pickle.

A frame is `SHDW`, its kind (1 byte), the number of the question (4), the length (4, both
big-endian), and so many bytes. An answer bears its question's number, so that one that is late, or
that nobody asked for, is seen.

The process may have gone mad, so the worker never parses what it says: the answer to a batch is an
array of a fixed length, whose entries are held to their ranges.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import BinaryIO

import numpy as np

MAGIC = b"SHDW"
HEADER = struct.Struct(">4sBII")
LONGEST = 1 << 30
"""Bytes of a question: a booster of `bundle.MAX_FILE`, or a batch of columns."""
_LENGTH = struct.Struct(">I")


class Kind(IntEnum):
    """What a frame is: two questions, three answers."""

    LOAD = 1
    SCORE = 2
    READY = 3
    REFUSED = 4
    SCORED = 5


class State(IntEnum):
    """What became of a row: as `Scored` has it."""

    SCORED = 0
    REJECTED = 1
    FAILED = 2


ANSWER = np.dtype([("score", "<f8"), ("band", "<i4"), ("state", "u1")])
"""One entry a row."""


class BadFrame(Exception):  # noqa: N818  what was read
    """These bytes are no frame."""


def header(kind: Kind, number: int, length: int) -> bytes:
    """What goes before a frame's bytes."""
    return HEADER.pack(MAGIC, kind, number, length)


def parse(read: bytes) -> tuple[Kind, int, int]:
    """Kind, number and length of a header.

    Raises:
        BadFrame: it is none.
    """
    magic, kind, number, length = HEADER.unpack(read)
    try:
        found = Kind(kind)
    except ValueError as error:
        raise BadFrame("a frame of no known kind") from error
    if magic != MAGIC or length > LONGEST:
        raise BadFrame("not a frame")
    return found, number, length


def read_frame(stream: BinaryIO) -> tuple[Kind, int, bytes] | None:
    """The next frame of a blocking stream; None at its end.

    Raises:
        BadFrame: what comes is none.
    """
    read = stream.read(HEADER.size)
    if len(read) < HEADER.size:
        return None
    kind, number, length = parse(read)
    content = stream.read(length)
    return (kind, number, content) if len(content) == length else None


def pack_bundle(manifest: bytes, booster: bytes) -> bytes:
    """The content of a `LOAD`."""
    return b"".join((_LENGTH.pack(len(manifest)), manifest, booster))


def unpack_bundle(content: bytes) -> tuple[bytes, bytes]:
    """Manifest and booster of a `LOAD`."""
    (length,) = _LENGTH.unpack_from(content)
    start = _LENGTH.size
    return content[start : start + length], content[start + length :]
