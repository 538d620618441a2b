"""A strict walk over the bytes of one datum: is every byte what the schema says?

Slow and exact. It explains a refusal (field and byte), and it stands before `fastavro`, which
accepts negative branch indexes, over-wide integers, trailing bytes and much else.
Encoding rules: Avro 1.12 specification, "Binary encoding".
"""

from __future__ import annotations

import re

from workers.contracts.schema import Node

INT_RANGE = (-(2**31), 2**31 - 1)
UUID = r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}"
"""Of a whole text, for both decoders: Python's own reading takes hyphens anywhere, and braces."""
_DAY = 86_400
# Year 1 to year 9999: what readers in other languages can represent.
_SECONDS = (-62_135_596_800, 253_402_300_799)
_UNITS = {"millis": 1_000, "micros": 1_000_000, "nanos": 1_000_000_000}


class Malformed(Exception):
    """The datum is not what the schema says; the text names field and byte, never content."""


def logical_range(logical: str | None) -> tuple[int, int] | None:
    """Smallest and largest physical value of a logical type; None where any value will do."""
    if logical == "date":
        return _SECONDS[0] // _DAY, _SECONDS[1] // _DAY
    family, _, unit = (logical or "").rpartition("-")
    per_second = _UNITS.get(unit)
    if per_second is None:
        return None
    if family == "time":
        return 0, _DAY * per_second - 1
    if family in ("timestamp", "local-timestamp"):
        widest = 2**63 - 1
        low, high = _SECONDS[0] * per_second, (_SECONDS[1] + 1) * per_second - 1
        return max(low, -widest - 1), min(high, widest)
    return None


def check(root: Node, datum: bytes) -> None:
    """Walk the whole datum.

    Raises:
        Malformed: the first byte that is not what the schema says.
    """
    walk = _Walk(datum)
    walk.value(root, "")
    if walk.at != len(datum):
        raise Malformed(f"{len(datum) - walk.at} bytes left over after the last field")


class _Walk:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def value(self, node: Node, path: str) -> None:
        match node.kind:
            case "record":
                for name, child in node.children:
                    self.value(child, f"{path}.{name}" if path else name)
            case "union":
                self.value(node.children[self._index(len(node.children), path)][1], path)
            case "enum":
                self._index(len(node.symbols), path)
            case "array" | "map":
                self._blocks(node, path)
            case _:
                self._scalar(node, path)

    def _scalar(self, node: Node, path: str) -> None:
        match node.kind:
            case "null":
                pass
            case "boolean":
                if self._take(1, path)[0] > 1:
                    raise self._fault(path, "a boolean that is neither 0 nor 1")
            case "int" | "long":
                self._integer(node, path)
            case "float":
                self._take(4, path)
            case "double":
                self._take(8, path)
            case "fixed":
                self._decimal(node, self._take(node.size, path), path)
            case _:
                self._text(node, path)

    def _integer(self, node: Node, path: str) -> None:
        value = self._long(path)
        if node.kind == "int" and not INT_RANGE[0] <= value <= INT_RANGE[1]:
            raise self._fault(path, "an int wider than 32 bits")
        bounds = logical_range(node.logical)
        if bounds and not bounds[0] <= value <= bounds[1]:
            raise self._fault(path, f"a {node.logical} out of range")

    def _text(self, node: Node, path: str) -> bytes:
        content = self._take(self._length(path), path)
        if node.kind == "bytes":
            self._decimal(node, content, path)
            return content
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise self._fault(path, "a string that is not UTF-8") from None
        if node.logical == "uuid" and not re.fullmatch(UUID, text):
            raise self._fault(path, "a uuid that is not one")
        return content

    def _decimal(self, node: Node, content: bytes, path: str) -> None:
        if node.logical != "decimal" or not node.precision:
            return
        # Reading a decimal is quadratic in its length: bound the bytes before the number.
        if len(content) > node.precision // 2 + 2 and node.kind == "bytes":
            raise self._fault(path, "more bytes than a decimal of its precision has")
        if abs(int.from_bytes(content, "big", signed=True)) >= 10**node.precision:
            raise self._fault(path, "a decimal beyond its precision")

    def _blocks(self, node: Node, path: str) -> None:
        item, keys = node.children[0][1], set[bytes]()
        while (count := self._long(path)) != 0:
            if count < 0:
                # The block's size follows, for readers that skip. Readers that read ignore it,
                # fastavro and pyruhvro among them, and so do we: the three must agree.
                count = -count
                self._long(path)
            if count > len(self.data) - self.at:
                raise self._fault(path, "more items than bytes left")
            for _ in range(count):
                if node.kind == "map":
                    self._key(keys, path)
                self.value(item, path)

    def _key(self, keys: set[bytes], path: str) -> None:
        key = self._text(Node("string"), path)
        if key in keys:
            # Which of the two is meant, readers answer differently.
            raise self._fault(path, "a key twice in a map")
        keys.add(key)

    def _index(self, count: int, path: str) -> int:
        index = self._long(path)
        if not 0 <= index < count:
            raise self._fault(path, f"branch or symbol {index} of {count}")
        return index

    def _length(self, path: str) -> int:
        length = self._long(path)
        if length < 0 or length > len(self.data) - self.at:
            raise self._fault(path, "a length beyond the end of the record")
        return length

    def _long(self, path: str) -> int:
        value = shift = 0
        while True:
            byte = self._take(1, path)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise self._fault(path, "a number longer than ten bytes")
        if value >= 2**64:
            raise self._fault(path, "a number wider than 64 bits")
        return (value >> 1) ^ -(value & 1)

    def _take(self, size: int, path: str) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise self._fault(path, "the record ends inside it")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def _fault(self, path: str, text: str) -> Malformed:
        return Malformed(f"field {path or '(top level)'}, byte {self.at}: {text}")
