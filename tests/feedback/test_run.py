"""The loop as one command: each step once, whatever ends it on the way, and never two at a time."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from examples.flights.events import shipped_month
from tests.conftest import ROOT
from tests.feedback.history import POLICY, arrivals, decided, october, opened
from tests.feedback.lakes import fill
from tests.feedback.test_retrain import _clone, _with
from workers.commands.feedback_common import ended_by_sigterm
from workers.contracts.catalogue import Catalogue
from workers.enrich.path import Enricher
from workers.feedback.collect import CollectedState, nowhere
from workers.feedback.lake.lease import SECONDS, Lease, held
from workers.feedback.lake.place import Folder, LakeFault
from workers.feedback.opening import Loop
from workers.feedback.run import WHO, Ran, Runner
from workers.models.model import Model
from workers.models.store import Change
from workers.stream.clock import SystemClock
from workers.testing.kafka import free_port

COUNT = 12_000
AS_OF = datetime.datetime(2013, 10, 12, tzinfo=datetime.UTC)
LATER = datetime.datetime(2013, 10, 20, tzinfo=datetime.UTC)


class KilledError(Exception):
    """What ends a run on the way."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, contracts: Catalogue) -> Path:
    """A lake of October, read by every test and changed by none."""
    return october(tmp_path_factory.mktemp("october"), contracts, COUNT)


@pytest.fixture
def loop(filled: Path, tmp_path: Path) -> Loop:
    """A loop with models and a lake of its own; trainings are small."""
    shutil.copytree(filled.parent, tmp_path / "own")
    found = _with(opened(tmp_path / "own" / "topology.yaml"), rounds=20, min_rows=2000)
    gate = found.feedback.gate.model_copy(
        update={
            "min_rows": 300,
            "auc_margin": 0.1,
            "log_loss_margin": 0.1,
            "drift": 9.0,
            "segment_margin": 1.0,
        }
    )
    return replace(found, feedback=found.feedback.model_copy(update={"gate": gate}))


def run(loop: Loop, as_of: datetime.datetime, at: Callable[[str], None] = nowhere) -> Ran:
    """Once, with nothing new to collect."""
    return Runner(loop, SystemClock(), CollectedState, at).run(as_of)


def dying(point: str) -> Callable[[str], None]:
    """A failpoint."""

    def at(name: str) -> None:
        if name == point:
            raise KilledError(name)

    return at


def change(when: datetime.datetime, did: str, who: str = WHO) -> Change:
    """For the history."""
    return Change(when=when, who=who, why="test", did=did)


def test_a_run_that_was_killed_is_taken_up_and_ends_as_if_nothing_had_been(loop: Loop) -> None:
    """One version, one canary: also where it died after the training, and time has gone on."""
    for point in ("collect", "serving", "trained", "retrain"):
        with pytest.raises(KilledError):
            run(loop, AS_OF, dying(point))

    ended = run(loop, LATER)

    assert (ended.resumed, ended.as_of) == (True, AS_OF)
    assert loop.store.versions("flight-delay") == ("1", "2", "3")
    aliases = loop.store.aliases("flight-delay")
    assert (aliases.champion, aliases.challenger) == ("1", "3")
    assert aliases.canary is not None
    assert (aliases.canary.share, aliases.canary.since) == (0.1, AS_OF)
    assert [c.did for c in aliases.history] == [
        "promote",
        "promote 3 to challenger",
        "canary 0.1",
    ]
    after = run(loop, LATER)
    assert not after.resumed
    assert "retrain" not in after.steps
    assert "0 outcomes of the canary" in after.steps["serving"]


def _arms(loop: Loop, contracts: Catalogue, score: Callable[[pl.Expr], pl.Expr]) -> None:
    """More traffic, half of it the challenger's."""
    events = shipped_month().slice(COUNT, 3000)
    enricher = Enricher(POLICY, contracts, Model(loop.store.bundle("flight-delay", "1")))
    mine = pl.col("record_offset") % 2 == 0
    rows = decided(events, enricher, contracts).with_columns(
        ("x" + pl.col("decision_id")).alias("decision_id"),
        pl.when(mine).then(pl.lit("challenger")).otherwise("arm").alias("arm"),
        pl.when(mine).then(score(pl.col("score"))).otherwise("score").alias("score"),
    )
    fill(loop.log, rows, arrivals(events))


