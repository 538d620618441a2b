"""A record on its way out."""

from __future__ import annotations

from workers.enrich.batch import HeaderList

Record = tuple[str, bytes | None, bytes | None, HeaderList, int, int]
"""Topic, key, value, headers, timestamp in ms, partition (-1: by key). A tuple: it is made once a
record, at a hundred thousand a second."""


def header_bytes(headers: HeaderList) -> int:
    """Bytes of names and contents."""
    if not headers:
        return 0
    # The varints of the wire format, at most five bytes each, are counted too.
    return sum(len(name.encode()) + len(content or b"") + 10 for name, content in headers)


def record_bytes(record: Record) -> int:
    """Bytes of key, value and headers: what the client holds against `message.max.bytes`."""
    _, key, value, headers, _, _ = record
    return len(key or b"") + len(value or b"") + header_bytes(headers)
