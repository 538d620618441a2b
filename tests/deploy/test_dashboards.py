"""Dashboards: no panel asks for what no worker tells."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql
import pytest

from tests.deploy.conftest import CHART
from tests.deploy.queries import (
    BY_NAME,
    METRICS,
    SCRAPED,
    Asked,
    boards,
    names_of,
    panels,
    plain,
    rules,
    selectors,
    series,
    values_of,
)
from workers.telemetry.attributes import DOOR, WORKER
from workers.telemetry.kinds import Kind
from workers.testing.kafka import free_port

ASKED = [*panels(), *(Asked(rule["alert"], rule["expr"]) for rule in rules())]
NOW = 1_767_225_600
"""The last minute that there are samples of: 2026-01-01."""
MINUTES = 20


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked.where)
def test_a_query_asks_for_metrics_labels_and_values_that_there_are(asked: Asked) -> None:
    """Of panels and alerts; every alternative of a pattern is a value too."""
    for selector in selectors(promql.parse(asked.expr)):
        assert selector.name in BY_NAME, selector.name
        metric = BY_NAME[selector.name]
        known = {attribute.label: values_of(attribute) for attribute in metric.attributes}
        for matcher in selector.matchers.matchers:
            if matcher.name in (*SCRAPED, WORKER.label):
                continue
            if matcher.name == DOOR.label:
                assert matcher.value in ("", *DOOR.values)
                continue
            if matcher.name == "le":
                assert float(matcher.value) in metric.bounds
                continue
            assert matcher.name in known, f"{selector.name} has no label {matcher.name}"
            for value in matcher.value.split("|"):
                closed = known[matcher.name]
                assert not closed or any(re.fullmatch(value, each) for each in closed), value


def test_the_check_would_see_a_wrong_name() -> None:
    """What the test before rests on: a selector inside of everything is found."""
    query = "sum by (a) (rate(x[5m])) / on (a) histogram_quantile(0.5, y offset 1d) unless (z > 1)"

    found = {selector.name for selector in selectors(promql.parse(query))}

    assert found == {"x", "y", "z"}


def test_each_metric_is_to_be_seen() -> None:
    """On a dashboard or in an alert, but for OpenTelemetry's own copy of what ours says."""
    asked = {s.name for a in ASKED for s in selectors(promql.parse(a.expr))}
    unseen = [m.name for m in METRICS if not asked & set(names_of(m))]

    assert unseen == ["messaging.process.duration"]


@pytest.mark.parametrize("name", boards())
def test_a_dashboard_is_laid_out(name: str) -> None:
    """Ids once, panels within the grid and beside each other, each with a help text."""
    board = boards()[name]
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, panel["title"]
        assert grid["x"] + grid["w"] <= 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    assert board["uid"] == name
    variables = {v["name"] for v in board["templating"]["list"]}
    assert {"datasource", "namespace", "worker"} <= variables
    used = set(re.findall(r"\$\{?([a-z]+)\b", json.dumps(board["panels"])))
    assert used <= variables


def test_a_runbook_that_a_panel_names_is_there() -> None:
    """ "runbook X" in a panel's help is an alert."""
    texts = " ".join(
        panel.get("description", "") for board in boards().values() for panel in board["panels"]
    )
    named = set(re.findall(r"runbook (\w+)", texts))

    assert named
    assert named <= {rule["alert"] for rule in rules()}


@dataclass(frozen=True)
class Prometheus:
    """A real one, with a sample a minute of every series that a worker may have."""

    url: str

    def ask(self, path: str, **question: str) -> Any:
        """Its answer's data."""
        query = urllib.parse.urlencode(question)
        with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=30) as answer:  # noqa: S310
            return json.load(answer)["data"]


def _exposition() -> Iterator[str]:
    """Counters that grow and gauges that are 1, in OpenMetrics with times."""
    for metric in METRICS:
        kind = metric.kind.value
        family = metric.prometheus.removesuffix("_total")
        yield f"# TYPE {family} {kind}\n"
        for labels in series(metric):
            yield from _samples(metric.prometheus, kind, metric.bounds, labels)
    yield "# EOF\n"


def _samples(
    name: str, kind: str, bounds: tuple[float, ...], labels: dict[str, str]
) -> Iterator[str]:
    for minute in range(MINUTES + 1):
        at = NOW - 60 * (MINUTES - minute)
        number = 60 * minute if kind != "gauge" else 1
        if kind != Kind.HISTOGRAM.value:
            yield _line(name, labels, number, at)
            continue
        for place, bound in enumerate([*map(repr, bounds), "+Inf"]):
            yield _line(f"{name}_bucket", {**labels, "le": bound}, number * (place + 1), at)
        for part in ("_sum", "_count"):
            yield _line(f"{name}{part}", labels, number * (len(bounds) + 1), at)


def _line(name: str, labels: dict[str, str], number: float, at: int) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{inside}}} {number} {at}\n"


@pytest.fixture(scope="module")
def prometheus(
    promtool: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Prometheus]:
    """On loopback; it scrapes nothing. It comes with promtool."""
    home = tmp_path_factory.mktemp("prometheus")
    (home / "all.txt").write_text("".join(_exposition()))
    made = promtool("tsdb", "create-blocks-from", "openmetrics", f"{home}/all.txt", f"{home}/data")
    assert made.returncode == 0, made.stderr
    (home / "none.yml").write_text("scrape_configs: []\n")
    program = shutil.which("prometheus")
    assert program is not None, "it is in the package that promtool is of"
    port = free_port()
    command = [
        program, f"--config.file={home}/none.yml", f"--storage.tsdb.path={home}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y",
        "--log.level=error",
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        found = Prometheus(f"http://127.0.0.1:{port}")
        try:
            _wait(found, process)
            yield found
        finally:
            process.terminate()


def _wait(prometheus: Prometheus, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"{prometheus.url}/-/ready", timeout=5):  # noqa: S310
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError("prometheus has ended")


def test_every_panel_has_data(prometheus: Prometheus) -> None:
    """Where a worker tells everything it can, no panel is empty and no number is NaN."""
    empty = []
    for asked in panels():
        found = prometheus.ask("/api/v1/query", query=asked.expr, time=str(NOW))["result"]
        if not any(result["value"][1] != "NaN" for result in found):
            empty.append(asked.where)

    assert panels()
    assert empty == []


def test_every_choice_above_the_panels_has_something_to_choose(prometheus: Prometheus) -> None:
    """`label_values(…)` of the variables."""
    for name, board in boards().items():
        for variable in board["templating"]["list"]:
            if variable["type"] != "query":
                continue
            inside = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
            assert inside is not None, variable
            values = prometheus.ask(
                f"/api/v1/label/{inside[2]}/values",
                **{"match[]": plain(inside[1]), "start": str(NOW - 600), "end": str(NOW)},
            )
            assert values, f"{name}: {variable['name']}"


def test_the_chart_carries_all_dashboards() -> None:
    """Four, by who looks."""
    assert sorted(boards()) == [
        "workers-contracts",
        "workers-gateway",
        "workers-model",
        "workers-operator",
    ]
    assert len(list((CHART / "files" / "dashboards").iterdir())) == 4
