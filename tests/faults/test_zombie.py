"""A worker that is stopped past its session comes back as a zombie: it must harm nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.rig import PAUSE, Flow, topology_file, zygotes
from workers.testing import RealKafka, isolated
from workers.testing.verifier import Verifier
from workers.topology import Topology
from workers.wiring import pick

STOPPED_SECONDS = 9.0
"""Longer than the session timeout of six seconds that the topology has."""


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.timeout(300)
def test_a_zombie_doubles_nothing(
    kafka: RealKafka, topology: Topology, flights: list[bytes], tmp_path: Path
) -> None:
    """SIGSTOP, the other takes over, SIGCONT: three times, in turn; every record once, in order."""
    _, worker = isolated(topology, pick(topology, None), kafka)
    path = topology_file(tmp_path, kafka.bootstrap_servers, worker, static=False)

    with Verifier(kafka.bootstrap_servers, worker) as verifier, zygotes(path, tmp_path) as found:
        for zygote in found:
            zygote.begin()
        flow = Flow(kafka.bootstrap_servers, worker.input.topic, flights)
        PAUSE.wait(6)
        for turn in range(3):
            with found[turn % 2].stopped():
                PAUSE.wait(STOPPED_SECONDS)
            PAUSE.wait(3)
        flow.stop()
        verifier.until(flow.sent, 120)
        for zygote in found:
            zygote.drain()
        assert verifier.faults(flow.expected) == []
