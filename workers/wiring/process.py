"""One process of a worker: what all of its parts are made with."""

from __future__ import annotations

from dataclasses import dataclass

from workers.stream.clients import instance_name
from workers.stream.clock import Clock
from workers.stream.journal import Journal
from workers.telemetry.registry import Registry
from workers.topology import Topology, Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """`slot` tells it from others of the worker on this host, `instance` from all others."""

    topology: Topology
    worker: Worker
    slot: int
    instance: str
    clock: Clock
    registry: Registry
    journal: Journal


def process_of(
    topology: Topology, worker: Worker, slot: int, clock: Clock, registry: Registry
) -> Process:
    """A process that counts in `registry`, with a journal of its own."""
    instance = instance_of(worker, slot)
    return Process(
        topology=topology,
        worker=worker,
        slot=slot,
        instance=instance,
        clock=clock,
        registry=registry,
        journal=Journal(clock, registry, worker=worker.name, instance=instance),
    )


def instance_of(worker: Worker, slot: int) -> str:
    """What a process of a worker is called."""
    return f"{instance_name(worker)}.{slot}"
