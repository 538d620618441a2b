"""Which schema wrote a payload: Confluent's framing, in the payload or in a header.

In the payload: 0x00, the schema id as four bytes big-endian, the datum. In the header
`__value_schema_id`: 0x00 + id, or 0x01 + a 16-byte GUID, and then the payload is the bare datum
(confluent-kafka `schema_registry/common/serde.py`, SchemaId).
"""

from __future__ import annotations

from collections.abc import Sequence

from workers.errors import Code, Reject

HEADER = "__value_schema_id"
PREFIX = 5
Header = tuple[str, bytes | None]
SchemaKey = int | bytes
"""A registry id, or the 16 bytes of a GUID."""


def frame(schema_id: int) -> bytes:
    """The five bytes that go before a datum written under `schema_id`."""
    return b"\x00" + schema_id.to_bytes(4, "big")


def locate(value: bytes, headers: Sequence[Header] | None) -> tuple[SchemaKey, int] | None:
    """Schema key and where the datum begins; None where the bytes are not framed at all.

    A header wins over the payload, as in Confluent's own dual deserialiser.

    Raises:
        Reject: the header is there and malformed, or there twice.
    """
    if headers:
        found = [content for name, content in headers if name == HEADER]
        if found:
            return _from_header(found), 0
    if len(value) >= PREFIX and value[0] == 0:
        return int.from_bytes(value[1:PREFIX], "big"), PREFIX
    return None


def _from_header(found: list[bytes | None]) -> SchemaKey:
    content = found[0]
    if len(found) > 1 or content is None:
        raise Reject(Code.SCHEMA_HEADER, f"header {HEADER}: empty, or given twice")
    if len(content) == 17 and content[0] == 1:
        return content[1:]
    if len(content) == PREFIX and content[0] == 0:
        return int.from_bytes(content[1:], "big")
    raise Reject(
        Code.SCHEMA_HEADER,
        f"header {HEADER}: {len(content)} bytes that are neither 0x00 + id nor 0x01 + GUID",
    )
