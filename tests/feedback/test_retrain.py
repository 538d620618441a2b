"""The next version comes from logged decisions alone, and comes out the same again."""

from __future__ import annotations

import datetime
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from examples.flights.encode import encode
from examples.flights.events import shipped_month
from tests.feedback.history import departed, october, opened
from workers.cli import app
from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import Decoder
from workers.errors import ModelError
from workers.feedback.dataset import Joiner, Window
from workers.feedback.learning.retrain import retrain
from workers.feedback.learning.rows import labelled
from workers.feedback.opening import Loop
from workers.models.bundle import read_bundle
from workers.models.model import Model

AS_OF = datetime.datetime(2013, 10, 20, tzinfo=datetime.UTC)
COUNT = 12_000


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, contracts: Catalogue) -> Path:
    """A lake of October, read by every test and changed by none."""
    return october(tmp_path_factory.mktemp("october"), contracts, COUNT)


def copied(filled: Path, tmp_path: Path) -> Path:
    """The same topology with models of its own."""
    shutil.copytree(filled.parent, tmp_path / "own")
    return tmp_path / "own" / "topology.yaml"


def test_logged_features_are_the_matrix_that_the_events_give(
    filled: Path, contracts: Catalogue
) -> None:
    """Training and serving build features with the same code: row by row, bit for bit."""
    loop = opened(filled)
    bundle = loop.store.bundle("flight-delay", "1")
    model = Model(bundle)
    window = Window(AS_OF - datetime.timedelta(days=60), AS_OF, AS_OF)
    rows = labelled(
        Joiner(loop.log.place, loop.log.newest(), loop.feedback, "flight-delay"),
        window,
        bundle.manifest.features,
    )

    events = shipped_month().head(COUNT)
    datums = encode(events, contracts.versions("flights-value")[1].schema.text)
    table = Decoder(contracts.versions("flights-value")[1].schema).decode(datums).table
    expected = model.features.compute(table).matrix
    place = {f"flight-delays:flights:0:{n}": n for n in range(COUNT)}
    order = [place[name] for name in rows.judged.frame["decision_id"].to_list()]
    assert len(order) == len(set(order)) > COUNT * 0.9
    np.testing.assert_array_equal(rows.matrix(model.features.ordered), expected[order])
    late = (events["arrival_delay"] > 15).to_numpy()[order]
    twice = departed(events).is_duplicated().to_numpy()[order]
    assert (rows.labels[~twice] == late[~twice]).all()


def test_a_version_is_made_once_and_made_again_alike(filled: Path, tmp_path: Path) -> None:
    """Its card says what it came from; it is proven; the same training is found again."""
    file = copied(filled, tmp_path)
    loop = _with(opened(file), rounds=20)

    first = retrain(loop, AS_OF)
    again = retrain(loop, AS_OF)

    assert (first.version, first.made) == ("3", True)
    assert (again.version, again.made) == ("3", False)
    bundle = loop.store.bundle("flight-delay", "3")
    assert bundle.manifest.metrics["test_auc"] > 0.85
    training = bundle.manifest.training
    assert training is not None
    assert training.seed == 1
    assert "Feedback loop flights, training " in training.dataset
    assert "labelled decisions of versions 1" in training.dataset
    assert bundle.reference is not None
    assert bundle.reference.rows < training.rows
    assert [band.decision for band in bundle.manifest.decisions.bands] == [
        "on_time",
        "review",
        "late",
    ]
    models = file.parent / "models" / "flight-delay"
    kept = {f.name: f.read_bytes() for f in (models / "3").iterdir()}
    shutil.rmtree(models / "3")
    assert retrain(loop, AS_OF).made
    assert {f.name: f.read_bytes() for f in (models / "3").iterdir()} == kept


def test_nothing_after_its_instant_is_in_a_training(filled: Path, tmp_path: Path) -> None:
    """Events and outcomes; the window ends before the rows that it is judged on."""
    file = copied(filled, tmp_path)
    loop = opened(file)

    early = datetime.datetime(2013, 10, 5, tzinfo=datetime.UTC)
    version = _retrained(file, early, rounds=5, min_rows=2000)

    training = loop.store.bundle("flight-delay", version).manifest.training
    assert training is not None
    assert training.until < early
    departures = departed(shipped_month().head(COUNT))
    before = int((departures < early - datetime.timedelta(hours=6)).sum())
    assert 0.6 * before < training.rows <= 0.86 * before


def test_categories_that_came_up_since_are_learned(filled: Path, tmp_path: Path) -> None:
    """Known ones keep their codes; the new one is at the end."""
    file = copied(filled, tmp_path)
    loop = opened(file)
    window = Window(AS_OF - datetime.timedelta(days=60), AS_OF, AS_OF)
    joiner = Joiner(loop.log.place, loop.log.newest(), loop.feedback, "flight-delay")
    features = tuple(
        f.model_copy(update={"categories": ("LGA", "EWR")}) if f.name == "origin" else f
        for f in loop.store.bundle("flight-delay", "1").manifest.features
    )

    from workers.feedback.learning.rows import category_counts, with_new_categories

    rows = labelled(joiner, window, features)
    counts = category_counts(features, rows.features)
    found = {f.name: f.categories for f in with_new_categories(features, counts)}

    assert found["origin"] == ("LGA", "EWR", "JFK")


