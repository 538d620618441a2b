"""The image, as far as it goes without a daemon: linted, and its steps done in a folder."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.deploy.conftest import DEPLOY, Tools

DOCKERFILE = DEPLOY / "Dockerfile"


def test_hadolint_finds_nothing(tools: Tools, tmp_path: Path) -> None:
    """And it would: without our own reasons for ignoring a rule it finds that rule."""
    bare = tmp_path / "Dockerfile"
    bare.write_text(re.sub(r"# hadolint ignore.*", "#", DOCKERFILE.read_text()))

    done = tools.run("hadolint", str(DOCKERFILE))

    assert (done.returncode, done.stdout) == (0, "")
    assert "DL3008" in tools.run("hadolint", str(bare)).stdout


def _instructions(text: str) -> list[tuple[str, str]]:
    """Keyword and rest of every instruction."""
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [
        (line.split()[0], line.partition(" ")[2]) for line in joined.splitlines() if line.strip()
    ]


STEPS = _instructions(DOCKERFILE.read_text())
LAST = STEPS[max(i for i, (word, _) in enumerate(STEPS) if word == "FROM") :]


def test_it_is_small_pinned_and_nobodys() -> None:
    """Exact tags, one base, a number for a user, no shell in what it starts, libgomp."""
    bases = [rest.split()[0] for word, rest in STEPS if word == "FROM"]
    found = dict(LAST)

    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", bases[0])
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", found["USER"])
    assert found["ENTRYPOINT"].startswith("[")
    assert found["CMD"].startswith("[")
    assert "libgomp1" in found["RUN"]
    assert [rest for word, rest in LAST if word == "COPY"] == [
        "--from=build /opt/workers /opt/workers"
    ]


def test_its_uv_is_the_projects() -> None:
    """The one that writes the lock reads it."""
    version = r"uv==(\d+\.\d+\.\d+)"
    pinned = re.findall(version, (ROOT / "Makefile").read_text())

    assert re.findall(version, DOCKERFILE.read_text()) == pinned


def test_only_what_is_copied_is_sent_to_the_daemon() -> None:
    """.dockerignore lets through what COPY names, and nothing else of the checkout."""
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    let_through = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        name
        for word, rest in STEPS
        if word == "COPY" and "--from" not in rest
        for name in rest.split()[:-1]
    }

    assert "*" in lines
    assert let_through == copied


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the build stage makes, by its own commands, of what it copies."""
    home = tmp_path_factory.mktemp("image")
    source, made = home / "src", home / "venv"
    source.mkdir()
    extras = next(rest for word, rest in STEPS if word == "ARG").partition("=")[2].strip('"')
    for word, rest in STEPS[: len(STEPS) - len(LAST)]:
        if word == "COPY":
            *names, _ = rest.split()
            for name in names:
                _copy(ROOT / name, source / name)
        elif word == "RUN" and "uv sync" in rest:
            _sync(rest[rest.index("uv sync") :].replace("${EXTRAS}", extras), source, made)
    return made


def _copy(source: Path, place: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, place)


def _sync(command: str, source: Path, made: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    environment = {
        **{name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
        "UV_PROJECT_ENVIRONMENT": str(made),
        "UV_PYTHON_DOWNLOADS": "0",
        "UV_PYTHON": sys.executable,
    }
    done = subprocess.run(
        [str(uv), *shlex.split(command)[1:]],
        cwd=source, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_what_is_built_runs_alone(installed: Path, tmp_path: Path) -> None:
    """No checkout, no shell, no PATH, nothing writable but HOME: it checks topology and model."""
    _read_only(installed)
    here = tmp_path / "etc"
    here.mkdir()
    for name in ("schemas", "models", "topology.yaml"):
        (here / name).symlink_to(ROOT / name)
    home = tmp_path / "home"
    home.mkdir()
    # The image is compiled at its build; here what is imported twice is compiled once.
    environment = {
        "HOME": str(home),
        "PATH": "/nonexistent",
        "PYTHONPYCACHEPREFIX": str(home / "compiled"),
    }

    done = subprocess.run(
        [str(installed / "bin" / "workers"), "check", "--output", "json"],
        cwd=here, env=environment,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "golden rows reproduced" in done.stdout


def test_no_tool_for_development_is_in_it(installed: Path) -> None:
    """Neither tests nor what they need."""
    there = {path.name.lower() for path in installed.glob("lib/python*/site-packages/*")}

    assert not {"pytest", "ruff", "mypy", "hypothesis", "testcontainers", "tests"} & there
    assert {"workers", "lightgbm", "confluent_kafka"} <= there


def _read_only(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o555)


@pytest.fixture(scope="module", autouse=True)
def _may_be_removed(tmp_path_factory: pytest.TempPathFactory) -> object:
    """pytest removes its folders: they are writable again in the end."""
    yield
    for path in tmp_path_factory.getbasetemp().rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
