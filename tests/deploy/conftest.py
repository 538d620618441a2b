"""Helm, kubectl, hadolint, docker-compose and promtool: real ones, without a cluster."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from workers.testing.environments import locked_environment

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "enrichment-workers"
KUBERNETES = "1.37"
Document = dict[str, Any]


def read_yaml(text: str) -> list[Document]:
    """The documents of a YAML stream that hold something."""
    return [document for document in YAML(typ="safe", pure=True).load_all(text) if document]


class Refused(Exception):  # noqa: N818  Helm's word on the values
    """The chart does not render, and says why."""


class Tools:
    """What the environment of the group `deploy` has; see tools.py."""

    def __init__(self, python: Path) -> None:
        """Ends with `close`."""
        self._python = python
        self._process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name("tools.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def close(self) -> None:
        """No more questions."""
        self._process.communicate(timeout=60)

    def run(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """One of its programs."""
        return subprocess.run(
            [str(self._python.with_name(name)), *words],
            capture_output=True, text=True, check=False, cwd=ROOT, timeout=120,
        )  # fmt: skip

    def ask(self, verb: str, given: Any, *words: str) -> Any:
        """What tools.py answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([verb, given, *words]) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        if "refused" in found:
            raise Refused(found["refused"])
        return found["answer"]

    def faults(self, documents: Sequence[Document]) -> list[str]:
        """What Kubernetes' schemas and those of custom resources find wrong."""
        found: list[str] = self.ask("faults", documents, KUBERNETES)
        return found

    def render(self, values: Document, name: str = "flights") -> list[Document]:
        """The chart's objects."""
        found: list[Document] = self.ask("render", values, str(CHART), "prod", name)
        return found

    def lint(self, values: Document) -> Document:
        """What Helm's lint says."""
        found: Document = self.ask("lint", values, str(CHART))
        return found

    def yaml(self, text: str) -> list[Document]:
        """The documents of a YAML stream."""
        found: list[Document] = self.ask("yaml", text)
        return found


@pytest.fixture(scope="session")
def tools() -> Iterator[Tools]:
    """Where they cannot be had the tests fail: they are not skipped."""
    found = Tools(locked_environment("deploy", ROOT, "--only-group", "deploy"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def promtool() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs promtool. In CI it has to be there; .ci/run puts it there."""
    program = shutil.which("promtool")
    if program is None:
        reason = "promtool is not here: it is in Debian's package prometheus"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *words], capture_output=True, text=True, check=False, cwd=ROOT, timeout=120
        )

    return run


def values_file(name: str) -> Document:
    """One of the chart's example values."""
    return read_yaml((CHART / "ci" / f"{name}.yaml").read_text())[0]


def one(documents: Sequence[Document], kind: str) -> Document:
    """The only object of that kind; of pods, the one that is no test."""
    found = [document for document in documents if document["kind"] == kind]
    assert len(found) == 1, [document["metadata"]["name"] for document in found]
    return found[0]
