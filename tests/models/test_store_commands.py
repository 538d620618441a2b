"""`workers models …` on every kind of store."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.models.stores import DEMO, Kind, Registry, digests
from workers.cli import app
from workers.models.store import Store

SAID = ("--why", "a test", "--who", "me")


def models(topology: Path, *arguments: str) -> tuple[int, str]:
    """The command's exit code and text."""
    done = CliRunner().invoke(app, ["models", *arguments, "--topology", str(topology)])
    return done.exit_code, done.output + str(done.exception or "")


@pytest.fixture
def topology(kind: Kind, tmp_path: Path) -> Path:
    """The demo's topology on a store of this kind, which has nothing of the demo's model yet."""
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    document = YAML(typ="safe").load(ROOT / "topology.yaml")
    document["models"] = kind.models
    file = tmp_path / "topology.yaml"
    file.write_text(json.dumps(document))
    if isinstance(kind, Registry):
        http = kind.http()
        http.unregister(DEMO)
        http.close()
    return file


def test_every_command_works_on_every_kind(topology: Path, tmp_path: Path, kind: Kind) -> None:
    """Push from the repository's folder, prove, promote, go back, bypass, and say so."""
    for version in ("1", "2"):
        said = models(
            topology, "push", DEMO, version, "--from", str(ROOT / "models"),
            "--to", str(topology),
        )  # fmt: skip
        assert said[0] == 0, said
    assert digests(kind.open().fetch(DEMO, "2")) == digests(Store(ROOT / "models").fetch(DEMO, "2"))
    code, text = models(
        topology, "push", DEMO, "1", "--from", str(ROOT / "models"), "--to", str(topology)
    )
    assert code != 0
    assert "a version never changes" in text

    assert "golden rows reproduced" in models(topology, "check", DEMO, "1")[1]
    assert models(topology, "promote", DEMO, "1", *SAID) == (0, f"{DEMO}: champion 1\n")
    assert "champion 2" in models(topology, "promote", DEMO, "2", *SAID)[1]
    assert "champion 1" in models(topology, "rollback", DEMO, *SAID)[1]
    assert "BYPASSED" in models(topology, "bypass", DEMO, *SAID)[1]
    assert "BYPASSED" not in models(topology, "resume", DEMO, *SAID)[1]
    code, text = models(topology, "promote", DEMO, "7", *SAID)
    assert code != 0
    assert "7" in text

    listed = json.loads(models(topology, "list", "--output", "json")[1])[DEMO]
    assert (listed["versions"], listed["champion"], listed["previous"]) == (["1", "2"], "1", "2")
    assert json.loads(models(topology, "show", DEMO, "--output", "json")[1])["version"] == "1"
    assert '+ "version": "2"' in models(topology, "diff", DEMO, "1", "2")[1]
    did = [line.partition("me  ")[2] for line in models(topology, "history", DEMO)[1].splitlines()]
    assert did == [
        "promote 1 to champion: a test",
        "promote 2 to champion: a test",
        "rollback: a test",
        "bypass: a test",
        "resume: a test",
    ]
    card = tmp_path / "card.html"
    assert models(topology, "card", DEMO, "2", "--output", str(card))[0] == 0
    assert "flight-delay" in card.read_text()


def test_a_version_that_fails_its_checks_is_not_pushed(topology: Path, tmp_path: Path) -> None:
    """A digit of a leaf, under a digest that fits: the child process finds it."""
    from workers.models.bundle import describe_file

    folder = tmp_path / "own" / DEMO / "1"
    shutil.copytree(ROOT / "models" / DEMO / "1", folder)
    text = (folder / "model.txt").read_text()
    at = text.index("leaf_value=") + len("leaf_value=") + 3
    (folder / "model.txt").write_text(
        text[:at] + ("7" if text[at] != "7" else "3") + text[at + 1 :]
    )
    document = json.loads((folder / "manifest.json").read_text())
    document["booster"] = describe_file(folder / "model.txt").model_dump()
    (folder / "manifest.json").write_text(json.dumps(document))

    code, said = models(
        topology, "push", DEMO, "1", "--from", str(tmp_path / "own"), "--to", str(topology)
    )

    assert code != 0
    assert "golden row" in said
    assert json.loads(models(topology, "list", "--output", "json")[1]).get(DEMO) is None


def test_a_damaged_document_hides_no_other_model(tmp_path: Path) -> None:
    """It is named, with what is wrong, after those that are well."""
    for name in (DEMO, "another"):
        shutil.copytree(ROOT / "models" / DEMO, tmp_path / "models" / name)
    (tmp_path / "models" / "another" / "aliases.json").write_text('{"champion": ')
    shutil.copytree(ROOT / "schemas", tmp_path / "schemas")
    topology = tmp_path / "topology.yaml"
    topology.write_text((ROOT / "topology.yaml").read_text())

    code, said = models(topology, "list", "--output", "json")

    assert code != 0
    listed, _, rest = said.partition("\n}\n")
    assert json.loads(listed + "}")[DEMO]["versions"] == ["1", "2"]
    assert "another" in rest
    assert "aliases.json" in rest


def test_a_push_goes_to_a_directory_or_a_url(tmp_path: Path) -> None:
    """From the topology's own store, which needs no word."""
    url = f"memory://pushed-{uuid.uuid4().hex[:12]}/models"
    for to in (str(tmp_path / "other"), url, f"file://{tmp_path}/third"):
        code, said = models(ROOT / "topology.yaml", "push", DEMO, "1", "--to", to)
        assert (code, "written to" in said) == (0, True), said
    pushed = Store(tmp_path / "third").fetch(DEMO, "1")
    assert digests(pushed) == digests(Store(ROOT / "models").fetch(DEMO, "1"))
    assert (
        "no `models.mlflow`"
        in models(ROOT / "topology.yaml", "push", DEMO, "1", "--to", "mlflow")[1]
    )
