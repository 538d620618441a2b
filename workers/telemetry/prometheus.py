"""The registry as Prometheus reads it: text format 0.0.4.

Written here, and not by `prometheus-client`: that has a registry of its own, and two registries
would be two sets of numbers. Its parser reads this in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate

from workers.telemetry.attributes import DOOR, WORKER
from workers.telemetry.kinds import Kind, Metric
from workers.telemetry.registry import Family, Registry, Values

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Rendering:
    """What `/metrics` answers."""

    def __init__(self, registries: Mapping[str, Registry], door: str = "") -> None:
        """Registries by worker, whose name is on every series; so is `door`, if there is one."""
        self._registries = registries
        self._door = {DOOR.label: door} if door else {}

    def __call__(self) -> bytes:
        """The answer, of type `CONTENT_TYPE`. From any thread; never raises."""
        found: dict[Metric, list[str]] = {}
        for worker, registry in self._registries.items():
            given = {WORKER.label: worker, **self._door}
            for family in registry.collect():
                found.setdefault(family.metric, []).extend(_samples(family, given))
        lines = [
            line
            for metric in sorted(found, key=lambda metric: metric.name)
            for line in (*_head(metric), *found[metric])
        ]
        return "".join(f"{line}\n" for line in lines).encode()


def _head(metric: Metric) -> tuple[str, str]:
    name = metric.prometheus
    return f"# HELP {name} {_help(metric.help)}", f"# TYPE {name} {metric.kind}"


def _samples(family: Family, given: Mapping[str, str]) -> Iterator[str]:
    metric = family.metric
    name = metric.prometheus
    for values, number in sorted(family.numbers.items()):
        yield f"{name}{_labels(metric, values, given)} {_number(number)}"
    if metric.kind is not Kind.HISTOGRAM:
        return
    for values, spread in sorted(family.spreads.items()):
        bounds = [*map(_number, metric.bounds), "+Inf"]
        for bound, count in zip(bounds, accumulate(spread.counts), strict=True):
            yield f"{name}_bucket{_labels(metric, values, given, {'le': bound})} {count}"
        labels = _labels(metric, values, given)
        yield f"{name}_sum{labels} {_number(spread.total)}"
        yield f"{name}_count{labels} {spread.count}"


def _labels(
    metric: Metric,
    values: Values,
    given: Mapping[str, str],
    more: Mapping[str, str] | None = None,
) -> str:
    own = zip((attribute.label for attribute in metric.attributes), values, strict=True)
    pairs = {**given, **dict(own), **(more or {})}
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    return str(int(number)) if number == int(number) else repr(float(number))
