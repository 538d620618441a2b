"""A gateway's life: everything started in order, requests served, everything ended in order."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from workers.errors import ClientHalt
from workers.gateway.audit import Audit
from workers.gateway.decisionlog import DecisionLog
from workers.gateway.decisions import Desk
from workers.gateway.idempotency import Keys
from workers.gateway.lookup import Lookup
from workers.gateway.notes import GatewayEvent, Say
from workers.gateway.observed import Observed
from workers.gateway.pages import Phase
from workers.gateway.server import QuietServer

KEYS_SECONDS = 120.0
"""How long a start may take to read the topic of keys."""
CLOSE_SECONDS = 5.0
PROGRESS_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What runs, made by `wiring.gateway`."""

    desks: tuple[Desk, ...]
    log: DecisionLog
    keys: Keys | None
    lookup: Lookup
    audit: Audit | None
    servers: Sequence[tuple[QuietServer, socket.socket]]
    say: Say
    observed: Observed


@dataclass(slots=True)
class GatewayState:
    """A gateway that runs, as others see it."""

    loop: asyncio.AbstractEventLoop
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    parts: Parts | None = None

    def stop(self) -> None:
        """Finish what is under way and end. From any thread; safe in a signal handler."""
        self.loop.call_soon_threadsafe(self.stopping.set)


async def run(parts: Parts, state: GatewayState, ready: Callable[[], None]) -> None:
    """Serve until `state.stop`.

    Raises:
        Halt: it cannot begin.
    """
    parts.observed.start()
    beating = asyncio.create_task(parts.observed.beat())
    try:
        await _start(parts)
        state.parts = parts
        serving = [asyncio.create_task(s.serve([sock])) for s, sock in parts.servers]
        parts.say(GatewayEvent.STARTED, workers=[desk.name for desk in parts.desks])
        parts.observed.pages.phase = Phase.SERVING
        ready()
        progress = asyncio.create_task(_progress(parts))
        await asyncio.wait(
            [asyncio.create_task(state.stopping.wait()), *serving],
            return_when=asyncio.FIRST_COMPLETED,
        )
        progress.cancel()
        parts.observed.pages.phase = Phase.DRAINING
        parts.say(GatewayEvent.STOPPING)
        for server, _ in parts.servers:
            server.should_exit = True
        await asyncio.gather(*serving)
    finally:
        await asyncio.get_running_loop().run_in_executor(None, _close, parts)
        beating.cancel()
        parts.say(GatewayEvent.STOPPED, **totals(parts))


async def _start(parts: Parts) -> None:
    loop = asyncio.get_running_loop()
    for desk in parts.desks:
        desk.service.start()
        desk.engine.start()
    parts.log.start()
    parts.lookup.start()
    if parts.keys is not None:
        # Before anything is claimed, everything that was claimed is known.
        if not await loop.run_in_executor(None, parts.keys.start, KEYS_SECONDS):
            raise ClientHalt("gateway.idempotency: the topic could not be read to its end")
        parts.keys.ready()


def _close(parts: Parts) -> None:
    for desk in parts.desks:
        desk.engine.close(CLOSE_SECONDS)
    parts.log.close(CLOSE_SECONDS)
    if parts.keys is not None:
        parts.keys.close()
    parts.lookup.close()
    for desk in parts.desks:
        desk.service.close()
    if parts.audit is not None:
        parts.audit.close()
    parts.observed.close()


def totals(parts: Parts) -> dict[str, object]:
    """Counts since the start."""
    log = parts.log
    return {
        "events": {desk.name: desk.engine.events for desk in parts.desks},
        "degraded": {desk.name: desk.engine.degraded for desk in parts.desks},
        "batches": {desk.name: desk.engine.batches for desk in parts.desks},
        "acknowledged": log.acknowledged,
        "spilled": log.spilled,
        "replayed": log.replayed,
    }


async def _progress(parts: Parts) -> None:
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        parts.say(GatewayEvent.PROGRESS, **totals(parts))
