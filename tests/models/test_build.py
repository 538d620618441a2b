"""`workers models build`: from a booster, a spec and events to a bundle that workers serve."""

from __future__ import annotations

import io
import json
import pickle
import shutil
from collections import Counter
from pathlib import Path

import fastavro
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from workers.cli import app
from workers.contracts.catalogue import Catalogue
from workers.errors import ModelError, WorkersError
from workers.models.bundle import read_bundle
from workers.models.golden import spread

SPEC = """\
name: flight-delay
version: "3"
description: Late?
owner: flights@example.org
licence: Apache-2.0
contract: {subject: flights-value, version: 1}
training:
  since: 2013-01-01T00:00:00Z
  until: 2013-07-01T00:00:00Z
  rows: 160590
  dataset: departures
  seed: 1
features: FEATURES
decisions:
  bands:
    - {since: 0, decision: on_time}
    - {since: 0.3, decision: review}
    - {since: 0.6, decision: late}
  fallback: review
calibration: {method: platt, slope: 0.9, intercept: 0.1}
reasons:
  decisions: [late]
  codes: {temperature: weather}
metrics: {auc: 0.9}
"""


@pytest.fixture
def place(tmp_path: Path, contracts: Catalogue, flights: list[bytes]) -> Path:
    """A checkout with a spec, a booster's file and 4,000 events."""
    for folder in ("schemas", "models"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    topology = (ROOT / "topology.yaml").read_text()
    (tmp_path / "topology.yaml").write_text(topology.replace('version: "1"', 'version: "3"'))
    features = json.loads((ROOT / "models/flight-delay/1/manifest.json").read_text())["features"]
    (tmp_path / "spec.yaml").write_text(SPEC.replace("FEATURES", json.dumps(features)))
    shutil.copy(ROOT / "models/flight-delay/1/model.txt", tmp_path / "model.txt")
    schema = contracts.versions("flights-value")[1].schema
    events = [fastavro.schemaless_reader(io.BytesIO(d), schema.parsed, None) for d in flights]
    with (tmp_path / "events.avro").open("wb") as file:
        fastavro.writer(file, schema.parsed, events)
    return tmp_path


def build(place: Path, *more: str) -> tuple[str, WorkersError | None]:
    """Run the command; its text, and why it ended."""
    files = ["--booster", str(place / "model.txt"), "--events", str(place / "events.avro")]
    topology = ["--topology", str(place / "topology.yaml")]
    spec = str(place / "spec.yaml")
    done = CliRunner().invoke(app, ["models", "build", spec, *files, *topology, *more])
    failed = done.exception
    assert failed is None or isinstance(failed, WorkersError), (done.output, failed)
    return done.output, failed


@pytest.mark.slow
def test_a_bundle_is_made_that_workers_serve(place: Path) -> None:
    """With golden rows of every decision and the reference of all events that have a score."""
    text, failed = build(place)

    assert failed is None, failed
    assert "events scored" in text
    assert "50, reproduced" in text
    made = read_bundle(place / "models", "flight-delay", "3")
    manifest = made.manifest
    assert (manifest.licence, manifest.metrics) == ("Apache-2.0", {"auc": 0.9})
    assert manifest.training is not None
    assert manifest.training.since.isoformat() == "2013-01-01T00:00:00+00:00"
    decided = Counter(row.decision for row in made.golden.rows)
    assert min(decided[band.decision] for band in manifest.decisions.bands) >= 8
    scores = [row.score for row in made.golden.rows]
    assert made.reference is not None
    assert made.reference.rows == 4000
    assert (min(scores), max(scores)) == (
        made.reference.scores.edges[0],
        made.reference.scores.edges[-1],
    )
    place_of = ["--topology", str(place / "topology.yaml")]
    checked = CliRunner().invoke(app, ["models", "check", "flight-delay", "3", *place_of])
    assert "golden rows reproduced" in checked.output, checked.exception
    started = CliRunner().invoke(app, ["check", *place_of])
    assert "flight-delay version 3" in started.output, started.exception


@pytest.mark.slow
def test_the_same_inputs_give_the_same_bundle(place: Path) -> None:
    """But for `created`, where the spec does not say it."""
    spec = (place / "spec.yaml").read_text()
    (place / "spec.yaml").write_text(f"created: 2014-01-01T00:00:00Z\n{spec}")
    folder = place / "models" / "flight-delay" / "3"

    assert build(place, "--golden", "7")[1] is None
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    shutil.rmtree(folder)
    assert build(place, "--golden", "7")[1] is None

    assert {file.name: file.read_bytes() for file in folder.iterdir()} == first
    assert len(json.loads(first["golden.json"])["rows"]) == 7


@pytest.mark.slow
def test_a_version_is_never_changed(place: Path) -> None:
    """A second build of it is refused; nothing is left behind by a build that failed."""
    assert build(place)[1] is None
    before = {path.name for path in (place / "models" / "flight-delay").iterdir()}

    failed = build(place)[1]

    assert isinstance(failed, ModelError)
    assert "a version never changes" in str(failed)
    assert {path.name for path in (place / "models" / "flight-delay").iterdir()} == before


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("owner:", "ownr:", "spec.yaml:4: ownr: unknown key; did you mean owner?"),
        ("slope: 0.9", "slope: -1", "spec.yaml:20: calibration.platt.slope"),
        ("until: 2013-07", "until: 2012-07", "spec.yaml:7: training: the training window must end"),
        ("since: 0.6", "since: .nan", "spec.yaml:18: decisions.bands.2.since"),
        ('version: "3"', "version: 3", "spec.yaml:2: version: Input should be a valid string"),
        ("fallback: review", "", "decisions.fallback: is needed"),
        ("subject: flights-value", "subject: nothing", "nothing"),
        ("version: 1}", "version: 9}", "flights-value version 9 is not among the contracts"),
        ("decisions: [late]", "decisions: [lat]", "there is no lat"),
        (
            "COALESCE(seats, 0)",
            "RANK() OVER (ORDER BY seats)",
            "feature seats: `RANK() OVER (ORDER BY seats)` gives another value",
        ),
        ("COALESCE(seats, 0)", "seat", "spec.yaml: feature seats: the contract has no field"),
    ],
)
def test_a_wrong_spec_is_refused_with_its_place(
    place: Path, before: str, after: str, said: str
) -> None:
    """File, line and field; or the feature. Nothing is written."""
    spec = (place / "spec.yaml").read_text()
    assert before in spec
    (place / "spec.yaml").write_text(spec.replace(before, after, 1))

    failed = build(place)[1]

    assert isinstance(failed, WorkersError)
    assert said in str(failed)
    assert not (place / "models" / "flight-delay" / "3").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps({"booster": 1}), "save_model"),
        (b'{"tree_info": []}', "save_model"),
        (None, "No such file"),
    ],
)
def test_a_booster_file_that_is_no_text_is_refused(
    place: Path, content: bytes | None, said: str
) -> None:
    """A pickle is never loaded; the text names the file and what to call."""
    (place / "model.txt").unlink()
    if content is not None:
        (place / "model.txt").write_bytes(content)

    failed = build(place)[1]

    assert isinstance(failed, ModelError)
    assert "model.txt" in str(failed)
    assert said in str(failed)


