"""Alerts: each fires when it should and not when it should not, and tells what to do."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Callable
from typing import Any

import promql_parser as promql
import pytest

from deploy.observability.alert import RUNBOOKS
from deploy.observability.alerts import ALERTS, GROUPS
from deploy.observability.files import ROOT as DEPLOYED
from deploy.observability.files import TESTS, files
from tests.conftest import ROOT
from tests.deploy.conftest import CHART, read_yaml
from tests.deploy.queries import rules, selectors

RULES = rules()
NAMES = [rule["alert"] for rule in RULES]
Promtool = Callable[..., subprocess.CompletedProcess[str]]


def test_what_is_deployed_is_what_is_written() -> None:
    """`python -m deploy.observability` has been run."""
    written = files()
    stale = [name for name, text in written.items() if (DEPLOYED / name).read_text() != text]
    histories = {str(file.relative_to(DEPLOYED)) for file in (DEPLOYED / TESTS).iterdir()}

    assert stale == []
    assert histories <= set(written), "none is left over"


def test_promtool_takes_the_rules(promtool: Promtool) -> None:
    """As Prometheus would."""
    done = promtool("check", "rules", *map(str, (CHART / "files" / "alerts").glob("*.yaml")))

    assert done.returncode == 0, done.stderr
    assert len(NAMES) == len(set(NAMES)) == len(ALERTS)


@pytest.mark.parametrize("group", GROUPS)
def test_each_alert_fires_and_stays_quiet(promtool: Promtool, group: str) -> None:
    """Over the histories that are written beside it, labels and texts included."""
    files = sorted((DEPLOYED / TESTS).glob(f"{group}-*.yaml"))
    tests = [test for file in files for test in read_yaml(file.read_text())[0]["tests"]]
    seen = Counter(
        (test["alert_rule_test"][0]["alertname"], bool(test["alert_rule_test"][0]["exp_alerts"]))
        for test in tests
    )

    done = promtool("test", "rules", *map(str, files))

    assert done.returncode == 0, done.stdout + done.stderr
    assert seen == {(alert.name, fires): 1 for alert in GROUPS[group] for fires in (True, False)}


def test_a_wrong_expectation_is_seen(promtool: Promtool, tmp_path: Any) -> None:
    """What the test before rests on: promtool's answer depends on what is expected."""
    file = DEPLOYED / TESTS / "process-1m.yaml"
    rule = CHART / "files" / "alerts" / "process.yaml"
    changed = file.read_text().replace("severity: critical", "severity: info", 1)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(re.sub(r"- \.\./.*yaml", f"- {rule}", changed))

    done = promtool("test", "rules", str(wrong))

    assert done.returncode != 0
    assert "WorkerGone fires" in done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_what_does_not_fire_is_near_to_what_does(alert: Any) -> None:
    """The quiet history has series of the alert's own metrics: it is not quiet for lack of any."""
    asked = {selector.name for selector in selectors(promql.parse(alert.expr))}

    for case in (alert.fires, alert.quiet):
        assert case.series
        assert {series.partition("{")[0] for series in case.series} <= asked


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_each_alert_tells_who_gets_up_and_what_to_do(rule: dict[str, Any]) -> None:
    """Severity, summary, description and a runbook that exists and is about it."""
    told = rule["annotations"]
    page = ROOT / RUNBOOKS / f"{rule['alert']}.md"
    text = page.read_text()

    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert told["summary"]
    assert told["description"].endswith(".")
    assert told["runbook_url"] == f"{RUNBOOKS}/{rule['alert']}.md"
    assert text.startswith(f"# {rule['alert']}\n")
    for part in ("## What it means", "## Look", "## Do"):
        assert f"\n{part}\n" in text
    assert f"Severity: {rule['labels']['severity']}." in text


def test_no_runbook_is_left_over() -> None:
    """One page an alert, all of them in the table of docs/operations.md."""
    pages = {page.stem for page in (ROOT / RUNBOOKS).glob("*.md")} - {"README"}
    table = (ROOT / "docs" / "operations.md").read_text()

    assert pages == set(NAMES)
    assert [name for name in NAMES if f"](runbooks/{name}.md)" not in table] == []


def test_the_commands_that_runbooks_name_exist() -> None:
    """`workers …` in a runbook is a command of ours."""
    from typer.main import get_command

    from workers.cli import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    pages = [*(ROOT / RUNBOOKS).glob("*.md"), ROOT / "docs" / "operations.md"]
    named = {word for page in pages for word in re.findall(r"`workers ([a-z]+)", page.read_text())}

    assert named - known == set()
