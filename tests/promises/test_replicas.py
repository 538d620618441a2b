"""Every running process of a worker follows what an operator says, without a restart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from tests.faults.rig import PAUSE
from tests.models.test_store_commands import SAID, models
from tests.promises.test_swap import NAME, blocks
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.drills.process import WorkerProcess
from workers.drills.setup import INSTANCE
from workers.testing import EmbeddedBroker, Reader, Sent, isolated, produce
from workers.topology import Topology, Worker
from workers.wiring import pick

REPLICAS = ("a", "b")
EVENTS = 200


def written(folder: Path, worker: Worker, broker: EmbeddedBroker) -> Path:
    """The demo's topology as an operator would write it; the store is looked at as by default."""
    for place in ("schemas", "models"):
        shutil.copytree(ROOT / place, folder / place)
    document = YAML(typ="safe").load(ROOT / "topology.yaml")
    document["broker"] = {"bootstrap_servers": broker.bootstrap_servers}
    document["state"] = "state"
    declared = document["workers"][worker.name]
    for role in ("input", "output", "dead_letter", "decisions"):
        if role in declared:
            subject = declared[role].get("subject", f"{declared[role]['topic']}-value")
            topic = getattr(worker, role).topic
            declared[role] |= {"topic": topic} | (
                {} if role == "dead_letter" else {"subject": subject}
            )
    declared |= {
        "model": {"name": NAME, "alias": "champion"},
        "instance": f"${{{INSTANCE}}}",
        "group": worker.group,
        "transactional_id": worker.transactional_id,
        "consumer": {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500},
    }
    file = folder / "topology.yaml"
    file.write_text(json.dumps(document))
    return file


@contextmanager
def replicas(topology: Path, worker: Worker) -> Iterator[list[WorkerProcess]]:
    """Processes as an operator starts them; each has drained at the end."""
    logs = topology.parent
    found = [WorkerProcess(topology, worker.name, name, logs / f"{name}.log") for name in REPLICAS]
    try:
        yield found
        assert [process.drain(60) for process in found] == [0] * len(found)
    finally:
        for process in found:
            if process.ended is None:
                process.kill()


def until(condition: Callable[[], bool], processes: list[WorkerProcess]) -> None:
    """Sooner or later; not where a process has ended."""
    for _ in range(2400):
        for process in processes:
            assert process.ended is None, process.end_of_log
        if condition():
            return
        PAUSE.wait(0.05)
    raise AssertionError("\n\n".join(process.end_of_log for process in processes))


def test_what_an_operator_says_reaches_every_running_process(
    embedded: EmbeddedBroker,
    topology: Topology,
    contracts: Catalogue,
    flights: list[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the commands: promote, rollback, bypass, resume. What comes afterwards is decided so."""
    monkeypatch.setenv(INSTANCE, "operator")
    _, worker = isolated(topology, pick(topology, None), embedded)
    file = written(tmp_path, worker, embedded)
    assert models(file, "promote", NAME, "1", *SAID)[0] == 0
    events = [Sent(frame(1) + flights[n], b"k%d" % n) for n in range(EVENTS)]
    steps = [
        (("promote", NAME, "2"), ("2", None)),
        (("rollback", NAME), ("1", None)),
        (("bypass", NAME), ("1", "bypassed")),
        (("resume", NAME), ("1", None)),
    ]

    with (
        replicas(file, worker) as processes,
        Reader(embedded.bootstrap_servers, worker.output.topic) as reader,
    ):
        until(lambda: all(shared(process) for process in processes), processes)
        for number, (command, _) in enumerate(steps, 1):
            assert models(file, *command, *SAID)[0] == 0
            until(lambda n=number: served(processes) == [n] * len(REPLICAS), processes)  # type: ignore[misc]
            produce(embedded.bootstrap_servers, worker.input.topic, events)
            reader.until(lambda seen, n=number: len(seen) >= EVENTS * n)  # type: ignore[misc]
        starts = [len(process.said("worker.started")) for process in processes]

    assert starts == [1] * len(REPLICAS)
    found = blocks(reader.records, contracts)
    assert len({block["decision_id"] for block in found}) == len(found) == EVENTS * len(steps)
    for number, (_, expected) in enumerate(steps):
        part = found[EVENTS * number : EVENTS * (number + 1)]
        assert {(b["model_version"], b["fallback_reason"]) for b in part} == {expected}


def shared(process: WorkerProcess) -> bool:
    """Has it some of the partitions, and not all?"""
    owned = set[int]()
    for line in process.lines:
        if line["event"] == "partitions.assigned":
            owned |= set(line["partitions"])
        elif line["event"] in ("partitions.revoked", "partitions.lost"):
            owned -= set(line["partitions"])
    return 0 < len(owned) < 4


def served(processes: list[WorkerProcess]) -> list[int]:
    """How often each took something else between two batches."""
    return [len(process.said("model.served")) for process in processes]
