"""What an alert is, and the two histories that prove it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

RUNBOOKS = "docs/runbooks"


class Severity(StrEnum):
    """What the person who is told does."""

    CRITICAL = "critical"
    """Gets up: records are not enriched, or not all of them, and it does not end by itself."""
    WARNING = "warning"
    """Looks at it today."""
    INFO = "info"
    """Knows it when something else is wrong."""


@dataclass(frozen=True, slots=True)
class Case:
    """A history of samples, one a `step`, and the minute at which the alert is looked at.

    `series` has values in promtool's notation by selector. `labels` are those of the alert
    besides its severity, and `value` is `$value` as the description shows it.
    """

    at: str
    series: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    value: str = ""
    step: str = "1m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One rule. In `summary` and `description`, `{label}` is that label's value."""

    name: str
    severity: Severity
    expr: str
    hold: str
    summary: str
    description: str
    shown: str = "humanize"
    """How `{value}` is written."""
    fires: Case
    quiet: Case
    """The nearest thing to it that is none."""

    def rule(self) -> dict[str, Any]:
        """For Prometheus."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.hold,
            "labels": {"severity": self.severity.value},
            "annotations": self._annotations(
                {name: f"{{{{ $labels.{name} }}}}" for name in self.fires.labels}
                | {"value": f"{{{{ $value | {self.shown} }}}}"}
            ),
        }

    def tests(self) -> list[dict[str, Any]]:
        """For promtool."""
        told = {
            "exp_labels": {**self.fires.labels, "severity": self.severity.value},
            "exp_annotations": self._annotations({**self.fires.labels, "value": self.fires.value}),
        }
        return [
            self._test("fires", self.fires, [told]),
            self._test("stays quiet", self.quiet, []),
        ]

    def _test(self, name: str, case: Case, expected: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "name": f"{self.name} {name}",
            "interval": case.step,
            "input_series": [
                {"series": series, "values": values} for series, values in case.series.items()
            ],
            "alert_rule_test": [
                {"eval_time": case.at, "alertname": self.name, "exp_alerts": expected}
            ],
        }

    def _annotations(self, values: Mapping[str, str]) -> dict[str, str]:
        return {
            "summary": self.summary.format_map(values),
            "description": self.description.format_map(values),
            "runbook_url": f"{RUNBOOKS}/{self.name}.md",
        }
