"""What a loop tells of itself is what its report says, and arrives where it is sent."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from tests.feedback.lakes import fill
from tests.feedback.test_report import LABELS, checkout, figures, opened, reported, traffic
from tests.telemetry.collector import attributes, collecting
from workers.cli import app
from workers.feedback.telling import relative, textfile
from workers.telemetry.loops import METRICS
from workers.testing import EmbeddedBroker
from workers.testing.kafka import free_port
from workers.topology import Absent

AS_OF = "2013-03-02T00:00:00"


def told(file: Path, tmp_path: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """The report, and what is written of it for Prometheus."""
    found = reported(file, "--metrics", str(tmp_path / "feedback.prom"))
    return found, figures(tmp_path / "feedback.prom")


def of_loop(name: str) -> str:
    """A series without a version."""
    return f"workers_feedback_{name}{{{LABELS}}}"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with sixty days of traffic: two months, and one day of a third."""
    file = checkout(tmp_path_factory.mktemp("telling"))
    fill(opened(file).log, *traffic())
    return file


def test_the_newest_month_is_told_beside_the_months_before(filled: Path, tmp_path: Path) -> None:
    """Each month before by its rows; ends of intervals are the report's."""
    found, lines = told(filled, tmp_path)

    january, february, march = (found["months"][f"2013-0{number}"] for number in (1, 2, 3))
    assert lines[of_loop("recent_auc_high")] == pytest.approx(march["auc"]["high"])
    assert lines[of_loop("recent_log_loss_low")] == pytest.approx(march["log_loss"]["low"])
    assert lines[of_loop("recent_decisions")] == march["scored"]
    assert lines[of_loop("recent_labelled")] == march["labelled"]
    assert lines[of_loop("estimated_auc")] == pytest.approx(march["estimated"]["auc"])
    rows = january["labelled"] + february["labelled"]
    expected = sum(month["labelled"] * month["brier"]["value"] for month in (january, february))
    assert lines[of_loop("earlier_brier")] == pytest.approx(expected / rows)
    assert lines[of_loop("coverage")] == pytest.approx(found["coverage"])
    assert lines[of_loop("coverage_least")] == 0.5
    assert lines[of_loop("run_every_seconds")] == 86_400
    assert of_loop("last_run_seconds") not in lines, "it has not run"


def test_log_loss_of_the_mean_outcome_alone_is_one(filled: Path, tmp_path: Path) -> None:
    """Whatever happened how often; a month in which all or none happened has no such part."""
    rare, even = 0.1, 0.5
    for share in (rare, even):
        alone = -(share * math.log(share) + (1 - share) * math.log(1 - share))
        month = {"happened": share, "log_loss": {"value": alone, "low": alone / 2}}
        assert relative(month, "value") == pytest.approx(1)
        assert relative(month, "low") == pytest.approx(0.5)
    assert math.isnan(relative({"happened": 0.0, "log_loss": {"value": 0.1}}, "value"))

    found, lines = told(filled, tmp_path)
    month = found["months"]["2013-03"]
    assert lines[of_loop("recent_relative_log_loss")] == pytest.approx(relative(month, "value"))
    assert 0 < lines[of_loop("recent_relative_log_loss_low")] < 1


def moved_on(file: Path, before: str, now: str) -> None:
    """Traffic that one version decided, and on the last day another."""
    decisions, outcomes = traffic()
    old = pl.col("event_at") < pl.lit(decisions["event_at"].max()).dt.truncate("1mo")
    version = pl.when(old).then(pl.lit(before)).otherwise(pl.lit(now))
    fill(opened(file).log, decisions.with_columns(version.alias("model_version")), outcomes)


@pytest.fixture
def running(embedded: EmbeddedBroker, tmp_path: Path) -> Path:
    """A topology whose loop runs: empty topics of its own, and too few rows to train on."""
    file = checkout(tmp_path)
    document = YAML(typ="safe").load(file.read_text())
    document["broker"]["bootstrap_servers"] = embedded.bootstrap_servers
    worker, loop = document["workers"]["flight-delays"], document["feedback"]["flights"]
    for holder, key in ((worker, "decisions"), (loop, "outcomes")):
        name = f"{key}.{uuid.uuid4().hex[:8]}"
        holder[key] |= {"topic": name, "subject": f"flights.{key}-value"}
        embedded.create_topic(name, 1)
    loop["retrain"]["min_rows"] = 10**6
    with file.open("w") as opened_:
        YAML(typ="safe").dump(document, opened_)
    return file


