"""A sidecar started and ended while its source is watched; and a sidecar taken away for good."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.errors import ClientHalt
from workers.operate.asking import TIMEOUT, answers
from workers.operate.look import Cluster
from workers.operate.offsets import members
from workers.operate.sidecar.look import groups, sight
from workers.operate.sidecar.measure import Watch, Window
from workers.operate.sidecar.proofs import Proof, undisturbed
from workers.operate.sidecar.sight import Sight
from workers.topology import Topology, Worker

START = 120.0
"""Seconds until a worker that was started is in its group."""
GRACE = 10.0
LOOKS = 50


@dataclass(frozen=True, slots=True)
class Measured:
    """What the windows showed, and whether all was as it had been afterwards."""

    windows: tuple[Window, ...]
    proofs: tuple[Proof, ...]


def measured(file: Path, topology: Topology, worker: Worker, seconds: float) -> Measured:
    """Watch the source before, while and after the worker runs; it is started and ended here.

    One that runs already is left alone: there is no before and no after then.

    Raises:
        ClientHalt: the worker ended by itself, or never joined its group.
        BrokerUnreachable: no answer.
    """
    cluster, before = sight(topology, worker)
    watch = Watch(cluster, topology.broker, worker, sorted(before.neighbours))
    if before.own is not None and before.own.clients:
        return Measured((watch.window("beside", seconds),), ())
    first = watch.window("before", seconds)
    with _running(file, cluster, worker) as process:
        second = watch.window("during", seconds, lambda: _alive(worker, process))
    third = watch.window("after", seconds)
    _, after = sight(topology, worker)
    own = frozenset(worker.written.values())
    return Measured((first, second, third), (undisturbed(before, after, own, "the worker"),))


@contextlib.contextmanager
def _running(file: Path, cluster: Cluster, worker: Worker) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "workers", "run", worker.name, "--topology", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START
        while not members(cluster, worker):
            _alive(worker, process)
            if time.monotonic() > deadline:
                raise ClientHalt(f"worker {worker.name} is not in its group after {START:g} s")
            threading.Event().wait(0.25)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(worker.drain_timeout + GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _alive(worker: Worker, process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise ClientHalt(
            f"worker {worker.name} ended by itself with exit code {process.returncode}; its last "
            "lines say why"
        )


def own_groups(topology: Topology, worker: Worker) -> tuple[str, ...]:
    """The groups of the worker and of those that retry for it."""
    return tuple(w.group for w in topology.workers.values() if w.known_as == worker.name)


def remove(topology: Topology, worker: Worker) -> Proof:
    """Delete the worker's groups and topics, and look whether all else is as it was.

    Raises:
        ClientHalt: its groups have members, one holds somebody else's offsets, or the broker
            refuses.
        BrokerUnreachable: no answer.
    """
    cluster, before = sight(topology, worker)
    names = own_groups(topology, worker)
    there = _hold_own(cluster, topology, worker, names)
    own = frozenset(worker.written.values())
    topics = [topic for topic in worker.written.values() if topic in before.topics]
    if there:
        answers(
            lambda: cluster.admin.delete_consumer_groups(there, request_timeout=TIMEOUT),
            "deleting the worker's groups",
        )
    if topics:
        answers(
            lambda: cluster.admin.delete_topics(topics, request_timeout=TIMEOUT),
            "deleting the worker's topics",
        )
    return undisturbed(before, _gone(topology, worker, own), own, "the removal")


def _hold_own(
    cluster: Cluster, topology: Topology, worker: Worker, names: tuple[str, ...]
) -> list[str]:
    """Those of the worker's groups that are there."""
    found = []
    readers = {w.group: w.input.topic for w in topology.workers.values()}
    for name in names:
        group = groups(cluster, worker.input.topic, name).get(name)
        if group is None:
            continue
        if group.clients:
            raise ClientHalt(
                f"group {name} has {len(group.clients)} members: stop the worker first"
            )
        foreign = sorted(set(group.committed) - {readers[name]})
        if foreign:
            raise ClientHalt(
                f"group {name} has offsets of {', '.join(foreign)}: it is not this worker's alone, "
                "and is not deleted"
            )
        if group.committed:
            found.append(name)
    return found


def _gone(topology: Topology, worker: Worker, own: frozenset[str]) -> Sight:
    """What there is once brokers know of the deletion: that takes a moment."""
    _, after = sight(topology, worker)
    for _ in range(LOOKS):
        if not own & set(after.topics) and after.own is None:
            break
        threading.Event().wait(0.2)
        _, after = sight(topology, worker)
    return after
