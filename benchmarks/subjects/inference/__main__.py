"""One library with one model: asked by line, answers by line.

`MODEL ROWS` are files; then `time COUNT SECONDS`, `shuffled COUNT SECONDS` or `scores ROWS OUT`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.subjects.inference import candidates


def main(name: str, model: str, rows_file: str) -> None:
    """Load, tell what it took, then answer."""
    # Libraries print; the answers go where nothing else does.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    rows = np.load(rows_file)
    mixed = rows[np.random.default_rng(1).permutation(len(rows))]
    before, began = memory(), time.perf_counter()
    predict = getattr(candidates, name)(Path(model))
    predict(rows[:4000].copy())
    ready = {"seconds": time.perf_counter() - began, "megabytes": memory() - before}
    print(json.dumps(ready), file=answers, flush=True)
    for line in sys.stdin:
        kind, first, second = line.split()
        if kind == "scores":
            np.save(second, np.asarray(predict(np.load(first)), dtype=np.float64))
            found = 0.0
        else:
            found = timed(predict, rows if kind == "time" else mixed, int(first), float(second))
        print(json.dumps(found), file=answers, flush=True)


def timed(predict: Any, rows: Any, count: int, seconds: float) -> float:
    """Microseconds a row, the median of calls; each on the next rows, as a stream has them."""
    spent, at, end = [], 0, time.perf_counter() + seconds
    while not spent or time.perf_counter() < end:
        part = np.ascontiguousarray(rows[at : at + count])
        began = time.perf_counter()
        predict(part)
        spent.append(time.perf_counter() - began)
        at = (at + count) % (len(rows) - count)
    return float(np.median(spent)) / count * 1e6


def memory() -> float:
    """Resident megabytes."""
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmRSS:") + 1]) / 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
