"""`python -m benchmarks.inference`: who scores a LightGBM model fastest, and is it the same score?

Each library is a process of its own, in an environment of its own; they take turns, round by round.
The measured part of docs/inference.md is written anew.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bundles import large_booster
from benchmarks.environments import BUILD, python_of
from benchmarks.rig import ROOT, framed_flights
from examples.flights.events import full_year
from examples.flights.train import JANUARY_2014, JULY, features_of, window
from workers.contracts.directory import read_directory
from workers.enrich.batch import Batch
from workers.models.bundle import Bundle, read_bundle
from workers.models.compiled.emit import emit
from workers.models.compiled.native import Native, to_machine_code
from workers.models.compiled.parity import edge_rows
from workers.models.compiled.trees import read_forest
from workers.models.model import Model
from workers.models.serving import Serving
from workers.topology import load
from workers.wiring import build_enricher, pick

ROUNDS = 7
SECONDS = 0.25
SIZES = ("1", "100", "1,000", "4,000")
SHUFFLED = "4,000 shuffled"
DOCUMENT = ROOT / "docs" / "inference.md"
BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"
HERE = sys.executable


@dataclass
class Runner:
    """A library with a model, in its process."""

    name: str
    child: subprocess.Popen[str]
    seconds: float = 0.0
    megabytes: float = 0.0
    times: dict[str, list[float]] = field(default_factory=dict)
    differences: dict[str, float] = field(default_factory=dict)

    def ask(self, line: str) -> Any:
        """One question, one answer."""
        assert self.child.stdin is not None
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()
        return self.answer()

    def answer(self) -> Any:
        """The next line of the child."""
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self.child.wait()}")
        return json.loads(line)

    def median(self, size: str) -> float:
        """Microseconds a row."""
        return statistics.median(self.times[size])


def candidates() -> dict[str, tuple[str, str]]:
    """Name in the table: interpreter, function of `subjects.inference.candidates`."""
    treelite = python_of("inference-treelite", "treelite==4.8.1", "tl2cgen==1.0.0")
    lignum = python_of("inference-lignum", "pylignum==0.3.0")
    onnx = python_of("inference-onnx", "onnxruntime==1.31.1", "onnxmltools==1.16.0")
    lleaves = python_of("inference-lleaves", "lleaves==1.3.0", "llvmlite==0.44.0", "pyarrow")
    return {
        "LightGBM 4.7.0": (HERE, "lightgbm"),
        "LightGBM, two threads": (HERE, "lightgbm_two"),
        "**compiled (ours)**, llvmlite 0.50.0": (HERE, "compiled"),
        "lleaves 1.3.0, llvmlite 0.44.0": (lleaves, "lleaves"),
        "pylignum 0.3.0, generated C": (lignum, "lignum_compiled"),
        "pylignum 0.3.0, interpreter": (lignum, "lignum"),
        "tl2cgen 1.0.0, generated C": (treelite, "tl2cgen"),
        "treelite 4.8.1, GTIL": (treelite, "treelite"),
        "ONNX Runtime 1.31.1": (onnx, "onnx"),
    }


def main() -> None:
    """Run, print, write."""
    models, rows = _models()
    lines: list[str] = [_heading()]
    for name, model in models.items():
        lines += _table(name, _measure(model, rows))
    lines += _path({name: model.read_text() for name, model in models.items()})
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    DOCUMENT.write_text("\n".join([before + BEGIN, "", *lines, "", END]) + after)
    say(f"wrote {DOCUMENT}")


def _models() -> tuple[dict[str, Path], Path]:
    """The demo's model, one of 500 trees of 63 leaves, and the features of half a year."""
    BUILD.mkdir(parents=True, exist_ok=True)
    schema = read_directory(ROOT / "schemas").catalogue.versions("flights-value")[1].schema
    year = full_year()
    rows = BUILD / "rows.npy"
    np.save(rows, features_of(window(year, JULY, JANUARY_2014), schema).matrix)
    small = ROOT / "models" / "flight-delay" / "1" / "model.txt"
    return {
        "100 trees of 31 leaves, the demo's": small,
        "500 trees of 63 leaves": large_booster(),
    }, rows