def test_a_booster_that_kills_its_loader_is_refused(place: Path) -> None:
    """A child loads it first: the command says so and lives."""
    text = (place / "model.txt").read_text()
    cut = text.index("Tree=40\n")
    (place / "model.txt").write_text(text[:cut] + "num_leaves=7\n\n")

    failed = build(place)[1]

    assert isinstance(failed, ModelError)
    assert not (place / "models" / "flight-delay" / "3").exists()


def test_golden_rows_are_spread_over_scores_and_decisions() -> None:
    """A rare decision has its share; a score that is none is not picked; no row twice."""
    random = np.random.default_rng(1)
    scores = np.concatenate((random.uniform(0, 0.3, 10_000), [0.5, 0.51, np.nan, 0.99]))
    bands = np.searchsorted([0, 0.4, 0.9], np.nan_to_num(scores), side="right") - 1

    picked = spread(scores, bands, 50)

    assert len(picked) == len(set(picked)) == 50
    assert {10_000, 10_001, 10_003, int(np.argmin(scores[:10_000]))} <= set(picked)
    assert 10_002 not in picked
    assert np.diff(np.sort(scores[picked[:-3]])).max() < 0.02
    for count in range(1, 8):
        assert len(spread(scores, bands, count)) == count
    assert spread(scores[-2:], bands[-2:], 50) == [1]
