"""Python environments of their own, for servers whose packages must not meet ours."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

COMPLETE = ".complete"


class NoEnvironment(RuntimeError):  # noqa: N818  what there is, not an error of ours
    """The packages cannot be installed; says what the installer says."""


def environment(name: str, packages: Sequence[str]) -> Path:
    """The interpreter of an environment with these packages, made once and kept.

    Raises:
        NoEnvironment: neither uv nor pip could make it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    home = cache / "enrichment-workers" / name
    python = home / "bin" / "python"
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / f".{name}.lock").open("w") as lock:
        # One process makes it, the others wait.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / COMPLETE).exists():
            shutil.rmtree(home, ignore_errors=True)
            for command in _commands(home, python, packages):
                done = subprocess.run(command, capture_output=True, check=False)
                if done.returncode != 0:
                    raise NoEnvironment(f"{' '.join(command)}: {done.stderr[-2000:].decode()}")
            (home / COMPLETE).touch()
    return python


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
