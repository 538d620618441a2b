"""Batches that keep to a latency budget: how many rows, and what is left out.

What a stage will take is estimated from what it took: a line through the batches so far, seconds
over rows, older ones counting less. It needs no clock of its own; the loop tells it times.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from workers.enrich.policy import FULL, Effort
from workers.topology import Degrade, Latency

FORGET = 0.9
"""What a batch still counts once the next one is there."""
FEWEST = 16
"""Rows below which a batch gets no smaller: its fixed cost would be all of it."""
HOPE = 0.995
"""What was not tried this time is thought a little cheaper, so that it is tried again."""


@dataclass(slots=True)
class LineState:
    """Seconds over rows: least squares with exponential forgetting; both terms at least 0."""

    weight: float = 0.0
    rows: float = 0.0
    seconds: float = 0.0
    squares: float = 0.0
    products: float = 0.0

    def learn(self, rows: int, seconds: float) -> None:
        """A batch of so many rows took so long."""
        self.weight = self.weight * FORGET + 1
        self.rows = self.rows * FORGET + rows
        self.seconds = self.seconds * FORGET + seconds
        self.squares = self.squares * FORGET + rows * rows
        self.products = self.products * FORGET + rows * seconds

    def hope(self) -> None:
        """Not tried: a little cheaper than it was."""
        self.seconds *= HOPE
        self.products *= HOPE

    @property
    def terms(self) -> tuple[float, float]:
        """Seconds a batch, and seconds a row."""
        if not self.weight or not self.rows:
            return 0.0, 0.0
        spread = self.squares - self.rows**2 / self.weight
        if spread <= 1e-6 * self.squares:
            # All of one size: that the cost is all by row is the careful answer for larger ones.
            return 0.0, self.seconds / self.rows
        slope = (self.products - self.rows * self.seconds / self.weight) / spread
        slope = min(max(slope, 0.0), self.seconds / self.rows)
        return (self.seconds - slope * self.rows) / self.weight, slope

    def of(self, rows: int) -> float:
        """Seconds that so many rows will take."""
        fixed, each = self.terms
        return fixed + each * rows

    def within(self, seconds: float) -> float:
        """Rows that fit; infinite where they cost nothing."""
        fixed, each = self.terms
        if seconds <= fixed:
            return 0.0
        return (seconds - fixed) / each if each else math.inf


@dataclass(frozen=True, slots=True)
class Plan:
    """What a batch is given; with `shadow` the challenger sees it too."""

    effort: Effort = FULL
    shadow: bool = True


WHOLE = Plan()


@dataclass(slots=True)
class PaceState:
    """Keeps a worker's batches within its latency budget; without one it changes nothing.

    `given_up` counts batches by what they went without, `breaches` those that took longer than the
    whole budget all the same, by the stage that went furthest over its part.
    """

    latency: Latency | None
    largest: int
    given_up: Counter[str] = field(default_factory=Counter)
    breaches: Counter[str] = field(default_factory=Counter)
    _lines: dict[Plan, LineState] = field(default_factory=dict)
    _publish: LineState = field(default_factory=LineState)

    @property
    def limit(self) -> int:
        """Rows of the next batch at most: what the best plan has time for, that has for a few."""
        budget = self.latency
        if budget is None or Degrade.ROWS not in budget.degrade:
            return self.largest
        fits = [self._line(plan).within(budget.score) for plan in _plans(budget)]
        score = next((rows for rows in fits if rows >= FEWEST), FEWEST)
        rows = min(score, self._publish.within(budget.publish), self.largest)
        return max(min(FEWEST, self.largest), int(rows))

    def plan(self, rows: int) -> Plan:
        """What a batch of so many rows goes with, so that it is scored in time."""
        budget = self.latency
        if budget is None or not rows:
            return WHOLE
        if self.limit < self.largest:
            self.given_up[Degrade.ROWS] += 1
        chosen = WHOLE
        for chosen in _plans(budget):
            if self._line(chosen).of(rows) <= budget.score:
                break
        for given_up, step in (
            (not chosen.effort.reasons, Degrade.REASONS),
            (not chosen.shadow, Degrade.SHADOW),
            (not chosen.effort.model, Degrade.FALLBACK),
        ):
            if given_up:
                self.given_up[step] += 1
        return chosen

    def scored(self, rows: int, plan: Plan, seconds: float) -> None:
        """A batch was decoded, scored and encoded."""
        if self.latency is None or not rows:
            return
        self._line(plan).learn(rows, seconds)
        for other, line in self._lines.items():
            if other != plan:
                line.hope()

    def settled(self, rows: int, stages: Mapping[str, float]) -> None:
        """The broker has acknowledged a batch; `stages` has seconds of wait, score, publish."""
        budget = self.latency
        if budget is None or not rows:
            return
        self._publish.learn(rows, stages["publish"])
        if sum(stages.values()) > budget.total:
            over = {name: took / getattr(budget, name) for name, took in stages.items()}
            self.breaches[max(over, key=lambda name: over[name])] += 1

    def _line(self, plan: Plan) -> LineState:
        return self._lines.setdefault(plan, LineState())


def _plans(budget: Latency) -> list[Plan]:
    """From the best one down to the least that may be."""
    plans = [WHOLE]
    if Degrade.REASONS in budget.degrade:
        plans.append(replace(plans[-1], effort=Effort(reasons=False)))
    if Degrade.SHADOW in budget.degrade:
        plans.append(replace(plans[-1], shadow=False))
    if Degrade.FALLBACK in budget.degrade:
        plans.append(replace(plans[-1], effort=Effort(model=False, reasons=False)))
    return plans
