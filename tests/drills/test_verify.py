"""A verifier that is given a broken promise says so: each check can fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from workers.drills import badmodel, brokerloss, kill, poison, rebalance, registrydown
from workers.drills.report import (
    Check,
    DrillReport,
    Mark,
    Question,
    check,
    drill_text,
    questions_text,
)
from workers.drills.verify import (
    Outcome,
    bytes_kept,
    dead_letters_are,
    each_once,
    offsets_at_end,
    order_per_key,
)
from workers.testing import OutRecord

INPUTS = [
    OutRecord("in", p, o, b"k%d" % p, b"\x00\x00\x00\x00\x01event%d" % o, [("h", b"1")], (1, 5))
    for p in range(2)
    for o in range(3)
]
REASON = ("__workers.code", b"malformed")


def enriched(record: OutRecord, **changes: Any) -> Outcome:
    """It came out with a block behind it."""
    out = replace(record, topic="out", value=(record.value or b"") + b"block", **changes)
    return Outcome((record.partition, record.offset), out, {"score": 0.5})


def dead(record: OutRecord, **changes: Any) -> Outcome:
    """It came out as a dead letter."""
    headers = [*record.headers, REASON]
    out = replace(record, **{"topic": "dlq", "headers": headers, **changes})
    return Outcome((record.partition, record.offset), out, None)


GOOD = [enriched(record) for record in INPUTS]
ONE_DEAD = [dead(INPUTS[0]), *GOOD[1:]]
BAD = [(0, 0)]


def test_what_holds_passes() -> None:
    """So that what fails below fails for its reason."""
    assert {each_once(INPUTS, found).mark for found in (GOOD, ONE_DEAD)} == {Mark.PASS}
    assert each_once(INPUTS, [*GOOD, GOOD[0]], 1).mark is Mark.PASS
    assert each_once(INPUTS, [*GOOD, *GOOD], None).mark is Mark.PASS
    assert order_per_key(INPUTS, [*GOOD, GOOD[0]]).mark is Mark.PASS
    assert dead_letters_are(INPUTS, ONE_DEAD, BAD).mark is Mark.PASS
    assert bytes_kept(INPUTS, GOOD).mark is Mark.PASS
    assert offsets_at_end({0: 3, 1: 3, 2: 0}, INPUTS).mark is Mark.PASS
    assert offsets_at_end(None, INPUTS).mark is Mark.NOT_SHOWN


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (each_once(INPUTS, GOOD[1:]), "1 lost, 0 twice, 1 missing"),
        (each_once(INPUTS, GOOD[1:], None), "1 lost"),
        (each_once(INPUTS, [*GOOD, GOOD[0]]), "1 twice"),
        (each_once(INPUTS, [*GOOD, GOOD[0], GOOD[1]], 1), "2 twice"),
        (each_once(INPUTS[1:], GOOD), "that nobody sent"),
        (each_once(INPUTS, [*GOOD, dead(INPUTS[0])], 9), "enriched and dead letter"),
        (order_per_key(INPUTS, [GOOD[1], GOOD[0], *GOOD[2:]]), "1 out of order"),
        (order_per_key(INPUTS, [enriched(INPUTS[0], partition=7), *GOOD[1:]]), "1 over several"),
        (dead_letters_are(INPUTS, GOOD, BAD), "1 wrongly"),
        (dead_letters_are(INPUTS, ONE_DEAD, []), "1 wrongly"),
        (dead_letters_are(INPUTS, [dead(INPUTS[0], value=b"?")], BAD), "1 changed"),
        (dead_letters_are(INPUTS, [dead(INPUTS[0], key=None)], BAD), "1 changed"),
        (dead_letters_are(INPUTS, [dead(INPUTS[0], timestamp=(1, 6))], BAD), "1 changed"),
        (dead_letters_are(INPUTS, [dead(INPUTS[0], headers=[REASON])], BAD), "1 changed"),
        (dead_letters_are(INPUTS, [dead(INPUTS[0], headers=[("h", b"1")])], BAD), ""),
        (bytes_kept(INPUTS, [enriched(replace(INPUTS[0], value=b"12345other"))]), "1 changed"),
        (offsets_at_end({0: 3, 1: 2}, INPUTS), "behind by {1: 1}"),
        (offsets_at_end({}, INPUTS), "behind by"),
    ],
)
def test_a_broken_promise_fails(broken: Check, says: str) -> None:
    """Lost, doubled, moved, changed, blamed, behind."""
    assert broken.mark is Mark.FAIL
    assert says in broken.seen


OPENED = {"partition": 0, "why": "over 20 dead letters in a row with decode:malformed"}
BYPASSED = {"fallback": True, "fallback_reason": "bypassed", "score": None}
SCORED = {"fallback": False, "fallback_reason": None, "score": 0.5}


@pytest.mark.parametrize(
    ("holds", "broken"),
    [
        (
            poison.held_and_tried(20, OPENED, went_on=True, probes=2),
            [
                *poison.held_and_tried(60, OPENED, went_on=True, probes=2)[:1],
                *poison.held_and_tried(20, {**OPENED, "partition": 1}, went_on=True, probes=2)[1:2],
                *poison.held_and_tried(20, OPENED, went_on=False, probes=2)[2:],
                *poison.held_and_tried(20, OPENED, went_on=True, probes=0)[2:],
            ],
        ),
        ([poison.not_held_up([5] * 1000)], [poison.not_held_up([5] * 980 + [11_000] * 20)]),
        (
            [badmodel.reached("it", 0, 9.9)],
            [badmodel.reached("it", 0, 10.1), badmodel.reached("it", 5, 1.0)],
        ),
        (
            [badmodel.goes_on([{"model_version": "1"}], "1", runs=True)],
            [
                badmodel.goes_on([{"model_version": "1"}], "1", runs=False),
                badmodel.goes_on([{"model_version": "1"}, {"model_version": "2"}], "1", runs=True),
                badmodel.goes_on([], "1", runs=True),
            ],
        ),
        (
            [badmodel.flagged([BYPASSED] * 3, 3)],
            [
                badmodel.flagged([BYPASSED, BYPASSED, SCORED], 3),
                badmodel.flagged([BYPASSED], 3),
                badmodel.flagged([{**BYPASSED, "fallback_reason": "over_budget"}], 1),
                badmodel.flagged([{**BYPASSED, "score": 0.1}], 1),
            ],
        ),
        (
            [kill.back_at_work([1.0] * kill.KILLS)],
            [kill.back_at_work([1.0]), kill.back_at_work([1.0, 61.0, 1.0])],
        ),
        (
            rebalance.shared({"a": 2, "b": 1}, 3),
            [rebalance.shared({"a": 3, "b": 0}, 3)[0], rebalance.shared({"a": 2, "b": 1}, 4)[1]],
        ),
        (
            [registrydown.only_one_waits(GOOD, 6)],
            [
                registrydown.only_one_waits(GOOD[1:], 6),
                registrydown.only_one_waits(ONE_DEAD, 6),
                registrydown.only_one_waits(GOOD, 5),
            ],
        ),
        (
            [
                brokerloss.waits(GOOD, ran_on=True),
                brokerloss.comes_back(5.0),
                brokerloss.noticed([{"event": "kafka.unwell", "why": "refused"}]),
            ],
            [
                brokerloss.waits(GOOD, ran_on=False),
                brokerloss.waits(ONE_DEAD, ran_on=True),
                brokerloss.comes_back(61.0),
                brokerloss.noticed([]),
            ],
        ),
    ],
)
def test_what_each_drill_looks_at_can_fail(holds: list[Check], broken: list[Check]) -> None:
    """A flood, a wait, a wrong model, a late rollback, an unsaid outage."""
    assert [each.mark for each in holds] == [Mark.PASS] * len(holds)
    assert [each.mark for each in broken] == [Mark.FAIL] * len(broken)


def test_a_report_reads_as_what_happened() -> None:
    """One failure fails the drill and the question it touches, and no other."""
    fails = check("it is quick", "it was slow", Question.LATENCY, held=False)
    passes = check("nothing is lost", "0 lost", held=True)
    unseen = Check("offsets", "not kept here", Mark.NOT_SHOWN)
    made = DrillReport("kill", "a title", "a broker", ("a setting",), ("a step",), (), 1.0)
    good = replace(made, checks=(passes, unseen))
    bad = replace(made, name="poison", checks=(fails, passes))

    assert (good.mark, bad.mark) == (Mark.PASS, Mark.FAIL)
    assert "kill: PASS (1 not shown) in 1 s" in drill_text(good)
    assert "FAIL       it is quick\n             seen: it was slow" in drill_text(bad)
    lines = questions_text([good, bad]).splitlines()
    assert "PASS (1 not shown)" in lines[1]
    assert "poison FAIL" in lines[2]
    assert "no drill of these" in lines[5]
