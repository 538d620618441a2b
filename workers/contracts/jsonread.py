"""One datum of ours as JSON values, as `answer_schema` describes them.

For a few records, where columns would cost more to set up than to fill. It trusts the bytes: they
were written a moment ago.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from workers.contracts.schema import Node, Schema

Read = Callable[[bytes, int], tuple[Any, int]]
"""The value at a place, and where the next one begins."""


class JsonReader:
    """Reads datums of one schema."""

    def __init__(self, schema: Schema) -> None:
        self._read = _reader(schema.root)

    def read(self, datum: bytes, at: int = 0) -> dict[str, Any]:
        """The record that begins at a place."""
        found: dict[str, Any] = self._read(datum, at)[0]
        return found


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """Zig-zag, seven bits a byte (Avro 1.12, "Binary Encoding")."""
    byte = data[at]
    at += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at
    number, shift = byte & 0x7F, 7
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7


def read_text(data: bytes, at: int) -> tuple[str, int]:
    """A string."""
    length, at = read_long(data, at)
    return data[at : at + length].decode(), at + length


def _reader(node: Node) -> Read:  # noqa: PLR0911  a line a kind
    below = [_reader(child) for _, child in node.children]
    match node.kind:
        case "record" | "error":
            return _record([name for name, _ in node.children], below)
        case "union":
            return _union(below)
        case "array":
            return _array(below[0])
        case "map":
            return _map(below[0])
        case "enum":
            return _enum(node.symbols)
        case "fixed":
            return _fixed(node.size)
        case kind:
            return _PLAIN[kind]


def _record(names: list[str], readers: list[Read]) -> Read:
    fields = list(zip(names, readers, strict=True))

    def read(data: bytes, at: int) -> tuple[Any, int]:
        found = {}
        for name, below in fields:
            found[name], at = below(data, at)
        return found, at

    return read


def _union(branches: list[Read]) -> Read:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        number, at = read_long(data, at)
        return branches[number](data, at)

    return read


def _blocks(data: bytes, at: int) -> tuple[int, int]:
    """How many entries the next block has; a negative count has the block's bytes behind it."""
    count, at = read_long(data, at)
    if count < 0:
        _, at = read_long(data, at)
    return abs(count), at


def _array(item: Read) -> Read:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        found: list[Any] = []
        while True:
            count, at = _blocks(data, at)
            if not count:
                return found, at
            for _ in range(count):
                value, at = item(data, at)
                found.append(value)

    return read


def _map(item: Read) -> Read:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        found: dict[str, Any] = {}
        while True:
            count, at = _blocks(data, at)
            if not count:
                return found, at
            for _ in range(count):
                key, at = read_text(data, at)
                found[key], at = item(data, at)

    return read


def _enum(symbols: tuple[str, ...]) -> Read:
    def read(data: bytes, at: int) -> tuple[Any, int]:
        number, at = read_long(data, at)
        return symbols[number], at

    return read


def _fixed(size: int) -> Read:
    return lambda data, at: (data[at : at + size].decode("latin-1"), at + size)


def _bytes(data: bytes, at: int) -> tuple[Any, int]:
    length, at = read_long(data, at)
    return data[at : at + length].decode("latin-1"), at + length


def _number(form: str) -> Read:
    packed = Struct(form)
    return lambda data, at: (packed.unpack_from(data, at)[0], at + packed.size)


_PLAIN: dict[str, Read] = {
    "null": lambda _, at: (None, at),
    "boolean": lambda data, at: (data[at] == 1, at + 1),
    "int": read_long,
    "long": read_long,
    "float": _number("<f"),
    "double": _number("<d"),
    "string": read_text,
    "bytes": _bytes,
}
