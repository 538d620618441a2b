"""What a sidecar costs the system beside which it reads: `workers sidecar check --measure`, and
what the system itself saw meanwhile.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import uuid
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.original import Heard, original
from benchmarks.rig import PARTITIONS, ROOT, Ends, fill
from workers.testing import RealKafka

SECONDS = 20.0
"""Of each window, and of the time before there is a check."""
SETTLE = 5.0
"""Seconds of the original before anything is looked at."""
WARMING = 500_000
"""Events that the broker takes before the first turn, and one turn that is not counted."""
TURNS = 3
STRETCHES = ("alone", "before", "starting", "during", "after")


@dataclass(frozen=True, slots=True)
class Load:
    """What the original does: events a second, None as many as it can; and whereat the sidecar
    begins, with how many events behind it.
    """

    name: str
    rate: int | None
    first_start: str
    backlog: int = 0


LOADS = (
    Load("5,000/s", 5_000, "latest"),
    Load("5,000/s, the sidecar catches up", 5_000, "earliest", 2_000_000),
    Load("as many as it can", None, "latest"),
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What the original had in a stretch of time; where there is none of it: no number.

    Events a second that its producer had acknowledged and its consumer got; milliseconds until
    acknowledged and until consumed, p50 and p99; the broker's CPU, of a core. Then what the check
    says: records a second that the consumer committed, and arrival.
    """

    acknowledged: float
    consumed: float
    answer50: float
    answer99: float
    delay50: float
    delay99: float
    broker: float
    committed: float
    arrival50: float
    arrival99: float


@dataclass(frozen=True, slots=True)
class Turn:
    """By stretch; and events a second that the sidecar did meanwhile."""

    stretches: dict[str, Stretch]
    sidecar: float


def topology_text(servers: str, tag: str, first_start: str) -> str:
    """A sidecar; what is not written is the default."""
    return f"""
version: 1
broker: {{bootstrap_servers: "{servers}"}}
contracts: {{directory: {ROOT / "schemas"}}}
models: {{directory: {ROOT / "models"}}}
health: null
workers:
  beside:
    mode: sidecar
    input: {{topic: flights.{tag}, subject: flights-value}}
    output: {{topic: scored.{tag}, shape: headers}}
    dead_letter: {{topic: scored.{tag}.dlq}}
    decisions: {{topic: decided.{tag}, subject: flights.decisions-value}}
    model: {{name: flight-delay, version: "1"}}
    group: beside.{tag}
    transactional_id: beside.{tag}
    instance: bench
    first_start: {first_start}
"""


def sidecar(
    kafka: RealKafka, values: list[bytes], folder: Path, turns: int, seconds: float
) -> dict[Load, list[Turn]]:
    """Turn by turn, every load."""
    # A broker that has just started compiles while it serves.
    turn(kafka, values, folder, replace(LOADS[0], backlog=WARMING), SETTLE)
    found: dict[Load, list[Turn]] = {load: [] for load in LOADS}
    for _ in range(turns):
        for load, seen in found.items():
            seen.append(turn(kafka, values, folder, load, seconds))
            print(load.name, seen[-1], file=sys.stderr, flush=True)
    return found


def turn(kafka: RealKafka, values: list[bytes], folder: Path, load: Load, seconds: float) -> Turn:
    """One: the original alone, then the check, with topics of its own.

    Raises:
        RuntimeError: the check did not pass.
    """
    tag = uuid.uuid4().hex[:8]
    source, target = f"flights.{tag}", f"scored.{tag}"
    topics = (source, target, f"{target}.dlq", f"decided.{tag}")
    for topic in topics:
        kafka.create_topic(topic, PARTITIONS)
    fill(kafka.bootstrap_servers, source, values, load.backlog)
    file = folder / f"{tag}.yaml"
    file.write_text(topology_text(kafka.bootstrap_servers, tag, load.first_start))
    with original(kafka, source, load.rate) as heard:
        time.sleep(SETTLE)
        began = time.time()
        time.sleep(seconds)
        windows = _checked(file, seconds)
    ends = Ends(kafka.bootstrap_servers, target)
    done = ends.count()
    ends.close()
    for topic in topics:
        kafka.delete_topic(topic)
    return Turn(_stretches(heard, windows, began, seconds), done / windows["during"]["seconds"])


