"""Parts of PromQL queries that come again and again."""

from __future__ import annotations

from collections.abc import Iterable

from workers.telemetry.kinds import Metric
from workers.telemetry.names import PAUSED

BY = ("namespace", "worker")
"""Whose number it is. Outside Kubernetes there is no namespace; the label is empty then."""
PROCESS = (*BY, "instance")


def select(metric: Metric, match: str = "", *, part: str = "") -> str:
    """The series of a metric; of a histogram, `part` says which."""
    return f"{metric.prometheus}{part}{{{match}}}" if match else f"{metric.prometheus}{part}"


def where(**labels_: str) -> str:
    """A selector's inside: labels that have these values."""
    return ",".join(f'{name}="{value}"' for name, value in labels_.items())


def labels(*names: str) -> str:
    """For `by` and `on`."""
    return ", ".join(names)


def total(what: str, by: Iterable[str] = BY) -> str:
    """The sum over processes."""
    return f"sum by ({labels(*by)}) ({what})"


def most(what: str, by: Iterable[str] = BY) -> str:
    """The largest of all processes."""
    return f"max by ({labels(*by)}) ({what})"


def rate(metric: Metric, window: str, match: str = "", by: Iterable[str] = BY) -> str:
    """A counter's growth a second, over all processes."""
    return total(f"rate({select(metric, match)}[{window}])", by)


def grew(metric: Metric, window: str, match: str = "", by: Iterable[str] = BY) -> str:
    """By how much a counter grew, also where its first sample is not 0.

    `increase` sees no growth in a series that appears with its first event; nor may an alert wait
    for a second one.
    """
    series = select(metric, match)
    grown = f"increase({series}[{window}]) > 0"
    born = f"{series} > 0 unless {series} offset {window}"
    return total(f"({grown}) or ({born})", by)


def while_paused(reason: str) -> str:
    """Workers that have partitions paused for this reason."""
    return most(select(PAUSED, where(reason=reason))) + " > 0"