def run(file: Path, *more: str) -> Mapping[str, str]:
    """What became of each step."""
    command = ["feedback", "run", "--topology", str(file), "--as-of", AS_OF, *more]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    found: Mapping[str, str] = json.loads(done.stdout)["steps"]
    return found


def test_every_figure_that_is_listed_is_told(running: Path, tmp_path: Path) -> None:
    """And no other, after a run; which no collector is told of, because there is none."""
    moved_on(running, "1", "2")

    steps = run(running, "--metrics", str(tmp_path / "run.prom"))

    lines = figures(tmp_path / "run.prom")
    assert {series.partition("{")[0] for series in lines} == {m.prometheus for m in METRICS}
    assert lines[of_loop("last_run_seconds")] == datetime.fromisoformat(f"{AS_OF}Z").timestamp()
    assert f'workers_feedback_score_drift{{{LABELS},version="2"}}' in lines
    assert "metrics" not in steps


def test_the_drift_of_a_version_that_decides_no_more_is_not_told(tmp_path: Path) -> None:
    """It would never end. The report has it all the same."""
    file = checkout(tmp_path)
    moved_on(file, "2", "1")

    found, lines = told(file, tmp_path)

    assert found["versions"]["2"]["drift"]["scores"] is not None
    assert not any(series.startswith("workers_feedback_score_drift") for series in lines)
    assert f'workers_feedback_auc{{{LABELS},version="2"}}' in lines


def test_where_only_positives_are_reported_no_coverage_is_asked_for(filled: Path) -> None:
    """What is missing is an outcome then."""
    loop = opened(filled)
    negative = loop.feedback.model_copy(update={"absent": Absent.NEGATIVE})
    found = {"as_of": datetime.now(UTC), "coverage": 0.1, "versions": {}, "months": {}}

    assert "workers_feedback_coverage_least{" in textfile(loop, found)
    assert "coverage_least" not in textfile(replace(loop, feedback=negative), found)


def told_to(file: Path, address: str) -> None:
    """The topology with a collector."""
    file.write_text(f"{file.read_text()}\ntelemetry: {{endpoint: '{address}', interval: 1s}}\n")


def test_a_run_sends_its_figures_and_the_next_one_the_same_series(
    running: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a real receiver of OTLP: what the file has, whatever pod it runs in."""
    moved_on(running, "1", "2")
    with collecting() as taken:
        told_to(running, taken.address)
        for pod in ("a", "b"):
            monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"service.instance.id={pod},team=x")
            steps = run(running, "--metrics", str(tmp_path / "run.prom"))
            assert steps["metrics"] == "sent to the collector"

    lines = figures(tmp_path / "run.prom")
    points = {
        _series(metric.name, point): point.as_double
        for metric in taken.metrics.values()
        for point in metric.gauge.data_points
    }
    assert points == pytest.approx(
        {series.replace("_seconds{", "{"): value for series, value in lines.items()}
    )
    assert [s["service.instance.id"] for s in taken.senders] == ["feedback.flights"] * 2
    assert {s["service.name"] for s in taken.senders} == {"flight-delays"}
    assert {s["team"] for s in taken.senders} == {"x"}


def _series(name: str, point: Any) -> str:
    """As Prometheus has it, but for the unit."""
    labels = ",".join(f'{key}="{value}"' for key, value in attributes(point).items())
    return f"{name.replace('.', '_')}{{{labels}}}"


def test_a_collector_that_is_away_costs_a_run_nothing_but_its_figures(
    running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has ended well, and says what became of them."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    told_to(running, f"http://127.0.0.1:{free_port()}")

    steps = run(running)

    assert steps["metrics"] == "the collector did not take them"
    assert "retrain" in steps