def _quiet(loop: Loop) -> Loop:
    """The loop where nothing can be trained."""
    return _with(loop, min_rows=10**6)


def test_a_canary_that_is_no_worse_moves_on_to_champion(loop: Loop, contracts: Catalogue) -> None:
    """Step by step, each with enough outcomes of its own; running again moves nothing."""
    store, began = loop.store, datetime.datetime(2013, 10, 14, tzinfo=datetime.UTC)
    store.promote("flight-delay", "2", change(began, "promote 2 to challenger"), "challenger")
    store.canary("flight-delay", 0.1, change(began, "canary 0.1"))
    _arms(loop, contracts, lambda score: score)
    now = datetime.datetime(2013, 10, 25, tzinfo=datetime.UTC)

    quiet = _quiet(loop)

    first, again = run(quiet, now), run(quiet, now)

    assert "decides for 50% of the keys" in first.steps["serving"]
    assert "are needed" in again.steps["serving"]
    store.canary("flight-delay", 0.5, change(began, "canary 0.5"))
    last = run(quiet, now)
    assert last.steps["serving"] == "version 2 is champion"
    aliases = store.aliases("flight-delay")
    assert (aliases.champion, aliases.previous, aliases.challenger, aliases.canary) == (
        "2",
        "1",
        None,
        None,
    )


def test_a_canary_that_is_worse_is_taken_back(loop: Loop, contracts: Catalogue) -> None:
    """With confidence, and by more than is declared."""
    store, began = loop.store, datetime.datetime(2013, 10, 14, tzinfo=datetime.UTC)
    store.promote("flight-delay", "2", change(began, "promote 2 to challenger"), "challenger")
    store.canary("flight-delay", 0.1, change(began, "canary 0.1"))
    _arms(loop, contracts, lambda score: 1 - score)
    now = datetime.datetime(2013, 10, 25, tzinfo=datetime.UTC)

    ended = run(_quiet(loop), now)

    assert "version 2 is taken back" in ended.steps["serving"]
    aliases = store.aliases("flight-delay")
    assert (aliases.champion, aliases.challenger, aliases.canary) == ("1", None, None)
    assert "labelled decisions; retrain.min_rows" in ended.steps["retrain"]


def test_a_champion_that_decays_is_rolled_back(loop: Loop) -> None:
    """Held to the one before on the same rows; once, and never one that a person promoted."""

    def off(text: str) -> str:
        document = json.loads(text)
        document["calibration"] = {"method": "platt", "slope": 1.0, "intercept": 3.0}
        return json.dumps(document)

    file = Path(str(loop.feedback.lake.directory)).parent / "topology.yaml"
    _clone(file, "1", "8", off)
    store, began = loop.store, datetime.datetime(2013, 10, 5, tzinfo=datetime.UTC)
    quiet = _quiet(loop)
    store.promote("flight-delay", "8", change(began, "promote 8", who="a person"))
    assert run(quiet, AS_OF).steps["serving"] == "version 8 serves"
    store.promote("flight-delay", "1", change(began, "promote 1"))
    store.promote("flight-delay", "8", change(began, "promote 8"))

    ended = run(quiet, AS_OF)

    assert "version 1 serves again: log loss +" in ended.steps["serving"]
    assert store.aliases("flight-delay").champion == "1"
    assert "serves" in run(quiet, LATER).steps["serving"]
    assert store.aliases("flight-delay").champion == "1"


def test_what_no_document_names_goes_where_that_is_asked_for(loop: Loop) -> None:
    """After this run's own collecting; without `keep` it stays."""
    orphan = f"{loop.log.loop}/decisions/day=2013-01-01/event-0.parquet"
    assert loop.log.place.create(orphan, b"killed")
    rows = loop.log.newest().rows("decisions")

    assert "clean" not in run(_quiet(loop), AS_OF).steps
    assert orphan in loop.log.place.below(loop.log.loop)
    steps = Runner(_quiet(loop), SystemClock(), CollectedState, keep=1).run(AS_OF).steps

    assert orphan not in loop.log.place.below(loop.log.loop)
    assert "files that no document names removed" in steps["clean"]
    assert (len(loop.log.numbers()), loop.log.newest().rows("decisions")) == (1, rows)


