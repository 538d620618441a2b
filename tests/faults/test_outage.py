"""All brokers gone, and the worker is told to end meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.rig import PAUSE, Scene, topology_file
from workers.testing.cluster import Cluster
from workers.topology import Delivery

pytestmark = [pytest.mark.kafka, pytest.mark.faults]


@contextmanager
def running(topology: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`workers run`, as an operator starts it."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "workers", "run", "-t", str(topology)],
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            # Its stacks go to the log.
            process.send_signal(signal.SIGABRT)
            process.wait()
            print(log.read_text(errors="replace")[-6000:])


def test_sigterm_while_all_brokers_are_down_ends_in_time(
    cluster: Cluster, scene: Callable[..., Scene], tmp_path: Path
) -> None:
    """Both guarantees, past the transaction's timeout; the next life goes on where it was."""
    with ExitStack() as stack:
        lives: list[Scene] = []
        files: list[Path] = []
        processes: list[subprocess.Popen[bytes]] = []
        for delivery in Delivery:
            live = stack.enter_context(scene(delivery=delivery, drain_timeout=3.0))
            folder = tmp_path / delivery.value
            folder.mkdir()
            file = topology_file(folder, cluster.bootstrap_servers, live.worker, static=False)
            file.write_text(f"state: {folder / 'state'}\n{file.read_text()}")
            processes.append(stack.enter_context(running(file, folder / "first.log")))
            lives.append(live)
            files.append(file)
        for live in lives:
            live.progress()
        for broker in cluster.brokers.values():
            broker.kill()
        PAUSE.wait(lives[0].worker.transaction_timeout + 1)

        began = time.monotonic()
        for process in processes:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(30) for process in processes]
        seconds = time.monotonic() - began

        assert codes == [0, 0]
        # `drain_timeout`, and what a question to a broker that is away may take.
        assert seconds < 25
        cluster.heal()
        for live in lives:
            live.start()
            live.progress()
            live.conclude(doubled=8000)
