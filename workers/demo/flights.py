"""What the demo sends: real departures, and a few records broken in ways that happen."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workers.contracts.directory import read_directory
from workers.contracts.framing import frame
from workers.errors import TopologyError
from workers.testing import Sent

TRAINED_UNTIL = "2013-07-01"
"""The model has seen departures before this day; the demo replays those from it on."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Records to send, and which flights were late in the end (by id)."""

    records: list[Sent]
    late: dict[str, bool]
    broken: dict[str, int]
    what: str


def traffic(root: Path, count: int) -> Traffic:
    """`count` real events at most, in order of departure, with the broken ones among them.

    Raises:
        TopologyError: `root` is not a checkout with examples/flights.
    """
    events, what = _departures(root, count)
    late = events["arrival_delay"] > 15
    registered = read_directory(root / "schemas").catalogue.versions("flights-value")[1]
    datums = _example(root, "encode").encode(events, registered.schema.text)
    records = [
        Sent(registered.frame + datum, key=key.encode())
        for datum, key in zip(datums, events["tailnum"].fill_null("unknown"), strict=True)
    ]
    broken = _broken(datums[0], registered.frame, _hot(root, events, registered.schema.text))
    places = np.random.default_rng(2013).integers(1, len(records), len(broken))
    for (why, sent), place in zip(broken.items(), sorted(places), strict=True):
        records.insert(int(place), Sent(sent, key=why.encode()))
    flights = dict(zip(events["flight_id"], late, strict=True))
    return Traffic(records, flights, dict.fromkeys(broken, 1), what)


def _departures(root: Path, count: int) -> tuple[Any, str]:
    events = _example(root, "events")
    try:
        year = events.full_year()
    except ImportError:
        month = events.shipped_month()
        return month.head(count), "departures from New York, October 2013 (shipped month)"
    first = year["scheduled_departure"].dt.strftime("%Y-%m-%d") >= TRAINED_UNTIL
    later = year.filter(first)
    return later.head(
        count
    ), "departures from New York from July 2013 on, which the model never saw"


def _hot(root: Path, events: Any, schema: str) -> bytes:
    """A readable event with a delay that no flight has."""
    impossible = events.head(1).with_columns(departure_delay=np.int32(99_999))
    datum: bytes = _example(root, "encode").encode(impossible, schema)[0]
    return datum


def _broken(datum: bytes, prefix: bytes, hot: bytes) -> dict[str, bytes | None]:
    return {
        "json": b'{"carrier": "UA", "departure_delay": 12}',
        "cut short": prefix + datum[:-3],
        "a byte too many": prefix + datum + b"\x00",
        "text not UTF-8": prefix + datum[:1] + b"\xff\xfe" + datum[3:],
        "schema id nobody registered": frame(4_000_000) + datum,
        "another subject's schema": frame(101) + datum,
        "an impossible delay": prefix + hot,
        "empty": b"",
    }


def _example(root: Path, module: str) -> Any:
    """A module of examples/flights, which is in the checkout and not in the package."""
    if not (root / "examples" / "flights" / "events.py").is_file():
        raise TopologyError(f"{root}: no examples/flights here; run the demo in a checkout")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return importlib.import_module(f"examples.flights.{module}")
