"""Every query that is deployed, and every series that a worker may have."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql

from tests.deploy.conftest import CHART, read_yaml
from workers.gateway.problems import ABOUT
from workers.gateway.problems import Kind as Problem
from workers.telemetry.attributes import (
    DOOR,
    EVENT,
    HTTP_METHOD,
    HTTP_STATUS,
    PROBLEM,
    WORKER,
)
from workers.telemetry.events import LOG_EVENTS
from workers.telemetry.gateway import METRICS as GATEWAY
from workers.telemetry.kinds import Attribute, Kind, Metric
from workers.telemetry.loops import METRICS as LOOPS
from workers.telemetry.names import METRICS as WORKERS

METRICS = (*WORKERS, *GATEWAY, *LOOPS)
"""What a worker tells, a gateway or a proxy besides, and what a feedback loop does."""
SCRAPED = ("namespace", "instance", "job")
"""Labels that Prometheus adds."""
SAMPLE = {WORKER.label: "flights", "namespace": "prod", "instance": "10.0.0.1:8787", "job": "w"}


@dataclass(frozen=True)
class Asked:
    """A query and where it is."""

    where: str
    expr: str


def boards() -> dict[str, Any]:
    """The dashboards as they are deployed."""
    return {
        file.stem: json.loads(file.read_text())
        for file in sorted((CHART / "files" / "dashboards").glob("*.json"))
    }


def plain(expr: str) -> str:
    """As Grafana sends it when everything is chosen."""
    return re.sub(r"\$(namespace|worker|group|topic|block)\b", ".*", expr).replace(
        "$__rate_interval", "5m"
    )


def panels() -> list[Asked]:
    """The queries of all panels."""
    return [
        Asked(f"{name}: {panel['title']} {target['refId']}", plain(target["expr"]))
        for name, board in boards().items()
        for panel in board["panels"]
        for target in panel.get("targets", [])
    ]


def rules() -> list[dict[str, Any]]:
    """The alerts as they are deployed."""
    return [
        rule
        for file in sorted((CHART / "files" / "alerts").glob("*.yaml"))
        for group in read_yaml(file.read_text())[0]["groups"]
        for rule in group["rules"]
    ]


def selectors(node: Any) -> Iterator[promql.VectorSelector]:
    """Every choice of series in a query."""
    if isinstance(node, promql.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "param", "vector_selector", "vs"):
        child = getattr(node, name, None)
        if child is not None and not isinstance(child, (str, float)):
            yield from selectors(child)
    for argument in getattr(node, "args", None) or ():
        yield from selectors(argument)


def names_of(metric: Metric) -> list[str]:
    """What Prometheus has of it."""
    if metric.kind is Kind.HISTOGRAM:
        return [f"{metric.prometheus}{part}" for part in ("_bucket", "_sum", "_count")]
    return [metric.prometheus]


BY_NAME = {name: metric for metric in METRICS for name in names_of(metric)}


def values_of(attribute: Attribute) -> tuple[str, ...]:
    """Its closed list, where it has one."""
    return tuple(LOG_EVENTS) if attribute is EVENT else attribute.values


def series(metric: Metric) -> Iterator[dict[str, str]]:
    """Labels of every series that it may have; one value for what has no closed list."""
    lists = [values_of(attribute) or ("some",) for attribute in metric.attributes]
    # A gateway tells some of what a stream does, too.
    doors = ("", "gateway") if metric in WORKERS else ("gateway",) if metric in GATEWAY else ("",)
    for door, *chosen in itertools.product(doors, *lists):
        labels = zip((attribute.label for attribute in metric.attributes), chosen, strict=True)
        told = {DOOR.label: door} if door else {}
        if _possible(found := {**SAMPLE, **told, **dict(labels)}):
            yield found


def _possible(labels: dict[str, str]) -> bool:
    """Of requests there are enough without what cannot be: each problem has its own status."""
    status, problem = labels.get(HTTP_STATUS.label), labels.get(PROBLEM.label)
    if status is None:
        return True
    fits = status == (str(ABOUT[Problem(problem)].status) if problem else "200")
    return fits and labels[HTTP_METHOD.label] == "POST"
