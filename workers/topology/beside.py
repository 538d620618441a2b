"""What a sidecar may not do: a topology that could disturb the system beside it is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from workers.topology.shapes import Mode
from workers.topology.worker import Worker


def disturbances(workers: Mapping[str, Worker]) -> Iterator[str]:
    """Every way in which the topology's workers could disturb what a sidecar stands beside."""
    for name, worker in workers.items():
        if worker.mode is not Mode.SIDECAR or worker.tier is not None:
            continue
        for other in workers.values():
            if other.known_as != name:
                yield from _between(worker, other)


def _between(sidecar: Worker, other: Worker) -> Iterator[str]:
    written = sidecar.written.values()
    for role, topic in other.written.items():
        if topic in written:
            yield (
                f"sidecar {sidecar.name} writes {topic}, which is worker {other.name}'s {role} "
                "too: a sidecar writes only topics of its own"
            )
    if other.mode is Mode.SIDECAR and other.tier is None and other.input.topic in written:
        yield (
            f"sidecar {sidecar.name} writes {other.input.topic}, which sidecar {other.name} stands "
            f"beside: nobody may disturb it; to read what a sidecar writes, {other.name} must be "
            "`mode: pipeline`"
        )
