"""A training whose rows are spread over the processes of a real Dask cluster."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from distributed import LocalCluster
from ruamel.yaml import YAML

from tests.feedback.history import october, opened
from workers.contracts.catalogue import Catalogue
from workers.errors import ModelError
from workers.feedback.collect import DECISIONS
from workers.feedback.dataset import Window
from workers.feedback.lake.commits import Commit, DataFile
from workers.feedback.learning import remote, spread
from workers.feedback.learning.cluster import Cluster
from workers.feedback.learning.cluster import opened as opened_cluster
from workers.feedback.learning.parts import Part, TrainingRows
from workers.feedback.learning.retrain import opened_rows, retrain
from workers.feedback.opening import Loop
from workers.models.bundle import Bundle
from workers.models.text import read_text
from workers.topology.feedback import Dask, Tune, Weighting

pytestmark = pytest.mark.slow
AS_OF = datetime.datetime(2013, 10, 20, tzinfo=datetime.UTC)
COUNT = 12_000
WINDOW = Window(AS_OF - datetime.timedelta(days=60), AS_OF, AS_OF)
HELD_OUT = (Part.HELD, Part.CALIBRATE, Part.TEST)


def by_chance(decisions: pl.DataFrame) -> pl.DataFrame:
    """Propensities as exploration would have logged them."""
    chances = np.random.default_rng(7).choice([0.05, 0.5, 0.95], decisions.height)
    return decisions.with_columns(propensity=pl.Series(chances))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, contracts: Catalogue) -> Path:
    """A lake of October, read by every test and changed by none."""
    return october(tmp_path_factory.mktemp("dask"), contracts, COUNT, change=by_chance)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster that somebody else has started: the address of its scheduler."""
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        local_directory=str(tmp_path_factory.mktemp("workers")),
    ) as found:
        yield found.scheduler_address


def declared(file: Path, tmp_path: Path, **dask: Any) -> Path:
    """The same topology with models of its own and a cluster."""
    shutil.copytree(file.parent, tmp_path / "own")
    own = tmp_path / "own" / "topology.yaml"
    document = YAML(typ="safe").load(own.read_text())
    document["feedback"]["flights"]["retrain"].update({"rounds": 20, "dask": dask})
    with own.open("w") as written:
        YAML(typ="safe").dump(document, written)
    return own


def having(loop: Loop, **changes: Any) -> Loop:
    """The loop with other settings of its training."""
    settings = loop.feedback.retrain.model_copy(update=changes)
    return replace(loop, feedback=loop.feedback.model_copy(update={"retrain": settings}))


