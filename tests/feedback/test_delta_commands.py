"""Delta tables by the commands, and as a step of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from tests.feedback.deltas import TABLES, by_deltalake, folder, more, same
from tests.feedback.lakes import DAY, START
from tests.feedback.test_report import checkout
from workers.cli import app
from workers.errors import TopologyError
from workers.feedback.collect import CollectedState
from workers.feedback.opening import open_loop
from workers.feedback.run import Runner
from workers.stream.clock import SystemClock
from workers.topology import load


def topology_of(tmp_path: Path, *, delta: bool) -> Path:
    """The demo's loop, with a lake of its own and without history."""
    file = checkout(tmp_path)
    if delta:
        text = file.read_text()
        assert text.count("{directory: lake}") == 1
        file.write_text(text.replace("{directory: lake}", "{directory: lake, delta: true}"))
    return file


def invoked(*arguments: str) -> Any:
    """A command's end."""
    return CliRunner().invoke(app, ["feedback", *arguments])


def test_the_commands_mirror_where_it_is_declared(tmp_path: Path) -> None:
    """By hand in words and as JSON; `compact` before it removes files."""
    file = topology_of(tmp_path, delta=True)
    log = open_loop(load(file), None).log
    assert invoked("delta", "-t", str(file)).stdout == "nothing is collected yet\n"
    for first in (0, 6):
        more(log, first)

    said = invoked("delta", "flights", "-t", str(file))
    told = invoked("delta", "-t", str(file), "--output", "json")
    compacted = invoked("compact", "-t", str(file), "--keep", "1")

    assert (said.exit_code, told.exit_code, compacted.exit_code) == (0, 0, 0)
    assert said.stdout.splitlines()[0] == (
        "decisions: Delta version 0 has the 6 files of commit 2, 6 of them new, 0 gone"
    )
    assert json.loads(told.stdout)["tables"][0] == {
        "table": "decisions",
        "version": 0,
        "commit": 2,
        "files": 6,
        "added": 0,
        "removed": 0,
        "columns": [],
    }
    assert compacted.stdout.splitlines()[:2] == [
        "8 files before, 4 after; 8 removed",
        "decisions: Delta version 1 has the 3 files of commit 3, 3 of them new, 6 gone",
    ]
    for table in TABLES:
        same(log, table)


def test_where_it_is_not_declared_there_is_no_log(tmp_path: Path) -> None:
    """And the command says what to write."""
    file = topology_of(tmp_path, delta=False)
    log = open_loop(load(file), None).log
    more(log, 0)

    refused = invoked("delta", "-t", str(file))
    compacted = invoked("compact", "-t", str(file), "--keep", "1")

    assert isinstance(refused.exception, TopologyError)
    assert "feedback.flights.lake: write `delta: true` first" in str(refused.exception)
    assert compacted.exit_code == 0
    assert not [path for path in log.place.below(log.loop) if "_delta_log" in path]


def test_a_run_mirrors_between_compacting_and_cleaning(tmp_path: Path) -> None:
    """After each step readers find every file."""
    log = open_loop(load(topology_of(tmp_path, delta=True)), None).log
    found = open_loop(load(tmp_path / "topology.yaml"), None)
    now, met = START + 20 * DAY, list[str]()

    def looked(name: str) -> None:
        met.append(name)
        if (folder(log) / "_delta_log").exists():
            by_deltalake(log)

    for first in range(0, 36, 6):
        more(log, first)
        if first == 6:
            Runner(found, SystemClock(), CollectedState).run(now)
    ran = Runner(found, SystemClock(), CollectedState, looked, keep=1).run(now)

    assert list(ran.steps)[:4] == ["collect", "compact", "delta", "clean"]
    assert [name for name in met if name in ran.steps][:4] == list(ran.steps)[:4]
    assert ran.steps["compact"] == "24 files became 5"
    assert ran.steps["delta"].startswith("decisions: Delta version 1 has the 3 files of commit 7")
    same(log)


def test_a_run_goes_on_without_a_mirror_and_says_so(tmp_path: Path) -> None:
    """Training waits for no reader of Delta; files that the mirror still names stay."""
    file = topology_of(tmp_path, delta=True)
    found = open_loop(load(file), None)
    more(found.log, 0, x=1)
    Runner(found, SystemClock(), CollectedState).run(START + 20 * DAY)
    for first in range(6, 36, 6):
        more(found.log, first, x="one")
    before = by_deltalake(found.log)

    ran = Runner(found, SystemClock(), CollectedState, keep=1).run(START + 90 * DAY)

    assert "column `x`" in ran.fault
    assert ran.steps["delta"] == f"not mirrored: {ran.fault}"
    assert ran.steps["clean"] == "nothing removed: the mirror may still name it"
    assert list(ran.steps)[4:] == ["serving", "retrain"]
    assert_frame_equal(by_deltalake(found.log), before)