def test_a_run_that_is_asked_to_end_leaves_the_loop_to_the_next(loop: Loop) -> None:
    """SIGTERM, as Kubernetes sends it: exit code 143, and no lease to wait out."""
    file = Path(str(loop.feedback.lake.directory)).parent / "topology.yaml"
    text = file.read_text()
    file.write_text(
        text.replace(loop.topology.broker.bootstrap_servers, f"127.0.0.1:{free_port()}")
    )
    command = [sys.executable, "-m", "workers", "feedback", "run", "--topology", str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        # It has the lease and has noted that it began, and asks for a broker that is not there.
        while not loop.log.place.names("flights/runs"):
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        assert process.wait(30) == 143

    Lease(loop.log.place, "flights", SystemClock()).take()
    assert loop.log.place.names("flights/runs") == ["000000001-begun.json"]


def test_by_hand_changes_no_alias(loop: Loop) -> None:
    """The version is there, and the text says that it passed."""
    policy = loop.feedback.promotion.model_copy(update={"mode": "by_hand"})
    careful = replace(loop, feedback=loop.feedback.model_copy(update={"promotion": policy}))
    before = loop.store.aliases("flight-delay")

    ended = run(careful, AS_OF)

    assert ended.steps["retrain"] == "version 3 passed the gate; promote it by hand"
    assert loop.store.aliases("flight-delay") == before


class Time:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.at = 1_000_000

    def now(self) -> int:
        """Milliseconds."""
        return self.at

    def monotonic(self) -> float:
        """Seconds."""
        return self.at / 1000

    def pass_(self, seconds: float) -> None:
        """So much later."""
        self.at += int(seconds * 1000)


def test_only_one_run_has_the_loop(tmp_path: Path) -> None:
    """Until it leaves, or its time is over because it was killed."""
    clock, place = Time(), Folder(tmp_path)
    first, second = (Lease(place, "flights", clock) for _ in range(2))

    first.take()
    first.renew()
    with pytest.raises(LakeFault, match="another run has the loop"):
        second.take()
    clock.at += SECONDS * 1000
    second.take()
    with pytest.raises(LakeFault, match="another run has the loop"):
        first.renew()
    with (
        pytest.raises(LakeFault, match="another run has the loop"),
        held(first, clock, SECONDS - 1, clock.pass_),
    ):
        pass
    waited = clock.at
    with held(first, clock, SECONDS, clock.pass_):
        assert waited < clock.at
        with pytest.raises(LakeFault, match="another run has the loop"):
            second.take()
    second.take()
    second.leave()
    first.take()
    assert len(place.names("flights/lease")) <= 4


def test_who_is_told_to_end_while_the_lease_becomes_his_leaves_it(tmp_path: Path) -> None:
    """The next run need not wait half an hour for nobody."""

    class Told(Folder):
        def create(self, path: str, content: bytes) -> bool:
            first = not self.names("flights/lease")
            made = super().create(path, content)
            if first:
                raise SystemExit(143)
            return made

    clock = Time()
    with pytest.raises(SystemExit), held(Lease(Told(tmp_path), "flights", clock), clock):
        raise AssertionError("it never had the lease")

    Lease(Folder(tmp_path), "flights", clock).take()


def test_what_ends_a_run_after_sigterm_is_sigterm() -> None:
    """A library that calls us from C may lose the exception and say that something is wrong."""

    def told() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        except SystemExit:
            raise SystemError("returned a result with an exception set") from None

    with pytest.raises(SystemExit) as ended, ended_by_sigterm():
        told()

    assert ended.value.code == 143
    with pytest.raises(ValueError, match="of its own"), ended_by_sigterm():
        raise ValueError("a fault of its own")
