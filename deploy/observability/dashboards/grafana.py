"""Grafana's JSON: panels, rows of them, variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 39
"""Grafana 11 and newer migrate it to theirs."""
WIDTH = 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RATE = "$__rate_interval"
MINE = 'namespace=~"$namespace",worker=~"$worker"'
"""What every query is held to."""
GREEN, YELLOW, RED = "green", "#EAB839", "red"


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and what its series are called: `{{label}}`."""

    expr: str
    legend: str = ""
    form: str = "time_series"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel; `says` is its help, which answers "and what do I do with it?"."""

    title: str
    says: str
    queries: Sequence[Query]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    stacked: bool = False
    limits: Mapping[str, float] = field(default_factory=dict)
    """Colour by the value from which it holds; green below."""
    least: float | None = 0
    most: float | None = None

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """For Grafana."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.says,
            "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [_target(query, place) for place, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": []},
            "options": _OPTIONS[self.kind],
            **_MORE.get(self.kind, {}),
        }

    def _defaults(self) -> dict[str, Any]:
        steps: list[dict[str, Any]] = [{"color": GREEN, "value": None}]
        steps += [{"color": colour, "value": value} for colour, value in self.limits.items()]
        found: dict[str, Any] = {
            "unit": self.unit,
            "color": {"mode": "thresholds" if self.kind == "stat" else "palette-classic"},
            "thresholds": {"mode": "absolute", "steps": steps},
        }
        found |= {name: v for name, v in (("min", self.least), ("max", self.most)) if v is not None}
        if self.kind == "timeseries":
            found["custom"] = _lines(stacked=self.stacked, limited=bool(self.limits))
        return found


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and its panels; they flow from left to right."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice above the panels, filled by a query for a label's values."""

    name: str
    label: str
    query: str


def dashboard(
    uid: str, title: str, says: str, rows: Iterable[Row], more: Iterable[Variable] = ()
) -> dict[str, Any]:
    """A dashboard in the JSON that Grafana imports and provisions."""
    return {
        "uid": uid,
        "title": title,
        "description": says,
        "tags": ["enrichment-workers"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "links": [_LINK],
        "annotations": {"list": list(_ANNOTATIONS)},
        "templating": {"list": [_DATASOURCE, *(_variable(v) for v in (*_COMMON, *more))]},
        "panels": _laid_out(rows),
    }


def _laid_out(rows: Iterable[Row]) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        heading = {"type": "row", "title": row.title, "collapsed": False, "panels": []}
        where = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        panels.append({"id": len(panels) + 1, **heading, "gridPos": where})
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            panels.append(panel.json(len(panels) + 1, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return panels


def _target(query: Query, place: int) -> dict[str, Any]:
    return {
        "refId": chr(ord("A") + place),
        "datasource": SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "format": query.form,
        "instant": query.form == "table",
        "range": query.form != "table",
    }


def _lines(*, stacked: bool, limited: bool) -> dict[str, Any]:
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if limited else "off"},
    }


_OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "colorMode": "background_solid",
        "graphMode": "area",
        "justifyMode": "auto",
        "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5},
        "yAxis": {"axisPlacement": "left"},
        "tooltip": {"mode": "single", "yHistogram": True},
        "rowsFrame": {"layout": "auto"},
    },
    "table": {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}},
}
# A table shows labels, not the time and the 1 that an info metric has.
_HIDDEN = {"Time": True, "Value": True, "__name__": True, "job": True}
_MORE: dict[str, dict[str, Any]] = {
    "table": {
        "transformations": [{"id": "organize", "options": {"excludeByName": _HIDDEN}}],
    },
}
_LINK = {
    "type": "dashboards",
    "title": "Enrichment workers",
    "tags": ["enrichment-workers"],
    "asDropdown": False,
    "includeVars": True,
    "keepTime": True,
}
_DATASOURCE = {
    "type": "datasource",
    "name": "datasource",
    "label": "Data source",
    "query": "prometheus",
    "current": {},
    "hide": 0,
    "regex": "",
}
_COMMON = (
    Variable("namespace", "Namespace", "label_values(workers_build_info, namespace)"),
    # A gateway's process has no worker's name; the models that it serves have.
    Variable(
        "worker",
        "Worker",
        'label_values({__name__=~"workers_build_info|workers_model_info",'
        'namespace=~"$namespace"}, worker)',
    ),
)


def _variable(variable: Variable) -> dict[str, Any]:
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.label,
        "datasource": SOURCE,
        "query": {"query": variable.query, "refId": variable.name},
        "definition": variable.query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "hide": 0,
        "regex": "",
    }


def _annotation(name: str, colour: str, expr: str, title: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "iconColor": colour,
        "expr": expr,
        "step": "60s",
        "titleFormat": title,
        "textFormat": text,
    }


_SERVED = f'event="model.served",{MINE}'
_ANNOTATIONS = (
    _annotation(
        "Alerts",
        "red",
        'ALERTS{alertstate="firing",severity!="info",namespace=~"$namespace",worker=~"$worker"}',
        "{{alertname}}",
        "{{worker}}",
    ),
    _annotation(
        "Model served",
        "blue",
        f"sum by (worker) (increase(workers_log_events_total{{{_SERVED}}}[2m])) > 0",
        "model served",
        "{{worker}}",
    ),
)
