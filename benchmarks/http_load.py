"""A load by HTTP on one subject, and what was seen of it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rig import ROOT, TICKS

WARM = 1.0
Json = dict[str, Any]


@dataclass(frozen=True)
class Served:
    """A subject that listens: its process and port, and the requests it is sent."""

    pid: int
    port: int
    requests: list[str]
    events: int = 1


@dataclass(frozen=True)
class Figures:
    """What was seen at a number of connections, or at a rate."""

    what: str
    load: str
    requests: float
    events: float
    p50: float
    p99: float
    longest: float
    cpu: float
    wrong: Json

    def row(self) -> str:
        """Of the table."""
        wrong = "" if not self.wrong else f" ({self.wrong})"
        return (
            f"| {self.what} | {self.load} | {self.requests:,.0f}{wrong} | {self.events:,.0f} "
            f"| {self.p50:.1f} | {self.p99:.1f} | {self.cpu:,.0f} |"
        )


HEAD = (
    "| subject | load | requests/s | events/s | p50 ms | p99 ms | CPU µs/event |",
    "|---|---|---|---|---|---|---|",
)


def cpu_of(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def load(
    served: Served, what: str, seconds: float, connections: int, rate: float | None = None
) -> Figures:
    """One run of the generator."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(served.requests, file)
        file.flush()
        asked = {
            "host": "127.0.0.1", "port": served.port, "connections": connections,
            "seconds": seconds, "warm": WARM, "rate": rate, "file": file.name,
        }  # fmt: skip
        command = [sys.executable, "-m", "benchmarks.subjects.load", json.dumps(asked)]
        before = cpu_of(served.pid)
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        spent = cpu_of(served.pid) - before
    seen = json.loads(done.stdout)
    events = seen["requests"] * served.events
    total = max(1, seen["answered"] * served.events)
    label = f"{connections} connections" if rate is None else f"{rate:,.0f} requests/s"
    figures = Figures(
        what, label, seen["requests"], events, seen["p50"], seen["p99"], seen["longest"],
        spent / total * 1e6, seen["wrong"],
    )  # fmt: skip
    print(figures.row(), flush=True)
    return figures
