"""docs/data-scientists.md is run: its program, then its commands, and they print what it says."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from examples.flights.train import FEATURES
from tests.conftest import ROOT
from tests.traffic import broken, good
from workers.cli import app
from workers.errors import Halt
from workers.models.spec import read_spec
from workers.testing import EmbeddedBroker, produce

PAGE = (ROOT / "docs" / "data-scientists.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SPEC = ROOT / "examples" / "flights" / "flight-delay.yaml"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the page's program has been run."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("schemas", "models", "examples"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "topology.yaml", folder)
    spec = SPEC.read_text()
    (folder / "miles.yaml").write_text(spec.replace("sql: distance", "sql: miles"))
    program = PROGRAMS[0]
    said = "\nassert better < raw, 'the calibration of the spec helps'\nprint(len(train))"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}{said}"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    training = read_spec(SPEC).training
    assert training is not None
    assert ran.stdout.strip() == str(training.rows)
    return folder


@pytest.fixture
def broker(flights: list[bytes]) -> Iterator[str]:
    """A broker that has a thousand flights, and broken ones."""
    with EmbeddedBroker() as found:
        found.create_topic("flights", 1)
        produce(found.bootstrap_servers, "flights", [*good(flights[:1000]), *broken(flights[0])])
        yield found.bootstrap_servers


def shown(text: str) -> str:
    """Without what differs from machine to machine: numbers, and the width of columns."""
    text = re.sub(r"\d[\d,.:-]*", "#", text)
    return re.sub(r"[\s━─]+", " ", text).strip()


@pytest.mark.slow
def test_the_commands_print_what_the_page_says(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, broker: str
) -> None:
    """One after the other, in the order of the page."""
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker)
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    runs = [run for block in blocks for run in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    assert len(runs) == 10

    for run in runs:
        command, _, expected = run.partition("\n")
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        ended = done.exception
        said = f"workers: {ended}" if isinstance(ended, Halt) else ""
        assert shown(done.output + said) == shown(expected), (command, ended)


def test_the_specs_features_are_those_of_the_training_script() -> None:
    """Two ways to hand in, one list of features."""
    assert read_spec(SPEC).features == FEATURES


def test_what_the_page_does_in_spark_is_the_example() -> None:
    """Which is run by the test of Spark."""
    lines = (ROOT / "examples" / "flights" / "history.py").read_text().splitlines()
    example = {line.strip() for line in lines}
    (_, program) = PROGRAMS

    assert {line for line in program.splitlines() if line} <= example
