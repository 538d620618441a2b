"""What tells of a process that is no worker's stream: the gateway's, the proxy's."""

from __future__ import annotations

from collections.abc import Mapping

from workers import __version__
from workers.gateway.observed import Observed
from workers.gateway.pages import DoorPages, Reasons
from workers.operate.health.opening import listening
from workers.stream.clock import Clock
from workers.stream.gauges import of_process
from workers.stream.journal import Journal
from workers.telemetry import names
from workers.telemetry.prometheus import Rendering
from workers.telemetry.registry import Registry
from workers.telemetry.settings import Identity
from workers.topology import Topology
from workers.wiring.telemetry import exports_of


def observed(  # noqa: PLR0913  every part is given
    topology: Topology,
    who: Identity,
    registries: Mapping[str, Registry],
    *,
    port: int,
    reasons: Reasons,
    journal: Journal,
    clock: Clock,
) -> Observed:
    """Pages and exports of this process; `registries` by worker, that of the door among them.

    Raises:
        TopologyError: there is a collector, and the extra `otlp` is not installed.
    """
    registry, began = registries[who.worker], clock.monotonic()
    registry.watch(of_process)
    registry.watch(
        lambda: [
            (names.BUILD_INFO, (who.build,), 1),
            (names.UPTIME, (), clock.monotonic() - began),
        ]
    )
    health = topology.health
    patience = health.patience if health is not None else float("inf")
    pages = DoorPages(patience, clock, reasons, Rendering(registries, who.door))
    server = None if health is None else listening(health.address, port, pages, journal)
    return Observed(pages, server, exports_of(topology, who, registries, journal, clock))


def identity_of(door: str, instance: str) -> Identity:
    """Who tells; its own numbers go by the door's name where those of workers have a worker's."""
    return Identity(door, instance, __version__, door)
