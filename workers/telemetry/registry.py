"""The numbers of one process, by name and attributes; all that is exported is read from here.

Plain numbers under one lock. Who counts adds once a batch, never once a record: OpenTelemetry's
instruments have no way to take many values of a histogram at once, and both a collector and
Prometheus are to see the same ones.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workers.telemetry.kinds import Metric
from workers.telemetry.names import FAULTS

Values = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """A histogram: `counts` up to each of the metric's bounds, and beyond the last."""

    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """How many values."""
        return sum(self.counts)


Sample = tuple[Metric, Values, float | Spread]
"""A metric, the values of its attributes in their order, and its number, or a histogram's."""
Watch = Callable[[], Iterable[Sample]]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with all its series."""

    metric: Metric
    numbers: dict[Values, float]
    spreads: dict[Values, Spread]


@dataclass(slots=True)
class _SpreadState:
    counts: npt.NDArray[np.int64]
    total: float = 0.0


class Registry:
    """Counts; and is read, from any thread."""

    def __init__(self) -> None:
        """Nothing is counted yet, so there is no series yet."""
        self._lock = threading.Lock()
        self._numbers: dict[Metric, dict[Values, float]] = {}
        self._spreads: dict[Metric, dict[Values, _SpreadState]] = {}
        self._watches: list[Watch] = []
        self._arrays: dict[Metric, npt.NDArray[np.float64]] = {}

    def add(self, metric: Metric, number: float, *values: str) -> None:
        """So many more.

        Raises:
            ValueError: an attribute may not have this value.
        """
        with self._lock:
            series = self._numbers.get(metric)
            if series is None or values not in series:
                held = _held(metric, values)
                series = self._numbers.setdefault(metric, {})
                series[held] = 0
            series[values] += number

    def record(self, metric: Metric, number: float, *values: str) -> None:
        """One value of a histogram.

        Raises:
            ValueError: an attribute may not have this value.
        """
        self.record_all(metric, (number,), *values)

    def record_all(self, metric: Metric, numbers: Iterable[float], *values: str) -> None:
        """A few values of a histogram; of many, `spread` makes less work.

        Raises:
            ValueError: an attribute may not have this value.
        """
        with self._lock:
            state = self._spread(metric, values)
            for number in numbers:
                state.counts[bisect_left(metric.bounds, number)] += 1
                state.total += number

    def spread(self, metric: Metric, numbers: npt.NDArray[np.float64], *values: str) -> None:
        """Many values of a histogram; none of them NaN or infinite.

        Raises:
            ValueError: an attribute may not have this value.
        """
        places = np.searchsorted(self._bounds(metric), numbers)
        counts = np.bincount(places, minlength=len(metric.bounds) + 1)
        total = float(numbers.sum())
        with self._lock:
            state = self._spread(metric, values)
            state.counts += counts
            state.total += total

    def watch(self, watch: Watch) -> None:
        """Numbers that are asked for when somebody looks: gauges, and what is counted elsewhere.

        Called by the threads of those who look; a watch that fails is left out and counted.
        """
        self._watches.append(watch)

    def collect(self) -> list[Family]:
        """All that is counted, by name."""
        found: dict[Metric, Family] = {}
        for metric, values, number in self._watched():
            family = found.setdefault(metric, Family(metric, {}, {}))
            if isinstance(number, Spread):
                family.spreads[values] = number
            else:
                family.numbers[values] = number
        with self._lock:
            for metric, series in self._numbers.items():
                found.setdefault(metric, Family(metric, {}, {})).numbers.update(series)
            for metric, spreads in self._spreads.items():
                family = found.setdefault(metric, Family(metric, {}, {}))
                for values, state in spreads.items():
                    family.spreads[values] = Spread(tuple(state.counts.tolist()), state.total)
        return sorted(found.values(), key=lambda family: family.metric.name)

    def _spread(self, metric: Metric, values: Values) -> _SpreadState:
        series = self._spreads.get(metric)
        if series is None or values not in series:
            held = _held(metric, values)
            series = self._spreads.setdefault(metric, {})
            series[held] = _SpreadState(np.zeros(len(metric.bounds) + 1, dtype=np.int64))
        return series[values]

    def _bounds(self, metric: Metric) -> npt.NDArray[np.float64]:
        """As an array, made once."""
        if metric not in self._arrays:
            self._arrays[metric] = np.asarray(metric.bounds, dtype=np.float64)
        return self._arrays[metric]

    def _watched(self) -> list[Sample]:
        found = list[Sample]()
        for watch in self._watches:
            try:
                samples = list(watch())
                for metric, values, _ in samples:
                    _held(metric, values)
            except Exception:  # noqa: BLE001  one number less is better than none
                self.add(FAULTS, 1)
                continue
            found.extend(samples)
        return found


def _held(metric: Metric, values: Values) -> Values:
    """The values, if the metric may have them.

    Raises:
        ValueError: it may not.
    """
    if len(values) != len(metric.attributes):
        raise ValueError(f"{metric.name} has {len(metric.attributes)} attributes")
    for attribute, value in zip(metric.attributes, values, strict=True):
        if attribute.values and value not in attribute.values:
            raise ValueError(f"{metric.name}: {attribute.name} may not be {value!r}")
    return values
