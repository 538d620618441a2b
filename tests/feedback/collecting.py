"""Collects once, and kills itself at a point that it is told: the process that the tests kill.

`python -m tests.feedback.collecting TOPOLOGY ROWS POINT` where POINT is the number of failpoints
that are passed before the process ends by SIGKILL.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from workers.feedback.collect import Collector
from workers.feedback.opening import open_loop, sources
from workers.stream.clock import SystemClock
from workers.topology import load


def main(topology: str, rows: str, point: str) -> None:
    """Collect, or die on the way."""
    left = int(point)

    def at(_: str) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    loop, clock = open_loop(load(Path(topology)), None), SystemClock()
    with sources(loop, clock) as opened:
        Collector(loop.feedback, loop.log, clock, rows=int(rows), at=at).collect(opened)


if __name__ == "__main__":
    main(*sys.argv[1:])
