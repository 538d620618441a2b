"""A worker that is stopped past its session comes back as a zombie: it must harm nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.rig import PAUSE, SESSION_SECONDS, Flow, topology_file, zygotes
from workers.testing import RealKafka, isolated
from workers.testing.verifier import Verifier
from workers.topology import Topology
from workers.wiring import pick

STOPPED_SECONDS = 2.0 * SESSION_SECONDS


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_zombie_doubles_nothing(
    kafka: RealKafka, topology: Topology, flights: list[bytes], tmp_path: Path
) -> None:
    """SIGSTOP, the other takes over, SIGCONT: each of them once; every record once, in order."""
    _, worker = isolated(topology, pick(topology, None), kafka)
    path = topology_file(tmp_path, kafka.bootstrap_servers, worker, static=False)

    with Verifier(kafka.bootstrap_servers, worker) as verifier, zygotes(path, tmp_path) as found:
        for zygote in found:
            zygote.begin()
        flow = Flow(kafka.bootstrap_servers, worker.input.topic, flights)
        verifier.until(500, 60)
        for zygote in found:
            with zygote.stopped():
                PAUSE.wait(STOPPED_SECONDS)
            verifier.until(verifier.seen + 500, 60)
        flow.stop()
        verifier.until(flow.sent, 120)
        for zygote in found:
            zygote.drain()
        assert verifier.faults(flow.expected) == []
