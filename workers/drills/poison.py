"""Hostile and malformed records between good ones, then so many that the breaker opens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from workers.contracts.framing import frame
from workers.drills.changes import Changes
from workers.drills.ground import AnyBroker
from workers.drills.process import Line
from workers.drills.promises import budget, counted, drained, promises
from workers.drills.report import Check, Question, check
from workers.drills.setup import Setup
from workers.drills.stage import PARTITIONS, Say, Stage
from workers.drills.verify import Origin, percentiles
from workers.testing import Sent
from workers.topology import Unframed

TITLE = "bad records between good ones; then so many that the partition is held"
LIMIT = 20
PROBE = 30
AGAIN = 2
BREAKER = {"consecutive": LIMIT, "share": 0.5, "window": 1000, "probe": PROBE, "again": f"{AGAIN}s"}
IN_A_ROW = 60
BEHIND = 40
ROUNDS = 60
SOON = 10.0
"""Seconds within which a good record comes out although bad ones are before it."""
HOSTILE: list[tuple[str, bytes | None]] = [
    ("bin", b"\x00\xff\xfe"),
    ("none", None),
    ("twice", b"1"),
    ("twice", b"2"),
    ("", b""),
]


def play(setup: Setup, broker: AnyBroker, say: Say) -> Stage:
    """Run the drill."""
    changed: dict[str, Any] = {} if setup.worker.breaker is None else {"breaker": BREAKER}
    said = tuple(f"breaker: {LIMIT} in a row, probes of {PROBE} after {AGAIN} s" for _ in changed)
    with Stage(setup, broker, say, Changes(worker=changed, said=said)) as stage:
        process = stage.start()
        stage.ready(process)
        bad = _between(stage)
        if setup.worker.breaker is not None:
            bad |= _in_a_row(stage)
        drained(stage)
        promises(stage, bad=bad)
        stage.checks += [counted(stage), budget(stage)]
    return stage


def pills(setup: Setup) -> dict[str, bytes]:
    """Values that no worker can enrich, whatever the contract."""
    good = setup.events[0]
    prefix, datum = good[:5], good[5:]
    other = setup.catalogue.versions(setup.worker.output.subject)
    framed = {
        "cut short": good[:-1],
        "a byte too many": good + b"\x00",
        "framed, and nothing behind it": prefix,
        "a schema id that nobody registered": frame(2**32 - 2) + datum,
        "another subject's schema id": other[max(other)].frame + datum,
    }
    unframed = {
        "JSON": b'{"json": true}',
        "one zero byte": b"\x00",
        "no bytes at all": b"",
        "noise": bytes(range(255, 0, -1)),
    }
    return framed if setup.worker.unframed is Unframed.DROP else framed | unframed


def _between(stage: Stage) -> set[Origin]:
    """Good records at a steady pace, each kind of bad one among them."""
    kinds = pills(stage.setup)
    stage.do(
        f"{ROUNDS * 10} good records over {PARTITIONS} partitions, and among them {len(kinds)} bad "
        f"ones with hostile headers: {', '.join(kinds)}"
    )
    waiting = list(kinds.values())
    for _ in range(ROUNDS):
        records = stage.good(10)
        if waiting:
            records.insert(5, Sent(waiting.pop(), b"bad", HOSTILE, timestamp=stage.clock.now()))
        stage.send(records)
        stage.read(0.03)
    stage.all_out()
    took = [
        arrived - each.record.timestamp[1]
        for arrived, each in zip(stage.arrived, stage.outcomes, strict=True)
        if each.block is not None
    ]
    stage.checks.append(not_held_up(took))
    return {(record.partition, record.offset) for record in stage.inputs() if record.key == b"bad"}


def _in_a_row(stage: Stage) -> set[Origin]:
    """More bad ones in a row than the breaker allows, good ones behind and beside them."""
    process = stage.processes[-1]
    stage.do(
        f"{IN_A_ROW} bad records in a row in partition 0, {BEHIND} good ones behind them, and as "
        f"many in each other partition; the breaker allows {LIMIT} in a row"
    )
    before = len(stage.outcomes)
    cut, now = pills(stage.setup)["cut short"], stage.clock.now()
    flood = [Sent(cut, b"flood", timestamp=now, partition=0)] * IN_A_ROW
    beside = [
        replace(record, key=b"beside-%d" % partition, partition=partition)
        for partition in range(PARTITIONS)
        for record in stage.good(BEHIND)
    ]
    stage.send([*flood, *beside])
    stage.until("the breaker to open", lambda: bool(process.said("partition.breaker_open")))
    stage.until(
        "the other partitions to go on",
        lambda: (
            sum(b"beside" in (e.record.key or b"") for e in stage.outcomes[before:])
            >= (PARTITIONS - 1) * BEHIND
        ),
    )
    at_once = sum(each.block is None for each in stage.outcomes[before:])
    opened = process.said("partition.breaker_open")
    stage.all_out()
    closed = process.said("partition.breaker_closed", partition=0)
    probes = len(process.said("partition.probing", partition=0))
    stage.checks += held_and_tried(at_once, opened[0], went_on=bool(closed), probes=probes)
    return {
        (record.partition, record.offset) for record in stage.inputs() if record.key == b"flood"
    }


def held_and_tried(at_once: int, opened: Line, *, went_on: bool, probes: int) -> list[Check]:
    """What the breaker did: dead letters before it held, its log line, and what followed."""
    partition, cause = opened["partition"], opened["why"]
    return [
        check(
            "past the limit that partition is held and the others go on: no flood of dead letters",
            f"held with {at_once} dead letters of {IN_A_ROW} written, while the good records of "
            f"{PARTITIONS - 1} other partitions came out",
            held=at_once <= LIMIT,
        ),
        check(
            "the log names partition and cause",
            f"partition.breaker_open, partition {partition}: {cause}",
            Question.SEEN,
            held=partition == 0 and "decode" in cause,
        ),
        check(
            "the partition is tried again with a few records, and goes on by itself",
            f"{probes} probes of {PROBE} records, then it "
            + ("went on" if went_on else "was still held"),
            held=went_on and probes > 0,
        ),
    ]


def not_held_up(milliseconds: Sequence[int]) -> Check:
    """How long good records took to come out with bad ones among them."""
    median, high = percentiles(milliseconds)
    return check(
        f"good records are not held up by bad ones: 99 of 100 come out within {SOON:g} s",
        f"half within {median:.2f} s, 99 of 100 within {high:.2f} s, by this reader's clock",
        Question.FAILURE,
        Question.LATENCY,
        held=high <= SOON,
    )
