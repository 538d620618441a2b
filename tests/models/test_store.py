"""Aliases: one document a model, replaced whole, with a history."""

from __future__ import annotations

import datetime
import json
import shutil
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from workers.cli import app
from workers.errors import ModelError
from workers.models.store import ALIASES, Change, Store

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
NAME = "flight-delay"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The demo's model under three versions' folders."""
    for version in ("1", "2", "10"):
        shutil.copytree(ROOT / "models" / NAME / "1", tmp_path / NAME / version)
    return Store(tmp_path)


def why(did: str = "promote") -> Change:
    """Somebody, for a reason."""
    return Change(when=NOW, who="me", why="a test", did=did)


def test_versions_are_listed_by_value(store: Store) -> None:
    """2 before 10."""
    assert store.names() == (NAME,)
    assert store.versions(NAME) == ("1", "2", "10")


def test_promotion_and_rollback_keep_the_one_before(store: Store) -> None:
    """Champion and previous; going back twice is where it was."""
    store.promote(NAME, "1", why())
    assert store.aliases(NAME).previous is None
    store.promote(NAME, "2", why())
    store.promote(NAME, "10", why(), alias="challenger")
    again = store.promote(NAME, "2", why())
    assert (again.champion, again.previous, again.challenger) == ("2", "1", "10")

    back = store.rollback(NAME, why("rollback"))
    assert (back.champion, back.previous) == ("1", "2")
    assert store.rollback(NAME, why("rollback")).champion == "2"
    assert [entry.did for entry in store.aliases(NAME).history][-1] == "rollback"
    assert store.aliases(NAME).revision == 6


def test_what_is_not_there_is_refused_and_nothing_changes(store: Store) -> None:
    """No version, no model, nothing to go back to."""
    store.promote(NAME, "1", why())
    with pytest.raises(ModelError, match="no version 3"):
        store.promote(NAME, "3", why())
    with pytest.raises(ModelError, match="no version 1"):
        store.promote("nobody", "1", why())
    with pytest.raises(ModelError, match="no previous"):
        store.rollback(NAME, why())
    assert store.aliases(NAME).revision == 1


def test_a_damaged_document_is_an_error_that_names_it(store: Store) -> None:
    """It is not taken for an empty one."""
    store.promote(NAME, "1", why())
    file = store.root / NAME / ALIASES
    file.write_text(file.read_text()[:-20])

    with pytest.raises(ModelError, match=ALIASES):
        store.aliases(NAME)
    with pytest.raises(ModelError, match=ALIASES):
        store.bypass(NAME, why())


def test_changes_at_once_are_all_kept(store: Store) -> None:
    """Eight writers, none overwrites another's; a reader sees whole documents only."""
    seen = []

    def write() -> None:
        for _ in range(10):
            store.promote(NAME, "2", why())
            seen.append(store.aliases(NAME).revision)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.aliases(NAME).revision == 80
    assert len(store.aliases(NAME).history) == 80
    assert len(seen) == 80


def models(checkout: Path, *arguments: str) -> tuple[int, str]:
    """The command's exit code and text."""
    done = CliRunner().invoke(
        app, ["models", *arguments, "--topology", str(checkout / "topology.yaml")]
    )
    return done.exit_code, done.output + str(done.exception or "")


def test_the_commands_change_what_serves(tmp_path: Path) -> None:
    """Promote proves first; bypass and resume; the history says who and why."""
    for folder in ("schemas", "models"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "topology.yaml", tmp_path)
    said = ("--why", "a test", "--who", "me")

    assert models(tmp_path, "promote", NAME, "1", *said) == (0, f"{NAME}: champion 1\n")
    assert "BYPASSED" in models(tmp_path, "bypass", NAME, *said)[1]
    assert "BYPASSED" not in models(tmp_path, "resume", NAME, *said)[1]
    code, text = models(tmp_path, "promote", NAME, "7", *said)
    assert code != 0
    assert "manifest.json" in text
    assert "no previous version" in models(tmp_path, "rollback", NAME, *said)[1]
    assert "golden rows reproduced" in models(tmp_path, "check", NAME, "1")[1]
    shown = json.loads(models(tmp_path, "show", NAME, "--output", "json")[1])
    assert (shown["version"], len(shown["features"])) == ("1", 13)
    assert "departure_delay" in models(tmp_path, "show", NAME)[1]
    other = tmp_path / "models" / NAME / "3"
    shutil.copytree(tmp_path / "models" / NAME / "1", other)
    document = json.loads((other / "manifest.json").read_text())
    changed = {
        **document,
        "version": "3",
        "decisions": {**document["decisions"], "fallback": "late"},
    }
    (other / "manifest.json").write_text(json.dumps(changed))
    assert '+  "fallback": "late"' in models(tmp_path, "diff", NAME, "1", "3")[1]
    assert "has no challenger" in models(tmp_path, "canary", NAME, "--share", "0.1", *said)[1]
    assert models(tmp_path, "promote", NAME, "1", "--to", "challenger", *said)[0] == 0
    canary = models(tmp_path, "canary", NAME, "--share", "0.05", *said)
    assert canary == (0, f"{NAME}: champion 1, challenger 1; the challenger decides for 5.0%\n")
    assert (
        json.loads(models(tmp_path, "list", "--output", "json")[1])[NAME]["canary"]["who"] == "me"
    )
    ended = models(tmp_path, "canary", NAME, "--share", "0", *said)
    assert ended == (0, f"{NAME}: champion 1, challenger 1\n")
    listed = models(tmp_path, "history", NAME)[1].splitlines()
    assert [line.partition("me  ")[2] for line in listed] == [
        "promote 1 to champion: a test",
        "bypass: a test",
        "resume: a test",
        "promote 1 to challenger: a test",
        "canary 0.05: a test",
        "canary 0: a test",
    ]
