"""Python environments of their own, for servers whose packages must not meet ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from workers.testing.downloads import COMPLETE, kept


class NoEnvironment(RuntimeError):  # noqa: N818  what there is, not an error of ours
    """The packages cannot be installed; says what the installer says."""


def environment(name: str, packages: Sequence[str]) -> Path:
    """The interpreter of an environment with these packages, made once and kept.

    Raises:
        NoEnvironment: neither uv nor pip could make it.
    """
    with kept(name) as home:
        python = home / "bin" / "python"
        if not (home / COMPLETE).exists():
            shutil.rmtree(home, ignore_errors=True)
            for command in _commands(home, python, packages):
                _run(command)
            (home / COMPLETE).touch()
    return python


def locked_environment(name: str, project: Path, *choice: str) -> Path:
    """The interpreter of an environment with what a project's uv.lock has for uv's `choice`.

    `--extra X` or `--only-group X`. The project itself is not in it, nor are its default groups.
    Made once, and brought to the lock each time.

    Raises:
        NoEnvironment: there is no uv, or it could not make it.
    """
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise NoEnvironment("no uv, which reads uv.lock: `make setup` installs it")
    with kept(name) as home:
        command = [
            uv, "sync", "--quiet", "--frozen", "--no-default-groups", "--no-install-project",
            *choice, "--python", sys.executable, "--project", str(project),
        ]  # fmt: skip
        _run(command, UV_PROJECT_ENVIRONMENT=str(home))
    return home / "bin" / "python"


def _run(command: Sequence[str], **variables: str) -> None:
    done = subprocess.run(
        command, capture_output=True, check=False, env={**os.environ, **variables}
    )
    if done.returncode != 0:
        raise NoEnvironment(f"{' '.join(command)}: {done.stderr[-2000:].decode()}")


def _commands(home: Path, python: Path, packages: Sequence[str]) -> list[list[str]]:
    uv = shutil.which("uv")
    if uv is not None:
        return [
            [uv, "venv", "--quiet", "--python", sys.executable, str(home)],
            [uv, "pip", "install", "--quiet", "--python", str(python), *packages],
        ]
    return [
        [sys.executable, "-m", "venv", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", *packages],
    ]
