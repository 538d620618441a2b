"""All brokers gone, and the worker is told to end meanwhile."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.rig import PAUSE, Scene, topology_file
from workers.operate.doctor.combinations import MAX_POLL
from workers.testing.cluster import Cluster
from workers.topology import Delivery

pytestmark = [pytest.mark.kafka, pytest.mark.faults]


@pytest.mark.timeout(900)
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
            processes.append(stack.enter_context(live.process(file, folder / "first.log")))
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
            # Who ended could not say so: a coordinator that has just begun may wait for it until
            # max.poll.interval is over.
            live.progress(seconds=MAX_POLL + 30)
            live.conclude(doubled=8000)
