"""A rolling upgrade: what builds before this one wrote, said and agreed on still holds.

`golden/0.1.0.json` was written by that build and is never changed; a build that must break with it
gets a file of its own, and a note for those who upgrade.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workers.enrich.batch import Batch, Rejection
from workers.errors import Code, Reject
from workers.stream.clients import consumer_config, producer_config
from workers.stream.clock import SystemClock
from workers.stream.crashes import CrashGuard
from workers.stream.deadletters import Origin, dead_letter
from workers.stream.journal import Journal
from workers.topology import Topology
from workers.wiring import pick

GOLDEN = Path(__file__).parent / "golden" / "0.1.0.json"
AGREED = ("group.id", "group.instance.id", "partition.assignment.strategy", "group.protocol")
"""Members of a group, old and new, must have the same (or the broker refuses the newcomer)."""


def golden() -> dict[str, Any]:
    """What version 0.1.0 wrote."""
    found: dict[str, Any] = json.loads(GOLDEN.read_text())
    return found


def headers() -> dict[str, str]:
    """Of a dead letter with everything that one may have."""
    origin = Origin(topic="dlq", worker="w", instance="i.0", build="0.1.0", model="m", limit=10_000)
    batch = Batch("flights", 1_700_000_000_000, [b"k"], [b"v"], [None], [3], [41], [(1, 7)])
    reject = Rejection(Reject(Code.MALFORMED, "no end"), "decode", 101, "1")
    found = dead_letter(origin, batch, 0, reject, 2)[3] or []
    return {name: (content or b"").decode() for name, content in found}


def identities(topology: Topology) -> dict[str, Any]:
    """How a worker names itself to the group and to the transaction coordinator."""
    plain = pick(topology, None)
    worker = plain.model_copy(update={"static_membership": True, "instance": "host-1"})
    consumer = consumer_config(topology.broker, worker, 2)
    producer = producer_config(topology.broker, worker, 2)
    agreed = {name: consumer.get(name) for name in AGREED}
    return {**agreed, "transactional.id": producer["transactional.id"]}


def test_readers_of_dead_letters_find_what_they_found() -> None:
    """Every header of the older build is there, with the same text; more may have come."""
    now = headers()

    assert {name: now.get(name) for name in golden()["dead_letter"]} == golden()["dead_letter"]


def test_old_and_new_members_are_of_one_group(topology: Topology) -> None:
    """The same strategy and names: a restart as the new build takes the old one's place."""
    assert identities(topology) == golden()["identities"]


def test_notes_of_the_older_build_find_the_record_that_ended_it(tmp_path: Path) -> None:
    """It ended alone in an offset, once before: that is the second time, and the last."""
    file = tmp_path / "w.0.json"
    file.write_text(golden()["notes"])
    enriched: list[int] = []

    def enrich(batch: Batch, _: Any) -> Any:
        enriched.extend(batch.offsets)
        raise AssertionError("only what is not condemned comes here")

    guard = CrashGuard(file, "flights", enrich, Journal(SystemClock()))
    batch = Batch("flights", 0, [b"k"], [b"v"], [None], [3], [41], [(1, 7)])
    condemned = guard._condemned(batch)
    guard.close()

    assert [rejection.reject.code for rejection in condemned.values()] == ["process_ended"]
    assert enriched == []
