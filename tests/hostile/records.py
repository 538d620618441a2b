"""Records that somebody hostile, or merely broken, might produce; each of one kind, by name.

kafka-facts, section 8: wire framing, Avro bytes, headers, keys and timestamps. Every value here is
refused by its contents, so each must become a dead letter; `ODD` holds what looks hostile and is
good.
"""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Iterator

from tests.traffic import GOOD
from workers.contracts.framing import HEADER, Header, frame
from workers.testing import Sent

GUID = bytes(range(16))
FORGED: list[Header] = [
    ("__connect.errors.topic", b"somewhere"),
    ("__connect.errors.offset", b"-1"),
    ("__workers.verdict", b"crash"),
    ("__workers.attempts", b"999999999999999999999"),
    ("__workers.replay", b"1"),
    ("__workers.value.sha256", None),
]
HEADERS: dict[str, list[Header]] = {
    "empty name": [("", b"x")],
    "no value": [("a", None), ("b", b"")],
    "ten thousand": [(f"h{n}", b"%d" % n) for n in range(10_000)],
    "duplicates": [("a", b"1"), ("a", b"2"), ("a", None)],
    "forged dead letter": FORGED,
    "malformed traceparent": [("traceparent", b"00-zz-\xff-99"), ("traceparent", b"")],
    "huge tracestate": [("tracestate", b"a=" + b"x" * 60_000), ("baggage", b"," * 60_000)],
    "name of another alphabet": [("\u043a\u043b\u044e\u0447 \U0001f511", b"\x00\xff")],
    "value of zeros": [("z", bytes(1000))],
}


def wire(datum: bytes) -> Iterator[tuple[str, bytes, list[Header]]]:
    """Framing that is none, or points nowhere. The datum itself is good."""
    for count in range(5):
        yield f"{count} zero bytes", bytes(count), []
    for magic in range(1, 256):
        yield f"magic {magic:#04x}", bytes([magic]) + GOOD[1:] + datum, []
    yield "magic 0x01 short", b"\x01" + GUID[:9], []
    yield "magic 0x01 and a guid", b"\x01" + GUID + datum, []
    for number in (0, 2, 999_999, 2**31, 2**32 - 1):
        yield f"unknown id {number}", frame(number) + datum, []
    yield "id of another subject", frame(101) + datum, []
    yield "JSON", json.dumps({"schema": 1}).encode(), []
    yield "JSON behind a frame", GOOD + b'{"a": 1}', []
    yield "XML", b"<?xml version='1.0'?><a/>", []
    yield "gzip", gzip.compress(GOOD + datum), []
    yield "xz", lzma.compress(GOOD + datum), []
    yield "a frame in a frame", GOOD + GOOD + datum, []
    yield "a file of Avro", b"Obj\x01" + datum, []
    yield "zeros", bytes(300_000), []
    yield "most of a megabyte", GOOD + bytes(900_000), []
    yield "text", "\u00e4\u20ac\U0001f511".encode() * 50, []
    for name, content in {
        "none": None,
        "empty": b"",
        "short guid": b"\x01" + GUID[:15],
        "long guid": b"\x01" + GUID + b"\x00",
        "unknown guid": b"\x01" + GUID,
        "magic 0x00 short": b"\x00\x00\x01",
        "magic 0x02": b"\x02" + GOOD[1:],
        "unknown id": frame(999_999),
    }.items():
        yield f"schema header: {name}", GOOD + datum, [(HEADER, content)]
    yield "schema header twice", datum, [(HEADER, GOOD), (HEADER, GOOD)]
    yield "schema header and prefix", GOOD + datum, [(HEADER, GOOD)]


def avro(datum: bytes) -> Iterator[tuple[str, bytes, list[Header]]]:
    """A datum cut at each byte, and with more behind it."""
    for end in range(len(datum)):
        yield f"cut at {end}", GOOD + datum[:end], []
    for extra in (b"\x00", b"\xff", datum, bytes(1000)):
        yield f"{len(extra)} bytes behind", GOOD + datum + extra, []
    yield "varints without an end", GOOD + b"\xff" * 4096, []
    yield "lengths that are huge", GOOD + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01" * 8, []
    yield "lengths that are negative", GOOD + b"\x01" * 64, []


def keys() -> Iterator[tuple[str, bytes | None]]:
    """Keys of a record."""
    yield "no key", None
    yield "empty key", b""
    yield "key of zeros", bytes(64)
    yield "key that is no text", b"\xff\xfe\x00"
    yield "long key", b"k" * 500_000


TIMES = {
    "none": -1,
    "before the beginning": -5,
    "long before": -(2**62),
    "begin": 1,
    "a second": 1000,
    "year 9999": 253_402_300_799_999,
    "farther": 2**62,
}


def hostile(datum: bytes) -> dict[str, Sent]:
    """Every record that must become a dead letter, by name."""
    found = {
        name: Sent(value, b"k", headers, 1_700_000_000_000)
        for name, value, headers in (*wire(datum), *avro(datum))
    }
    bad = GOOD + datum[:-1]
    for name, headers in HEADERS.items():
        found[f"headers: {name}"] = Sent(bad, b"k", headers, 1_700_000_000_000)
    for name, key in keys():
        found[name] = Sent(bad, key, [], 1_700_000_000_000)
    for name, time in TIMES.items():
        found[f"time: {name}"] = Sent(bad, b"k", [], time)
    return found


def odd(datum: bytes) -> dict[str, Sent]:
    """What only looks hostile: each is enriched, with its key, headers and time."""
    value = GOOD + datum
    found = {f"headers: {n}": Sent(value, b"k", h, 1_700_000_000_000) for n, h in HEADERS.items()}
    found |= {name: Sent(value, key, [], 1_700_000_000_000) for name, key in keys()}
    found |= {f"time: {name}": Sent(value, b"k", [], time) for name, time in TIMES.items()}
    found["schema header"] = Sent(datum, b"k", [(HEADER, GOOD)], 1_700_000_000_000)
    return found
