"""The registry as Prometheus reads it: text format 0.0.4.

Written here, and not by `prometheus-client`: that has a registry of its own, and two registries
would be two sets of numbers. Its parser reads this in the tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate

from workers.telemetry.attributes import WORKER
from workers.telemetry.kinds import Kind, Metric
from workers.telemetry.registry import Family, Registry, Values

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Rendering:
    """What `/metrics` answers."""

    def __init__(self, registry: Registry, worker: str) -> None:
        """`worker` is on every series."""
        self._registry = registry
        self._worker = worker

    def __call__(self) -> bytes:
        """The answer, of type `CONTENT_TYPE`. From any thread; never raises."""
        lines = [
            line for family in self._registry.collect() for line in _family(family, self._worker)
        ]
        return "".join(f"{line}\n" for line in lines).encode()


def _family(family: Family, worker: str) -> Iterator[str]:
    metric = family.metric
    name = metric.prometheus
    yield f"# HELP {name} {_help(metric.help)}"
    yield f"# TYPE {name} {metric.kind}"
    for values, number in sorted(family.numbers.items()):
        yield f"{name}{_labels(metric, values, worker)} {_number(number)}"
    if metric.kind is not Kind.HISTOGRAM:
        return
    for values, spread in sorted(family.spreads.items()):
        bounds = [*map(_number, metric.bounds), "+Inf"]
        for bound, count in zip(bounds, accumulate(spread.counts), strict=True):
            yield f"{name}_bucket{_labels(metric, values, worker, {'le': bound})} {count}"
        labels = _labels(metric, values, worker)
        yield f"{name}_sum{labels} {_number(spread.total)}"
        yield f"{name}_count{labels} {spread.count}"


def _labels(
    metric: Metric, values: Values, worker: str, more: Mapping[str, str] | None = None
) -> str:
    own = zip((attribute.label for attribute in metric.attributes), values, strict=True)
    pairs = {WORKER.label: worker, **dict(own), **(more or {})}
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
