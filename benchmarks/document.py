"""docs/benchmarks.md: a section a part, each with the day that it was measured on."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HEADING = "## "


def written(before: str, sections: list[list[str]], order: list[str]) -> str:
    """The document with these sections, new or in place of older ones; the others stay as they are.

    `order` has the first words of all headings, in the order of the document.
    """
    found = {part.partition("\n")[0]: part for part in before.split(f"\n{HEADING}")[1:]}
    for lines in sections:
        heading, *rest = lines[1:]
        today = datetime.now(UTC).date()
        dated = ["", f"Measured {today}; {platform.system()} {platform.release()}.", *rest]
        name = heading.removeprefix(HEADING)
        found[name] = "\n".join([name, *dated]) + "\n"

    def place(name: str) -> int:
        return next((n for n, words in enumerate(order) if name.startswith(words)), len(order))

    parts = [found[name] for name in sorted(found, key=place)]
    return "".join([preface(), *(f"\n{HEADING}{part.rstrip()}\n" for part in parts)])


def preface() -> str:
    """What it is, and where it ran."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`, a section at a time: `make bench PARTS=swaps,shadow` measures "
        "those anew. Everything runs on one Apache Kafka broker on the same machine, with the same "
        "events, the same model and the same job. CPU is the process's own; the broker shares the "
        "machine.",
        "",
        machine(),
    ]
    return "\n".join(lines) + "\n"


def machine() -> str:
    """What it ran on."""
    cpu = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    cores = subprocess.run(["nproc"], capture_output=True, text=True, check=True).stdout.strip()
    packages = ", ".join(
        f"{name} {version(name)}"
        for name in ("confluent-kafka", "lightgbm", "pyruhvro", "polars", "pyarrow", "fastavro")
    )
    return (
        f"Machine: {cores} cores of {cpu}, shared; "
        f"Python {platform.python_version()}, Apache Kafka 4.1.1. {packages}."
    )
