"""Records for tests: real flights, broken ones, and what should become of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import Decoder
from workers.contracts.framing import frame
from workers.testing import OutRecord, Sent

GOOD = frame(1)


def good(flights: Sequence[bytes], keys: int = 50) -> list[Sent]:
    """One record an event, over that many keys; the header carries its place in the input."""
    return [
        Sent(
            GOOD + datum,
            key=b"key-%d" % (place % keys),
            headers=[("place", b"%d" % place)],
            timestamp=1_700_000_000_000 + place,
        )
        for place, datum in enumerate(flights)
    ]


def broken(datum: bytes) -> list[Sent]:
    """One of each kind, with hostile headers and without a key."""
    headers = [
        ("bin", b"\x00\xff\xfe"),
        ("none", None),
        ("twice", b"1"),
        ("twice", b"2"),
        ("", b""),
    ]
    values = [
        b"",
        b"\x00",
        b"\x01\x02\x03\x04\x05\x06",
        b'{"json": true}',
        b"\x00" * 200_000,
        GOOD,
        GOOD + datum[:-1],
        GOOD + datum + b"\x00",
        frame(999_999) + datum,
        frame(101) + datum,
        frame(0) + datum,
        frame(2**32 - 1) + datum,
    ]
    return [Sent(v, key=None, headers=headers, timestamp=1_600_000_000_000) for v in values]


def ids(records: Iterable[OutRecord], contracts: Catalogue) -> list[str]:
    """The decision ids of enriched events, in the order read; tombstones have none."""
    decoder = Decoder(contracts.versions("flights.enriched-value")[2].schema)
    datums = [record.value[5:] for record in records if record.value is not None]
    if not datums:
        return []
    decoded = decoder.decode(datums)
    assert not decoded.rejections
    found: list[str] = decoded.table.column("enrichment").field("decision_id").to_pylist()
    return found


def places_by_key(records: Iterable[OutRecord]) -> dict[bytes | None, list[int]]:
    """The header `place` of each record, by key, in the order read."""
    found: dict[bytes | None, list[int]] = defaultdict(list)
    for record in records:
        found[record.key].append(int(record.header("place")))
    return dict(found)


def split(
    records: Iterable[OutRecord], dead_letters: str
) -> tuple[list[OutRecord], list[OutRecord]]:
    """Enriched events and dead letters."""
    records = list(records)
    return (
        [record for record in records if record.topic != dead_letters],
        [record for record in records if record.topic == dead_letters],
    )
