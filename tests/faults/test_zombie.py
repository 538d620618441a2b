"""A worker that is stopped past its session comes back as a zombie: it must harm nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.test_kill import Flow, read_while, topology_file, zygotes
from tests.traffic import places_by_key, split
from workers.testing import Reader, RealKafka, isolated
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

    with (
        Reader(kafka.bootstrap_servers, worker.output.topic, worker.dead_letter.topic) as reader,
        zygotes(path, tmp_path) as found,
    ):
        for zygote in found:
            zygote.begin("-", 0)
        flow = Flow(kafka.bootstrap_servers, worker.input.topic, flights)

        def stop_and_go() -> None:
            pause = threading.Event()
            pause.wait(6)
            for turn in range(3):
                pid = found[turn % 2].pid
                os.kill(pid, signal.SIGSTOP)
                pause.wait(STOPPED_SECONDS)
                os.kill(pid, signal.SIGCONT)
                pause.wait(3)

        thread = threading.Thread(target=stop_and_go)
        thread.start()
        read_while(reader, [thread])
        flow.stop()
        reader.until(lambda seen: len(seen) >= flow.sent, 120)
        reader.read(1.0)
        for zygote in found:
            zygote.end(signal.SIGTERM)
            assert zygote.status == 0

    enriched, dead = split(reader.records, worker.dead_letter.topic)
    places = Counter(int(record.header("place")) for record in reader.records)
    assert places == Counter(range(flow.sent))
    assert (len(enriched), len(dead)) == (flow.sent - flow.pills, flow.pills)
    for key, order in places_by_key(enriched).items():
        assert order == sorted(order), key