def test_two_clusters_learn_from_the_same_rows_and_are_as_good_as_one_machine(
    filled: Path, tmp_path: Path, scheduler: str
) -> None:
    """The command's own processes, and those of a scheduler; beside a training here."""
    own = declared(filled, tmp_path / "one", workers=2)
    command = [str(Path(sys.executable).with_name("workers")), "feedback", "retrain", "flights"]
    done = subprocess.run(
        [*command, "--as-of", AS_OF.isoformat(), "--topology", str(own)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # LightGBM's C code is talkative; what the command says is for programs to read.
    assert json.loads(done.stdout)["version"] == "3"

    theirs = declared(filled, tmp_path / "two", workers=2, scheduler=scheduler)
    assert retrain(opened(theirs), AS_OF).made
    text = (own.parent / "models" / "flight-delay" / "3" / "model.txt").read_text()
    assert "[num_machines: 2]" in text
    assert "127.0.0.1" not in text

    here = declared(filled, tmp_path / "here", workers=2)
    assert retrain(having(opened(here), dask=None), AS_OF).made
    *clusters, local = (
        opened(file).store.bundle("flight-delay", "3") for file in (own, theirs, here)
    )
    for spread_out in clusters:
        assert_same_rows(spread_out, local)
        for name, bound in (("test_auc", 0.01), ("test_log_loss", 0.01), ("test_brier", 0.005)):
            ours, other = (b.manifest.metrics[name] for b in (spread_out, local))
            assert abs(ours - other) < bound, (name, ours, other)
        assert spread_out.manifest.metrics["test_auc"] > 0.85


def assert_same_rows(one: Bundle, two: Bundle) -> None:
    """Both have learned from the same rows, cut alike, with the same features."""
    assert one.manifest.features == two.manifest.features
    assert one.manifest.metrics["test_rows"] == two.manifest.metrics["test_rows"]
    ours, other = one.manifest.training, two.manifest.training
    assert ours is not None
    assert other is not None
    assert (ours.since, ours.until, ours.rows) == (other.since, other.until, other.rows)
    assert ours.dataset.partition(";")[2] == other.dataset.partition(";")[2]
    assert one.reference is not None
    assert two.reference is not None
    assert one.reference.features == two.reference.features


def test_rows_are_the_same_wherever_they_are(filled: Path, tmp_path: Path, scheduler: str) -> None:
    """Every part's labels, weights and scores, in the order of events; and the sample."""
    loop = having(opened(filled), rounds=5, weighting=Weighting.PROPENSITY)
    cluster = having(loop, dask=Dask(workers=2, scheduler=scheduler))
    features = loop.store.bundle("flight-delay", "1").manifest.features
    commit = loop.log.newest()

    with (
        opened_rows(loop, commit, tuple(features), WINDOW) as here,
        opened_rows(cluster, commit, tuple(features), WINDOW) as there,
    ):
        assert there.features == here.features
        assert there.summary.left_out == here.summary.left_out
        assert there.summary.versions == here.summary.versions
        known = there.summary.effective
        assert known == pytest.approx(here.summary.effective)
        assert known is not None
        assert known < 0.9 * there.summary.rows
        text = there.trees({}, search=False)
        for part in HELD_OUT:
            np.testing.assert_array_equal(there.labels(part), here.labels(part))
            np.testing.assert_array_equal(weights(there, part), weights(here, part))
            np.testing.assert_array_equal(there.scores(text, part), here.scores(text, part))
        for part in (Part.TRAIN, Part.CALIBRATE, Part.TEST):
            assert there.happened(part) == here.happened(part)
        np.testing.assert_array_equal(there.sample(), here.sample())

        plain = having(cluster, weighting=Weighting.NONE)
        with opened_rows(plain, commit, tuple(features), WINDOW) as alike:
            assert alike.weights(Part.TEST) is None
            assert alike.trees({}, search=False) != text, "weights are part of what is learned"


def weights(rows: TrainingRows, part: Part) -> Any:
    """They are there."""
    found = rows.weights(part)
    assert found is not None
    return found


def test_a_search_trains_without_the_rows_that_it_is_judged_on(
    filled: Path, tmp_path: Path, scheduler: str
) -> None:
    """On the cluster as well: leaves count the rows of the part before; parameters are kept."""
    file = declared(filled, tmp_path, workers=2, scheduler=scheduler)
    loop = having(opened(file), tune=Tune(trials=2), rounds=5)
    features = tuple(loop.store.bundle("flight-delay", "1").manifest.features)

    with opened_rows(loop, loop.log.newest(), features, WINDOW) as rows:
        held, learned = len(rows.labels(Part.HELD)), len(rows.sample())
        counts = [
            sum(map(int, read_text(rows.trees({}, search=search)).trees[0]["leaf_count"].split()))
            for search in (True, False)
        ]
        aliases = rows.trees({"sub_feature": 0.5, "min_data": 40}, search=True)
    made = retrain(loop, AS_OF)

    assert counts == [learned - held, learned]
    # LightGBM's estimators have defaults of their own, under names that these are beside.
    assert "[feature_fraction: 0.5]" in aliases
    assert "[min_data_in_leaf: 40]" in aliases
    text = (file.parent / "models" / "flight-delay" / made.version / "model.txt").read_text()
    assert f"[num_leaves: {made.parameters['num_leaves']}]" in text
    assert f"[min_data_in_leaf: {made.parameters.get('min_data_in_leaf', 20)}]" in text


def test_too_little_trains_nothing_there_either(filled: Path, scheduler: str) -> None:
    """The text is the one that a training here has."""
    loop = having(opened(filled), dask=Dask(workers=2, scheduler=scheduler))

    with pytest.raises(ModelError, match=r"labelled decisions; retrain.min_rows is 5,000"):
        retrain(loop, datetime.datetime(2013, 10, 3, tzinfo=datetime.UTC))


def test_a_worker_that_is_lost_ends_the_training() -> None:
    """What was bound to it would wait for ever for a worker of that address."""
    with (
        pytest.raises(ModelError, match=r"lost while training: tcp://127\.0\.0\.1:"),
        opened_cluster(Dask(workers=2), threads=1) as cluster,
    ):
        cluster.results([cluster.on(cluster.workers[0], os._exit, 1)])


def test_a_worker_of_another_build_takes_no_part(
    scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it reads and computes would be something else; the text says what differs."""
    monkeypatch.setattr(remote, "__version__", "9.9.9")

    with (
        pytest.raises(ModelError, match=r"has {'enrichment-workers': .*9\.9\.9"),
        opened_cluster(Dask(workers=2, scheduler=scheduler), threads=1) as cluster,
    ):
        assert isinstance(cluster, Cluster)


def test_workers_that_do_not_come_are_not_waited_for(scheduler: str) -> None:
    """There are two, and three are declared."""
    asked = Dask.model_validate({"workers": 3, "scheduler": scheduler, "timeout": "1s"})

    with pytest.raises(ModelError, match=r"retrain\.dask: "), opened_cluster(asked, threads=1):
        pass


def test_days_go_to_who_has_the_fewest_rows(filled: Path) -> None:
    """Each day once; no worker without a day; the same where the commit is."""
    days = [datetime.date(2013, 10, n + 1) for n in range(7)]
    rows = (5, 1, 1, 1, 1, 9, 2)
    files = tuple(
        DataFile(path=f"{day}", table=DECISIONS, day=day, by="event", rows=count, bytes=1)
        for day, count in zip(days, rows, strict=True)
    )
    commit = Commit(at=AS_OF, did="test", files=files)
    asked = remote.Asked(opened(filled).feedback, 1, "flight-delay", WINDOW, ())

    assert spread._shared(asked, commit, 2) == [
        [days[0], days[6]],
        [days[1], days[2], days[3], days[4], days[5]],
    ]
    assert spread._shared(asked, commit, 9) == [[day] for day in days]
    assert spread._shared(asked, Commit(at=AS_OF, did="test"), 2) == []
