"""Batches keep to a latency budget: told times, no clock, no worker."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from workers.enrich.policy import Effort
from workers.stream.pace import FEWEST, WHOLE, LineState, PaceState, Plan
from workers.topology import Latency

LARGEST = 4000
ALL = ["rows", "reasons", "shadow", "fallback"]
Cost = Callable[[int, Plan], float]


def pace(degrade: list[str], **budget: Any) -> PaceState:
    """A budget of 20 ms to score and 20 ms to publish."""
    told = {"wait": "20ms", "score": "20ms", "publish": "20ms", "degrade": degrade, **budget}
    return PaceState(Latency.model_validate(told), LARGEST)


def play(found: PaceState, cost: Cost, batches: int, publish: float = 0.001) -> list[Plan]:
    """Full batches, each costing what `cost` says, with noise; the plan of each."""
    rng, plans = random.Random(7), []
    for _ in range(batches):
        rows = found.limit
        plan = found.plan(rows)
        seconds = cost(rows, plan) * rng.uniform(0.9, 1.1)
        found.scored(rows, plan, seconds)
        found.settled(rows, {"wait": 0.001, "score": seconds, "publish": publish})
        plans.append(plan)
    return plans


def linear(fixed: float, row: float) -> Cost:
    """The same for every plan."""
    return lambda rows, _: fixed + row * rows


def test_the_line_is_the_one_that_was_measured() -> None:
    """Fixed and by row, from batches of several sizes."""
    line = LineState()
    for rows in (100, 4000, 900, 2500, 30):
        line.learn(rows, 0.003 + 8e-6 * rows)

    fixed, row = line.terms

    assert fixed == pytest.approx(0.003)
    assert row == pytest.approx(8e-6)
    assert line.within(0.019) == pytest.approx(2000)
    assert line.within(0.002) == 0


@pytest.mark.parametrize("latency", [None, ALL])
def test_what_fits_is_left_alone(latency: list[str] | None) -> None:
    """Without a budget, or well within it: whole batches with everything."""
    found = PaceState(None, LARGEST) if latency is None else pace(latency)

    plans = play(found, linear(0.002, 1e-6), 50)

    assert set(plans) == {WHOLE}
    assert found.limit == LARGEST
    assert not found.given_up
    assert not found.breaches


def test_batches_shrink_to_what_there_is_time_for_and_grow_again() -> None:
    """8 us a row and 3 ms a batch: 2,125 rows in 20 ms; later the machine is fast again."""
    found = pace(["rows"])

    play(found, linear(0.003, 8e-6), 200)
    shrunk = found.limit
    before = found.breaches.total()
    play(found, linear(0.003, 8e-6), 200)
    late = found.breaches.total() - before
    play(found, linear(0.001, 1e-6), 200)

    assert 1500 <= shrunk <= 2700
    assert late == 0
    assert found.limit == LARGEST
    assert set(found.given_up) == {"rows"}


def test_a_slow_first_batch_is_forgotten() -> None:
    """Caches are cold then: the batches after it are not small for ever."""
    found = pace(["rows"])
    play(found, linear(0.5, 0.0), 1)
    small = found.limit

    play(found, linear(0.002, 4e-6), 100)

    assert small < 1000
    assert found.limit == LARGEST


def test_the_publish_has_its_own_part() -> None:
    """A slow broker makes batches smaller too."""
    found = pace(["rows"])
    for rows in (4000, 2000, 1000, 500) * 10:
        found.settled(rows, {"wait": 0, "score": 0, "publish": 20e-6 * rows})

    assert 900 <= found.limit <= 1100


def costly_reasons(rows: int, plan: Plan) -> float:
    """A millisecond a row with reasons, 2 us without."""
    return 0.001 + rows * (0.001 + 2e-6 if plan.effort.reasons else 2e-6)


def test_rows_are_given_up_before_reasons_while_a_few_fit() -> None:
    """19 rows with reasons in 20 ms are more than the fewest."""
    found = pace(["rows", "reasons"])

    plans = play(found, costly_reasons, 300)

    assert plans[-1] == WHOLE
    assert FEWEST <= found.limit <= 25


def test_reasons_are_given_up_where_rows_may_not_be_and_tried_again() -> None:
    """Whole batches without them; when there is time again, they are back."""
    found = pace(["reasons"])

    slow = play(found, costly_reasons, 50)
    fast = play(found, linear(0.001, 2e-6), 2000)

    assert slow[1:] == [Plan(Effort(reasons=False))] * 49
    assert found.given_up["reasons"] >= 49
    assert fast[-1] == WHOLE


def test_the_model_is_given_up_last_and_only_where_that_is_declared() -> None:
    """30 ms a batch whatever is left out, 1 ms without the model."""

    def cost(_: int, plan: Plan) -> float:
        return 0.03 if plan.effort.model else 0.001

    declared, other = pace(ALL), pace(ALL[:3])
    plans, others = play(declared, cost, 60), play(other, cost, 60)

    without = Plan(Effort(reasons=False))
    assert list(dict.fromkeys(plans))[:3] == [WHOLE, without, replace(without, shadow=False)]
    assert sum(not plan.effort.model for plan in plans[20:]) > 35
    assert all(plan.effort.model for plan in others)
    assert other.breaches.total() == 0
    assert declared.given_up["fallback"] > 30
    assert declared.limit == LARGEST


def test_breaches_are_counted_by_what_caused_them() -> None:
    """The stage that went furthest over its part; a batch within the whole is none."""
    found = pace(["rows"])
    found.settled(10, {"wait": 0.03, "score": 0.01, "publish": 0.01})
    found.settled(10, {"wait": 0.01, "score": 0.01, "publish": 0.09})
    found.settled(10, {"wait": 0.02, "score": 0.05, "publish": 0.01})
    found.settled(0, {"wait": 9, "score": 9, "publish": 9})

    assert found.breaches == {"publish": 1, "score": 1}
