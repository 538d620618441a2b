"""The files that are made of all this; the chart has them, compose mounts them from there."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from deploy.observability.alerts import GROUPS, rules, tests
from deploy.observability.dashboards import DASHBOARDS

ROOT = Path(__file__).parent.parent
CHART_FILES = "helm/enrichment-workers/files"
TESTS = "observability/tests"
RULE = "kustomize/components/monitoring/prometheusrule.yaml"
_HEAD = "# Written by `python -m deploy.observability`.\n"


def files() -> dict[str, str]:
    """Text by name below deploy/."""
    found = {}
    for group in GROUPS:
        place = f"{CHART_FILES}/alerts/{group}.yaml"
        found[place] = _yaml(rules(group))
        for step, histories in tests(group, f"../../{place}").items():
            found[f"{TESTS}/{group}-{step}.yaml"] = _yaml(histories)
    found[RULE] = _yaml(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "workers"},
            "spec": {"groups": [part for group in GROUPS for part in rules(group)["groups"]]},
        }
    )
    for name, board in DASHBOARDS.items():
        found[f"{CHART_FILES}/dashboards/{name}.json"] = json.dumps(board(), indent=2) + "\n"
    return found


def _yaml(content: dict[str, Any]) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 10_000
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = io.StringIO()
    yaml.dump(content, text)
    return _HEAD + text.getvalue()