def _measure(model: Path, rows: Path) -> list[Runner]:
    edges = BUILD / "edges.npy"
    np.save(edges, edge_rows(read_forest(model.read_text())))
    runners = []
    try:
        for name, (python, function) in candidates().items():
            say(f"{model.name}: {name}")
            runners.append(_start(name, [python, "-m", "benchmarks.subjects.inference", function,
                                         str(model), str(rows)]))  # fmt: skip
        for number in range(ROUNDS):
            say(f"{model.name}: round {number + 1} of {ROUNDS}")
            for size in (*SIZES, SHUFFLED):
                for runner in runners:
                    kind = "shuffled" if size == SHUFFLED else "time"
                    count = size.split()[0].replace(",", "")
                    found = runner.ask(f"{kind} {count} {SECONDS}")
                    runner.times.setdefault(size, []).append(found)
        for what, file in (("flights", rows), ("edges", edges)):
            _differences(runners, what, file)
    finally:
        for runner in runners:
            runner.child.terminate()
            runner.child.communicate()
    return runners


def _start(name: str, command: list[str]) -> Runner:
    child = subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    runner = Runner(name, child)
    ready = runner.answer()
    runner.seconds, runner.megabytes = ready["seconds"], ready["megabytes"]
    return runner


def _differences(runners: list[Runner], what: str, file: Path) -> None:
    """How far from the first, LightGBM, each is at most."""
    wanted = None
    for number, runner in enumerate(runners):
        out = BUILD / f"scores-{number}.npy"
        runner.ask(f"scores {file} {out}")
        scores = np.load(out)
        wanted = scores if wanted is None else wanted
        runner.differences[what] = float(np.abs(scores - wanted).max())


def _table(name: str, runners: list[Runner]) -> list[str]:
    first = runners[0]
    heads = [*(f"{size} rows" for size in SIZES), SHUFFLED, "times as fast at 4,000"]
    columns = ["", *heads, "ready after s", "MB", "off on flights", "off at edges"]
    lines = ["", f"### {name}", "", "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for r in runners:
        cells = [f"{r.median(size):.2f}" for size in (*SIZES, SHUFFLED)]
        cells += [f"{first.median('4,000') / r.median('4,000'):.1f}"]
        cells += [f"{r.seconds:.2f}", f"{r.megabytes:.0f}"]
        cells += [f"{r.differences[what]:.0e}" if r.differences[what] else "0"
                  for what in ("flights", "edges")]  # fmt: skip
        lines.append(f"| {r.name} | " + " | ".join(cells) + " |")
    return lines


def _path(models: dict[str, str]) -> list[str]:
    """The whole pure path of a worker, record to enriched record, with LightGBM and compiled."""
    topology = load(ROOT / "topology.yaml", {})
    worker = pick(topology, None)
    enricher = build_enricher(topology, worker)
    bundle = read_bundle(topology.models.directory, "flight-delay", "1")
    lines = ["", "### The whole path", "", "| model | LightGBM | compiled | times as fast |",
             "|---|---|---|---|"]  # fmt: skip
    values = framed_flights()[:4_000]
    batch = _batch(worker.input.topic, values)
    for name, text in models.items():
        plain, faster = _pair(bundle, text)
        spent: dict[Model, list[float]] = {plain: [], faster: []}
        for _ in range(30):
            for model in spent:
                enricher.serve([Serving(model)])
                spent[model].append(_seconds(lambda: enricher.enrich(batch)))
        one, other = (statistics.median(found) / len(values) * 1e6 for found in spent.values())
        lines.append(f"| {name} | {one:.2f} | {other:.2f} | {one / other:.1f} |")
    return lines


def _pair(bundle: Bundle, text: str) -> tuple[Model, Model]:
    forest = read_forest(text)
    plain = Model(replace(bundle, booster=text))
    code = to_machine_code(emit(forest))
    return plain, plain.scored_by(Native(code, features=forest.features))


def _batch(topic: str, values: list[bytes]) -> Batch:
    rows = range(len(values))
    return Batch(
        topic=topic,
        now=0,
        keys=[b"k%d" % row for row in rows],
        values=list(values),
        headers=[None for _ in rows],
        partitions=[row % 4 for row in rows],
        offsets=[row // 4 for row in rows],
        timestamps=[(1, 0) for _ in rows],
    )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _heading() -> str:
    today = datetime.now(UTC).date()
    return (
        f"Measured {today} on two shared cores, one thread: microseconds a row, the median of "
        f"{ROUNDS} rounds in which the libraries took turns. The machine has other work: ratios "
        "mean more than figures. `ready after` is from the model's text to its first scores, "
        "imports and compilers included; `MB` is what the process grew by. `off` is the furthest "
        "that a score is from LightGBM's: on 166,756 real flights, and on the rows of the load "
        "gate."
    )


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
