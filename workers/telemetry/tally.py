"""Histograms that one thread fills, value by value: plain numbers, and no lock."""

from __future__ import annotations

from bisect import bisect_left

from workers.telemetry.kinds import Metric
from workers.telemetry.registry import Spread


class Tally:
    """A series of a histogram. One thread notes; anybody looks."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, metric: Metric) -> None:
        """Nothing yet."""
        self._bounds = metric.bounds
        self._counts = [0] * (len(metric.bounds) + 1)
        self._total = 0.0

    def note(self, number: float) -> None:
        """One value."""
        self._counts[bisect_left(self._bounds, number)] += 1
        self._total += number

    @property
    def spread(self) -> Spread:
        """As it is now."""
        return Spread(tuple(self._counts), self._total)
