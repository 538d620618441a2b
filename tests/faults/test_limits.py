"""A machine that has no descriptors, no disk, or no idea what time it is."""

from __future__ import annotations

import os
import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.rig import PAUSE, Scene, topology_file, zygotes
from workers.stream.clock import SystemClock
from workers.testing.cluster import Cluster

pytestmark = [pytest.mark.kafka, pytest.mark.faults]

AnyScene = Callable[..., Scene]
HOUR_MS = 3_600_000


@contextmanager
def limited(pid: int, kind: int, limit: int) -> Iterator[None]:
    """A process's soft limit, for a while."""
    soft, hard = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (limit, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, kind, (soft, hard))


def test_without_descriptors_a_worker_waits(
    cluster: Cluster, scene: AnyScene, tmp_path: Path
) -> None:
    """Its connections break and it may open none: an outage, that ends when it may."""
    with scene() as live:
        path = topology_file(tmp_path, cluster.bootstrap_servers, live.worker, static=False)
        with zygotes(path, tmp_path, 1) as (life,):
            life.begin()
            live.progress()
            with limited(life.pid, resource.RLIMIT_NOFILE, 3):
                for proxy in cluster.network.proxies:
                    proxy.reset()
                PAUSE.wait(4)
            live.progress()
            live.flow.stop()
            live.all_out(60)
            life.drain()
            live.conclude()


def test_a_full_disk_does_not_stop_records(
    cluster: Cluster, scene: AnyScene, tmp_path: Path
) -> None:
    """Notes of what is under way cannot be written: said once, and every record comes out."""
    with scene() as live:
        path = topology_file(tmp_path, cluster.bootstrap_servers, live.worker, static=False)
        path.write_text(f"state: {tmp_path / 'state'}\n{path.read_text()}")
        with live.process(path, tmp_path / "worker.log") as process:
            live.progress()
            with limited(process.pid, resource.RLIMIT_FSIZE, 0):
                live.progress(500)
            live.progress()
            live.flow.stop()
            live.all_out(60)
            process.terminate()
            assert process.wait(30) == 0
        said = (tmp_path / "worker.log").read_text()
        live.conclude()
    assert said.count("crash.not_noted") == 1
    assert os.strerror(27) in said


class JumpingClock(SystemClock):
    """Its wall clock is wrong by up to an hour, another way each time; time goes on as it does."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def now(self) -> int:
        """As `Clock`."""
        return super().now() + self._chance.choice([-HOUR_MS, 0, HOUR_MS])


def test_a_wall_clock_that_jumps_loses_nothing(scene: AnyScene, seed: int) -> None:
    """An hour to and fro with every look at it: nothing is waited for or given up by it."""
    with scene() as live:
        live.start(clock=JumpingClock(seed))
        live.progress(1000)
        live.conclude()
