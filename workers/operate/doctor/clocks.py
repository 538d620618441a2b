"""This host's clock against others. Kafka tells no time; records and HTTP servers do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime

import httpx2

from workers.operate.doctor.findings import Check, Finding, Severity
from workers.topology import Topology

TOLERATED = 30.0
"""Seconds; an HTTP date has whole ones, and an answer takes a moment."""
REFUSED = 300.0
"""Seconds from which on tokens and signed requests are commonly refused."""
SECONDS = 5.0


def servers(topology: Topology) -> dict[str, str]:
    """HTTP servers that the topology names, by what they are."""
    found = {}
    if topology.contracts.registry is not None:
        found["registry"] = str(topology.contracts.registry.url)
    if topology.models.mlflow is not None:
        found["mlflow"] = str(topology.models.mlflow.url)
    sasl = topology.broker.security.sasl
    if sasl is not None and sasl.oauth is not None:
        found["token endpoint"] = str(sasl.oauth.token_endpoint_url)
    return found


def against_server(name: str, url: str, now: float) -> Iterator[Finding]:
    """The Date of any answer; nothing where there is none. `now` is seconds UTC."""
    try:
        with httpx2.Client(timeout=SECONDS) as client, client.stream("GET", url) as answer:
            said = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (httpx2.HTTPError, httpx2.InvalidURL, KeyError, ValueError):
        return
    yield skew(name, now - said)


def skew(name: str, seconds: float) -> Finding:
    """Of this host, ahead of another's."""
    if abs(seconds) <= TOLERATED:
        return Finding(Check.CLOCK, Severity.OK, name, f"{seconds:+.0f} s apart")
    severity = Severity.FAULT if abs(seconds) > REFUSED else Severity.WARNING
    text = f"this host's clock is {abs(seconds):.0f} s {'ahead' if seconds > 0 else 'behind'}"
    return Finding(Check.CLOCK, severity, name, text, "run a time service on both hosts")


def against_records(topic: str, stamps: Iterable[int | None], now: int) -> Iterator[Finding]:
    """Timestamps (ms UTC) of some of the newest records: none may lie ahead of us."""
    known = [stamp for stamp in stamps if stamp is not None]
    if not known:
        return
    ahead = (max(known) - now) / 1000
    if ahead > TOLERATED:
        text = f"a record's timestamp is {ahead:.0f} s ahead of this host's clock"
        remedy = "correct the producer's clock, or this host's: time lag and retention go by it"
        yield Finding(Check.CLOCK, Severity.WARNING, f"topic {topic}", text, remedy)
    else:
        yield Finding(Check.CLOCK, Severity.OK, f"topic {topic}", "no record is ahead of us")
