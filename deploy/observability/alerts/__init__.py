"""All alerts, by what they are about."""

from __future__ import annotations

from typing import Any

from deploy.observability.alert import Alert
from deploy.observability.alerts import data, kafka, lag, model, partitions, process, promises

GROUPS: dict[str, tuple[Alert, ...]] = {
    "promises": promises.ALERTS,
    "lag": lag.ALERTS,
    "partitions": partitions.ALERTS,
    "kafka": kafka.ALERTS,
    "model": model.ALERTS,
    "data": data.ALERTS,
    "process": process.ALERTS,
}
ALERTS = tuple(alert for group in GROUPS.values() for alert in group)


def rules(group: str) -> dict[str, Any]:
    """A rules file."""
    return {
        "groups": [{"name": f"workers-{group}", "rules": [alert.rule() for alert in GROUPS[group]]}]
    }


def tests(group: str, rules_file: str) -> dict[str, Any]:
    """promtool's file of unit tests: each alert in a history where it fires and one where not."""
    return {
        "rule_files": [rules_file],
        "evaluation_interval": "1m",
        "tests": [test for alert in GROUPS[group] for test in alert.tests()],
    }