def test_decisions_whose_features_are_computed_otherwise_are_left_out(
    filled: Path, tmp_path: Path
) -> None:
    """A feature of the same name and another meaning is no row to learn from."""
    file = copied(filled, tmp_path)
    loop = opened(file)
    bundle = loop.store.bundle("flight-delay", "1")
    other = tuple(
        f.model_copy(update={"sql": "distance * 2"}) if f.name == "distance" else f
        for f in bundle.manifest.features
    )
    window = Window(AS_OF - datetime.timedelta(days=60), AS_OF, AS_OF)
    joiner = Joiner(loop.log.place, loop.log.newest(), loop.feedback, "flight-delay")

    rows = labelled(joiner, window, other)

    assert len(rows) == 0
    assert rows.left_out["of features that are computed otherwise"] > COUNT * 0.9


def test_too_little_trains_nothing(filled: Path, tmp_path: Path) -> None:
    """The text says how many there are, and why the others are none."""
    loop = opened(copied(filled, tmp_path))

    with pytest.raises(ModelError, match=r"labelled decisions; retrain.min_rows is 5,000"):
        retrain(loop, datetime.datetime(2013, 10, 3, tzinfo=datetime.UTC))


def gate(file: Path, version: str, as_of: datetime.datetime = AS_OF) -> tuple[int, dict[str, Any]]:
    """The command's exit code and verdicts by rule."""
    done = CliRunner().invoke(
        app,
        [
            "feedback",
            "gate",
            "flights",
            version,
            "--topology",
            str(file),
            "--output",
            "json",
            "--as-of",
            as_of.isoformat(),
        ],
    )
    found = json.loads(done.stdout)
    rules = {rule["name"]: rule for rule in found["rules"]}
    assert found["passed"] == all(rule["passed"] for rule in rules.values())
    return int(getattr(done.exception, "exit_code", done.exit_code)), rules


def test_the_gate_opens_for_what_is_no_worse_and_says_why(filled: Path, tmp_path: Path) -> None:
    """The champion's own trees as another version: every rule is passed, with its figures."""
    file = copied(filled, tmp_path)
    _clone(file, "1", "9", lambda text: text)

    code, rules = gate(file, "9")

    assert code == 0, rules
    assert rules.keys() == {
        "golden rows",
        "rows",
        "calibration",
        "size",
        "AUC",
        "log loss",
        "segments",
        "drift",
        "latency",
    }
    assert "+0.0000" in rules["AUC"]["said"]


def test_the_gate_stays_shut_for_what_is_worse(filled: Path, tmp_path: Path) -> None:
    """A model of one tree: worse by AUC and log loss; promotion refuses it."""
    file = copied(filled, tmp_path)
    _retrained(file, rounds=1)

    code, rules = gate(file, "3")

    assert code == 5
    assert not rules["log loss"]["passed"]
    assert rules["drift"]["passed"], "it is worse, and scores now as in its training"
    assert rules["golden rows"]["passed"]
    done = CliRunner().invoke(
        app,
        ["models", "promote", "flight-delay", "3", "--gated", "--why", "x", "-t", str(file)],
    )
    assert getattr(done.exception, "exit_code", 0) == 5
    assert opened(file).store.aliases("flight-delay").champion == "1"


def test_the_gate_stays_shut_where_little_is_known(filled: Path, tmp_path: Path) -> None:
    """Rows that the challenger was made with do not count."""
    file = copied(filled, tmp_path)
    version = _retrained(
        file, datetime.datetime(2013, 10, 9, tzinfo=datetime.UTC), rounds=5, min_rows=2000
    )

    _, early = gate(file, version, datetime.datetime(2013, 10, 8, tzinfo=datetime.UTC))
    _, late = gate(file, version)

    assert not early["rows"]["passed"]
    assert late["rows"]["passed"]


def _retrained(file: Path, as_of: datetime.datetime = AS_OF, **changes: Any) -> str:
    loop = _with(opened(file), **changes)
    return retrain(loop, as_of).version


def _with(loop: Loop, **changes: Any) -> Loop:
    """The loop with other settings of its training."""
    settings = loop.feedback.retrain.model_copy(update=changes)
    return replace(loop, feedback=loop.feedback.model_copy(update={"retrain": settings}))


def _clone(file: Path, version: str, name: str, change: Any) -> None:
    """A version with the files of another."""
    models = file.parent / "models" / "flight-delay"
    shutil.copytree(models / version, models / name)
    manifest = models / name / "manifest.json"
    document = json.loads(manifest.read_text())
    document["version"] = name
    manifest.write_text(change(json.dumps(document)))
    assert read_bundle(models.parent, "flight-delay", name).manifest.version == name


def test_tuning_finds_what_is_no_worse_and_the_same_again(filled: Path, tmp_path: Path) -> None:
    """Within its trials; the start is one of them."""
    from workers.topology.feedback import Tune

    file = copied(filled, tmp_path)
    version = _retrained(file, rounds=5, tune=Tune(trials=3))
    models = file.parent / "models" / "flight-delay"
    first = (models / version / "model.txt").read_bytes()
    shutil.rmtree(models / version)

    assert _retrained(file, rounds=5, tune=Tune(trials=3)) == version
    assert (models / version / "model.txt").read_bytes() == first
    assert pl.read_json(models / version / "manifest.json")["version"][0] == version
