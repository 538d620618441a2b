"""`workers run` as an operator starts it: a process of its own, and what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workers.drills.setup import INSTANCE

Line = dict[str, Any]


class WorkerProcess:
    """One life of a worker; its log goes into a file."""

    def __init__(self, topology: Path, worker: str, instance: str, log: Path) -> None:
        """Starts it."""
        self.instance = instance
        self._log = log
        command = [sys.executable, "-m", "workers", "run", worker, "--topology", str(topology)]
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=out, env={**os.environ, INSTANCE: instance}
            )

    @property
    def ended(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    @property
    def lines(self) -> Sequence[Line]:
        """What it logged: one JSON object a line; a line that is still being written is left."""
        found = []
        for text in self._log.read_text(errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                found.append(line)
        return found

    def said(self, event: str, **fields: Any) -> list[Line]:
        """Lines of that event with these fields."""
        wanted = {"event": event, **fields}.items()
        return [line for line in self.lines if wanted <= {**_plain(line)}.items()]

    @property
    def end_of_log(self) -> str:
        """For a drill that is stuck."""
        return self._log.read_text(errors="replace")[-1500:]

    def kill(self) -> None:
        """As a power cut would."""
        self._process.kill()
        self._process.wait()

    def drain(self, seconds: float) -> int | None:
        """SIGTERM, and wait; the exit code, None where it had to be killed."""
        self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None


def _plain(line: Line) -> Line:
    """Fields that can be compared in a set."""
    return {key: value for key, value in line.items() if isinstance(value, str | int | float)}
