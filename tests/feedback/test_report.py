"""The report says what the decisions and outcomes say, and only that."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from ruamel.yaml import YAML
from sklearn import metrics as sklearn
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.feedback.lakes import DAY, HOUR, INSTANT, START, fill, seeded
from workers.cli import app
from workers.feedback.lake.commits import DataFile
from workers.feedback.lake.files import write_days
from workers.feedback.opening import Loop, open_loop
from workers.topology import load

COUNT = 6000


def checkout(tmp_path: Path) -> Path:
    """The demo's loop with a lake and models of its own; version 1 is champion."""
    shutil.copytree(ROOT / "models", tmp_path / "models")
    document = YAML(typ="safe").load((ROOT / "examples" / "flights" / "loop.yaml").read_text())
    document["contracts"]["directory"] = str(ROOT / "schemas")
    document["models"]["directory"] = "models"
    document["feedback"]["flights"]["lake"] = {"directory": "lake"}
    with (tmp_path / "topology.yaml").open("w") as opened:
        YAML(typ="safe").dump(document, opened)
    return tmp_path / "topology.yaml"


def traffic(count: int = COUNT, seed: int = 1) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Calibrated decisions over 60 days, and the outcome of nine in ten of them."""
    scores, labels = seeded(count, seed)
    rng = np.random.default_rng(seed)
    at = [START + (60 * DAY) * (n / count) for n in range(count)]
    bands = np.digitize(scores, [0.3, 0.6])
    decisions = pl.DataFrame(
        {
            "decision_id": [f"d{n}" for n in range(count)],
            "model": "flight-delay",
            "model_version": "1",
            "score": scores,
            "raw_score": scores,
            "decision": [("on_time", "review", "late")[b] for b in bands],
            "fallback_reason": pl.Series([None] * count, dtype=pl.String),
            "arm": "champion",
            "rule": pl.Series([None] * count, dtype=pl.String),
            "scored_at": at,
            "event_at": at,
            "event_key": [f"N{n}" for n in range(count)],
            "number.distance": rng.uniform(100, 2500, count),
            "category.origin": rng.choice(["EWR", "JFK", "LGA"], count),
            "record_partition": 0,
            "record_offset": range(count),
            "record_at": 0,
        },
        schema_overrides={"scored_at": INSTANT, "event_at": INSTANT},
    )
    outcomes = pl.DataFrame(
        {
            "decision_id": [f"d{n}" for n in range(count)],
            "tailnum": pl.Series([None] * count, dtype=pl.String),
            "departed_at": at,
            "arrival_delay": np.where(labels == 1, 30, 0),
            "landed_at": [moment + 3 * HOUR for moment in at],
            "record_partition": 0,
            "record_offset": range(count),
            "record_at": 0,
        },
        schema_overrides={"departed_at": INSTANT, "landed_at": INSTANT},
    ).filter(pl.col("record_offset") % 10 != 0)
    return decisions, outcomes


def reported(file: Path, *more: str) -> dict[str, Any]:
    """What the command prints."""
    command = [
        "feedback",
        "report",
        "--topology",
        str(file),
        "--as-of",
        "2013-03-02T00:00:00",
        *more,
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


LABELS = 'worker="flight-delays",loop="flights",model="flight-delay"'


def figures(file: Path) -> dict[str, float]:
    """A textfile's series."""
    lines = (line for line in file.read_text().splitlines() if line[0] != "#")
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def opened(file: Path) -> Loop:
    """The loop."""
    return open_loop(load(file), None)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with traffic."""
    file = checkout(tmp_path_factory.mktemp("report"))
    fill(opened(file).log, *traffic())
    return file


def test_quality_is_that_of_the_labelled_rows(filled: Path) -> None:
    """Held to scikit-learn over the same rows, found here without the join."""
    found = reported(filled)

    decisions, outcomes = traffic()
    joined = decisions.join(outcomes, on="decision_id")
    joined = joined.filter(pl.col("landed_at") <= START + 60 * DAY)
    labels, scores = (joined["arrival_delay"] > 15).to_numpy(), joined["score"].to_numpy()
    version = found["versions"]["1"]
    assert version["labelled"] == len(joined) == found["outcomes"]["known"]
    assert version["auc"]["value"] == pytest.approx(sklearn.roc_auc_score(labels, scores))
    assert version["log_loss"]["value"] == pytest.approx(sklearn.log_loss(labels, scores))
    assert version["auc"]["low"] < version["auc"]["value"] < version["auc"]["high"]
    assert version["estimated"]["auc"] == pytest.approx(version["auc"]["value"], abs=0.02)
    assert found["coverage"] == pytest.approx(0.9, abs=0.01)
    assert sum(found["mix"].values()) == found["decisions"] == COUNT


def test_parts_add_up_to_the_whole(filled: Path) -> None:
    """Months and segments have every decision once; costs are those of the declared matrix."""
    found = reported(filled)

    version = found["versions"]["1"]
    assert list(found["months"]) == ["2013-01", "2013-02", "2013-03"]
    assert sum(month["decisions"] for month in found["months"].values()) == COUNT
    origins = version["segments"]["origin"]
    assert sorted(origins) == ["EWR", "JFK", "LGA"]
    assert sum(part["labelled"] for part in origins.values()) == version["labelled"]
    assert version["lift"][-1] == {"share": 1.0, "found": 1.0}
    assert 0 < version["cost"]["value"] < 5


def test_drift_is_against_the_bundles_reference(tmp_path: Path) -> None:
    """Version 2 has one; version 1 has none, and nothing is said of it."""
    file = checkout(tmp_path)
    decisions, _ = traffic(2000)
    half = pl.col("record_offset") % 2 == 0
    fill(
        opened(file).log,
        decisions.with_columns(
            pl.when(half).then(pl.lit("2")).otherwise(pl.lit("1")).alias("model_version"),
            pl.when(half).then(pl.col("score") * 0.05).otherwise("score").alias("score"),
        ),
    )

    versions = reported(file)["versions"]

    assert versions["1"]["drift"]["scores"] is None
    assert versions["2"]["drift"]["scores"] > 1
    assert versions["2"]["drift"]["features"]["origin"] < 0.05
    assert versions["2"]["drift"]["features"].keys() == {"distance", "origin"}


def test_arms_of_a_canary_are_compared_over_its_own_days(tmp_path: Path) -> None:
    """A challenger that scores at random is worse with confidence; days before it do not count."""
    file = checkout(tmp_path)
    decisions, outcomes = traffic()
    later = (pl.col("record_offset") > 3000) & (pl.col("record_offset") % 3 == 0)
    noise = pl.Series(np.random.default_rng(3).random(COUNT))
    fill(
        opened(file).log,
        decisions.with_columns(
            pl.when(later).then(pl.lit("challenger")).otherwise("arm").alias("arm"),
            pl.when(later).then(pl.lit("2")).otherwise("model_version").alias("model_version"),
            pl.when(later).then(noise).otherwise("score").alias("score"),
        ),
        outcomes,
    )

    canary = reported(file)["canary"]

    assert canary["versions"] == {"champion": ["1"], "challenger": ["2"]}
    assert canary["auc"]["high"] < -0.1
    assert canary["log_loss"]["low"] > 0.1
    assert canary["labelled"]["champion"] < 2000


def test_a_shadow_is_compared_on_the_same_events(tmp_path: Path) -> None:
    """Paired: the interval is narrower than that of either."""
    file = checkout(tmp_path)
    decisions, outcomes = traffic()
    fill(opened(file).log, decisions, outcomes)
    noise = np.random.default_rng(3).normal(0, 0.02, COUNT)
    scores = np.clip(decisions["score"].to_numpy() + noise, 0.001, 0.999)
    rows = pl.DataFrame(
        {
            "decision_id": decisions["decision_id"],
            "challenger": [{"version": "2", "score": s, "decision": "late"} for s in scores],
            "agrees": [n % 4 > 0 for n in range(COUNT)],
            "record_partition": 0,
            "record_offset": range(COUNT),
        }
    )
    log = opened(file).log
    files: list[DataFile] = write_days(
        log.place, log.loop, "comparisons", rows, decisions["event_at"]
    )
    newest = log.newest()
    assert log.append(newest, newest.model_copy(update={"files": (*newest.files, *files)}))

    found = reported(file)

    shadow, version = found["shadow"], found["versions"]["1"]
    assert shadow["labelled"] == version["labelled"]
    assert shadow["agrees"] == pytest.approx(0.75, abs=0.01)
    paired, single = (of["auc"]["high"] - of["auc"]["low"] for of in (shadow, version))
    assert paired < single / 4
    assert abs(shadow["auc"]["value"]) < 0.01


class Parsed(HTMLParser):
    """Everything that would be fetched or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.tags.add(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_nothing_beside_it(filled: Path, tmp_path: Path) -> None:
    """Plots inline, nothing loaded, nothing run; and figures for Prometheus."""
    html, metrics = tmp_path / "report.html", tmp_path / "feedback.prom"

    found = reported(filled, "--html", str(html), "--metrics", str(metrics))

    page = Parsed()
    page.feed(html.read_text())
    assert page.loads == []
    assert "script" not in page.tags
    assert {"svg", "table", "h2"} <= page.tags
    assert f"{found['versions']['1']['auc']['value']:.4f}" in html.read_text()
    version = f'workers_feedback_auc{{{LABELS},version="1"}}'
    lines = figures(metrics)
    assert lines[f"workers_feedback_coverage{{{LABELS}}}"] == pytest.approx(found["coverage"])
    assert lines[version] == pytest.approx(found["versions"]["1"]["auc"]["value"])


def test_an_empty_lake_is_a_report_too(tmp_path: Path) -> None:
    """Nothing is known, and that is what it says."""
    found = reported(checkout(tmp_path), "--html", str(tmp_path / "empty.html"))

    assert (found["decisions"], found["coverage"], found["versions"]) == (0, None, {})
    assert "0 decisions" in (tmp_path / "empty.html").read_text()
