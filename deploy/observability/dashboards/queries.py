"""Queries over the workers that are chosen above the panels."""

from __future__ import annotations

from deploy.observability.dashboards.grafana import MINE, RATE
from deploy.observability.promql import labels, select
from workers.telemetry.kinds import Metric


def now(metric: Metric, match: str = "") -> str:
    """A gauge's series."""
    return select(metric, _with(match))


def per_second(metric: Metric, *by: str, match: str = "", part: str = "") -> str:
    """A counter's growth a second, over all processes."""
    return f"sum by ({labels(*by)}) (rate({select(metric, _with(match), part=part)}[{RATE}]))"


def all_per_second(metric: Metric, match: str = "", part: str = "") -> str:
    """The same as one number."""
    return f"sum(rate({select(metric, _with(match), part=part)}[{RATE}]))"


def quantile(q: float, metric: Metric, *by: str, match: str = "") -> str:
    """Of a histogram."""
    return (
        f"histogram_quantile({q:g}, {per_second(metric, 'le', *by, match=match, part='_bucket')})"
    )


def mean(metric: Metric, *by: str) -> str:
    """Of a histogram."""
    up, down = per_second(metric, *by, part="_sum"), per_second(metric, *by, part="_count")
    return f"{up} / {down}"


def buckets(metric: Metric) -> str:
    """For a heat map."""
    return per_second(metric, "le", part="_bucket")


def in_range(metric: Metric, *by: str, match: str = "") -> str:
    """By how much a counter grew in the time that is shown a point."""
    return f"sum by ({labels(*by)}) (increase({select(metric, _with(match))}[{RATE}]))"


def _with(match: str) -> str:
    return f"{MINE},{match}" if match else MINE
