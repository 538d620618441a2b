"""How long it takes from an operator's command until every running process does as it says."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from benchmarks.bundles import NAME, boosters, store_of
from benchmarks.environments import worker
from benchmarks.rig import PARTITIONS, ROOT, topology_text
from workers.models.store import Store
from workers.testing import RealKafka

PROCESSES = 3
ROUNDS = 3
PATIENCE = 600.0
COMMANDS = (("promote", "2"), ("rollback",), ("bypass",), ("resume",))


@dataclass(frozen=True, slots=True)
class Reach:
    """Seconds: of the command itself, and from the change until the last process does as it says.

    The change is when the store's history says it was.
    """

    command: list[float]
    reached: list[float]


def replicas(kafka: RealKafka, folder: Path) -> dict[str, dict[str, Reach]]:
    """By model and command; the store is looked at as often as where nothing is written."""
    found = {}
    for name, text in boosters().items():
        root = folder / name.replace(" ", "-")
        store = store_of(root, text)
        subject = replace(
            worker("exactly_once"),
            models=root,
            model=f"name: {NAME}, alias: champion",
            more=f"instance: {NAME}",
        )
        tag = uuid.uuid4().hex[:8]
        names = {
            "servers": kafka.bootstrap_servers,
            "input": f"in.{tag}",
            "output": f"out.{tag}",
            "group": f"bench-{tag}",
        }
        for topic in ("in", "out"):
            kafka.create_topic(f"{topic}.{tag}", PARTITIONS)
        kafka.create_topic(f"out.{tag}.dlq", 1)
        file = root / "topology.yaml"
        file.write_text(topology_text(names, subject))
        found[name] = _reach(file, store)
    return found


def _reach(file: Path, store: Store) -> dict[str, Reach]:
    found = {command[0]: Reach([], []) for command in COMMANDS}
    run = ["run", "bench", "--topology", str(file), "--processes", str(PROCESSES)]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers", *run], stdout=log, stderr=log, cwd=ROOT
        )
        told = _Told(log.fileno())
        try:
            told.until(lambda: len(told.at("worker.started")) == PROCESSES)
            time.sleep(5)
            for _ in range(ROUNDS):
                for command in COMMANDS:
                    _one(file, store, command, told, found[command[0]])
        finally:
            process.terminate()
            process.wait(60)
    return found


def _one(file: Path, store: Store, command: tuple[str, ...], told: _Told, reach: Reach) -> None:
    before = len(told.at("model.served"))
    verb, *more = command
    line = ["models", verb, NAME, *more, "--why", "to be measured", "--topology", str(file)]
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "workers", *line], check=True, cwd=ROOT, stdout=subprocess.DEVNULL
    )
    reach.command.append(time.monotonic() - began)
    told.until(lambda: len(told.at("model.served")) == before + PROCESSES)
    changed = store.aliases(NAME).history[-1].when
    reach.reached.append((max(told.at("model.served")) - changed).total_seconds())


class _Told:
    """What processes log into one file."""

    def __init__(self, descriptor: int) -> None:
        self._place = Path(f"/proc/self/fd/{descriptor}")

    def at(self, event: str) -> list[datetime]:
        """When it was told."""
        lines = self._place.read_text(errors="replace").splitlines()
        found = [json.loads(text) for text in lines if f'"{event}"' in text]
        return [
            datetime.fromisoformat(line["timestamp"]) for line in found if line["event"] == event
        ]

    def until(self, condition: Callable[[], bool]) -> None:
        """Looks twenty times a second.

        Raises:
            TimeoutError: it never came true.
        """
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(self._place.read_text(errors="replace")[-2000:])
            time.sleep(0.05)


def table(found: dict[str, dict[str, Reach]]) -> list[str]:
    """Markdown."""
    lines = [
        "",
        "## From a command to every process",
        "",
        f"`workers models …` beside {PROCESSES} processes of a worker that has nothing else to do, "
        "exactly once, `poll` as it is where nothing is written (2 s). Seconds from the "
        "change, as the store's history has it, until the last process has taken it between two "
        f"batches: median and longest of {ROUNDS}. A promotion is proven by the command first, and "
        "each version by every process.",
        "",
        "| model | command | the command itself | until all do so | longest |",
        "|---|---|---|---|---|",
    ]
    return lines + [
        f"| {model} | {command} | {statistics.median(reach.command):.1f} | "
        f"{statistics.median(reach.reached):.1f} | {max(reach.reached):.1f} |"
        for model, commands in found.items()
        for command, reach in commands.items()
    ]