def _checked(file: Path, seconds: float) -> dict[str, Any]:
    """The windows of `workers sidecar check`, by name."""
    command = ["sidecar", "check", "beside", "--measure", str(seconds), "--output", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "workers", *command, "--topology", str(file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the check ended with {done.returncode}: {done.stderr[-2000:]}")
    return {window["name"]: window for window in json.loads(done.stdout)["windows"]}


def _stretches(
    heard: Heard, windows: dict[str, Any], began: float, seconds: float
) -> dict[str, Stretch]:
    spans = {"alone": (began, began + seconds)}
    for name, window in windows.items():
        start = datetime.fromisoformat(window["began"]).timestamp()
        spans[name] = (start, start + window["seconds"])
    spans["starting"] = (spans["before"][1], spans["during"][0])
    return {name: _stretch(heard, *spans[name], windows.get(name)) for name in STRETCHES}


def _stretch(heard: Heard, first: float, last: float, window: Any) -> Stretch:
    at = heard.counts[:, 0]
    counted = [np.interp((first, last), at, heard.counts[:, n]) for n in (1, 2, 3)]
    acknowledged, consumed, broker = (float(b - a) / (last - first) for a, b in counted)
    nothing = float("nan")
    return Stretch(
        acknowledged,
        consumed,
        *_shares(heard.answers, first, last),
        *_shares(heard.delays, first, last),
        broker,
        *(
            (nothing, nothing, nothing)
            if window is None
            else (window["neighbours"][0]["per_second"], *window["arrival"])
        ),
    )


def _shares(seen: np.ndarray[Any, Any], first: float, last: float) -> tuple[float, float]:
    within = seen[(seen[:, 0] >= first) & (seen[:, 0] < last), 1]
    if not len(within):
        return float("nan"), float("nan")
    p50, p99 = np.percentile(within, [50, 99])
    return float(p50), float(p99)


def table(found: dict[Load, list[Turn]], turns: int, seconds: float) -> list[str]:
    """Markdown."""
    lines = [
        "",
        "## What a sidecar costs the others",
        "",
        "A system that was there first, one producer (acks of all, 5 ms of linger) and one "
        "consumer, and `workers sidecar check --measure` beside it, which starts a sidecar "
        "(`shape: headers`, decisions, exactly once) and ends it. System, broker, sidecar and "
        "check are on the same cores: a sidecar on a machine of its own takes none of the "
        f"system's CPU, only the broker's. Windows of {seconds:g} s, medians of {turns} turns. "
        "*Alone*: without the check, which reads the topic itself. *Starting*: until the sidecar "
        "has joined its group, libraries and model loaded. At 5,000 events a second, whatever "
        "becomes of them: milliseconds from sending until the broker has an event, and from the "
        "instant it was due until the consumer has it. The sidecar reads from the topic's end, "
        f"or first {LOADS[1].backlog:,} events that were there, as fast as it can. The last load "
        "is the system's saturation, where all of them share the cores: an upper bound.",
        "",
        "| load | | acknowledged/s | p50 / p99 ms | consumed/s | p50 / p99 ms | broker, cores | "
        "check: records/s | check: arrival, p50 / p99 ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for load, seen in found.items():
        lines += [_row(load, name, [each.stretches[name] for each in seen]) for name in STRETCHES]
    rates = "; ".join(
        f"{load.name}: {statistics.median(each.sidecar for each in seen):,.0f}"
        for load, seen in found.items()
    )
    return [*lines, "", f"Events a second that the sidecar did meanwhile: {rates}."]


def _row(load: Load, name: str, seen: list[Stretch]) -> str:
    middle = Stretch(*(statistics.median(each) for each in zip(*map(astuple, seen), strict=True)))
    cells = [
        load.name,
        name,
        _number(middle.acknowledged),
        _pair(middle.answer50, middle.answer99),
        _number(middle.consumed),
        _pair(middle.delay50, middle.delay99),
        "" if np.isnan(middle.broker) else f"{middle.broker:.2f}",
        _number(middle.committed),
        _pair(middle.arrival50, middle.arrival99),
    ]
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:,.0f}"


def _pair(p50: float, p99: float) -> str:
    return "" if np.isnan(p50) else f"{p50:.1f} / {p99:.1f}"
