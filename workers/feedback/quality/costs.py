"""What decisions cost, and which thresholds cost least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workers.feedback.quality.measures import Measure, Values, weighted_mean
from workers.models.bundle import Band, Decisions
from workers.topology import Cost

Names = npt.NDArray[np.object_]


def mean_cost(
    costs: Mapping[str, Cost], decisions: Names, labels: Values, weights: Values | None = None
) -> Measure:
    """Mean cost of these decisions; those that no cost is declared for are left out."""
    priced = np.array([name in costs for name in decisions.tolist()], dtype=bool)
    names, happened = decisions[priced], labels[priced]
    each = np.zeros(len(names))
    for name, cost in costs.items():
        mine = names == name
        each[mine] = np.where(happened[mine] == 1, cost.positive, cost.negative)
    return weighted_mean(each, None if weights is None else weights[priced])


def cheapest_bands(costs: Mapping[str, Cost], fallback: str) -> Decisions | None:
    """From which calibrated score on which decision costs least; None where nothing is declared.

    Of a row with score p a decision costs p·positive + (1 - p)·negative: a line over p. The lowest
    of the lines changes at most once from each to each.
    """
    if not costs:
        return None
    lines = {name: (cost.negative, cost.positive - cost.negative) for name, cost in costs.items()}
    bands, at, current = list[Band](), 0.0, min(lines, key=lambda n: (lines[n][0], lines[n][1], n))
    bands.append(Band(since=0.0, decision=current))
    while (found := _next(lines, current, at)) is not None:
        at, current = found
        bands.append(Band(since=at, decision=current))
    known = {band.decision for band in bands}
    return Decisions(bands=tuple(bands), fallback=fallback if fallback in costs else max(known))


def _next(
    lines: Mapping[str, tuple[float, float]], current: str, at: float
) -> tuple[float, str] | None:
    """The nearest score above `at` from which another decision costs less than this one."""
    start, slope = lines[current]
    crossings = [
        ((other_start - start) / (slope - other_slope), other_slope, name)
        for name, (other_start, other_slope) in lines.items()
        if other_slope < slope
    ]
    ahead = [each for each in crossings if at < each[0] < 1]
    if not ahead:
        return None
    # Of those that cross at one score the flattest is the lowest after it.
    where, _, name = min(ahead)
    return where, name


@dataclass(frozen=True, slots=True)
class Threshold:
    """Deciding "yes" from a score on: how many, and how often that is right."""

    since: float
    share: float
    precision: float
    recall: float
    lift: float


def thresholds(
    labels: Values, scores: Values, at: Sequence[float], weights: Values | None = None
) -> list[Threshold]:
    """A row for each score of `at`; lift is precision over the share that happens anyway."""
    weigh = np.ones(len(labels)) if weights is None else weights
    whole, happened = float(weigh.sum()), float(weigh @ labels)
    base = happened / whole if whole else 0.0
    found = []
    for since in at:
        taken = scores >= since
        count, hits = float(weigh[taken].sum()), float(weigh[taken] @ labels[taken])
        precision = hits / count if count else float("nan")
        recall = hits / happened if happened else float("nan")
        lift = precision / base if base and count else float("nan")
        share = count / whole if whole else float("nan")
        found.append(Threshold(since, share, precision, recall, lift))
    return found
