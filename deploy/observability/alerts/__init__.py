"""All alerts, by what they are about."""

from __future__ import annotations

from typing import Any

from deploy.observability.alert import Alert
from deploy.observability.alerts import (
    data,
    feedback,
    gateway,
    kafka,
    lag,
    model,
    partitions,
    process,
    promises,
)

GROUPS: dict[str, tuple[Alert, ...]] = {
    "promises": promises.ALERTS,
    "lag": lag.ALERTS,
    "partitions": partitions.ALERTS,
    "kafka": kafka.ALERTS,
    "model": model.ALERTS,
    "data": data.ALERTS,
    "gateway": gateway.ALERTS,
    "feedback": feedback.ALERTS,
    "process": process.ALERTS,
}
ALERTS = tuple(alert for group in GROUPS.values() for alert in group)


def rules(group: str) -> dict[str, Any]:
    """A rules file."""
    return {
        "groups": [{"name": f"workers-{group}", "rules": [alert.rule() for alert in GROUPS[group]]}]
    }


def tests(group: str, rules_file: str) -> dict[str, dict[str, Any]]:
    """promtool's files of unit tests, by step: each alert where it fires and where it does not.

    promtool looks at the rules as often as a whole file says: long histories have their own.
    """
    made = [test for alert in GROUPS[group] for test in alert.tests()]
    return {
        step: {
            "rule_files": [rules_file],
            "evaluation_interval": step,
            "tests": [test for test in made if test["interval"] == step],
        }
        for step in sorted({test["interval"] for test in made})
    }
