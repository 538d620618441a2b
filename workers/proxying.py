"""`workers sidecar proxy`: the transparent proxy in this process, without model and broker."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2
import uvloop

from workers.errors import TopologyError
from workers.gateway.asking import Asker, Names
from workers.gateway.notes import GatewayEvent, Say, saying
from workers.gateway.observed import Observed
from workers.gateway.pages import Phase
from workers.gateway.proxy import Proxied
from workers.gateway.server import listener, server_of
from workers.stream.clients import instance_name
from workers.stream.clock import SystemClock
from workers.stream.journal import Journal
from workers.stream.logs import configure_logging
from workers.telemetry.registry import Registry
from workers.topology import Topology, load
from workers.topology.proxy import Proxy
from workers.wiring import models_of
from workers.wiring.doors import identity_of, observed

DOOR = "proxy"
KEPT = 1.0
"""Seconds that an idle connection is kept: less than servers keep theirs, or a request would meet
one that is just being closed, and fail although the system is well."""
PROGRESS_SECONDS = 10.0


def proxy_of(topology: Topology) -> Proxy:
    """The topology's proxy.

    Raises:
        TopologyError: it has none, or nobody whom it could ask.
    """
    settings = topology.proxy
    if settings is None:
        raise TopologyError("topology.yaml has no `proxy`")
    if settings.worker not in topology.workers:
        raise TopologyError(f"proxy.worker: no worker {settings.worker}")
    if topology.gateway is None and settings.gateway is None and settings.gateway_socket is None:
        raise TopologyError("proxy: there is no `gateway`; write where it is, in proxy.gateway")
    return settings


def build_proxy(topology: Topology) -> Proxied:
    """The application, for this event loop.

    Raises:
        TopologyError: as `proxy_of`.
    """
    settings = proxy_of(topology)
    worker = topology.workers[settings.worker]
    origin, path = _gateway(topology, settings)
    url = httpx2.URL(f"{origin}/v1/decisions/{worker.name}")
    key = None if settings.key is None else settings.key.get_secret_value()
    asker = Asker(_transport(path), url, key, time.monotonic)
    return Proxied(settings, _transport(settings.upstream_socket), asker, Names(models_of(worker)))


def _transport(path: Path | None) -> httpx2.AsyncHTTPTransport:
    limits = httpx2.Limits(
        max_connections=None, max_keepalive_connections=100, keepalive_expiry=KEPT
    )
    return httpx2.AsyncHTTPTransport(
        uds=None if path is None else str(path), limits=limits, trust_env=False
    )


def _gateway(topology: Topology, settings: Proxy) -> tuple[str, Path | None]:
    if settings.gateway is not None:
        return settings.gateway, None
    path = settings.gateway_socket
    own = topology.gateway
    if path is None and own is not None:
        if own.socket is None:
            host = f"[{own.host}]" if ":" in own.host else own.host
            return f"http://{host}:{own.port}", None
        path = own.socket
    return "http://gateway", path


async def run_proxy(
    topology: Topology, stopping: asyncio.Event, ready: Callable[[socket.socket], None]
) -> Proxied:
    """Serve until `stopping`; gives the application back, with what it counted.

    Raises:
        TopologyError: as `proxy_of`.
        ClientHalt: it cannot listen there.
    """
    settings, app = proxy_of(topology), build_proxy(topology)
    registries = {settings.worker: Registry()}
    own = registries.setdefault(DOOR, Registry())
    say = saying(own, proxy=settings.worker)
    registries[settings.worker].watch(app.samples)
    opened = listener(settings.host, settings.port, settings.socket)
    seen = _observed(topology, settings, registries)
    server = server_of(app, settings.limits, settings.drain)
    # The system's own is passed on.
    server.config.date_header = False
    serving = asyncio.create_task(server.serve([opened]))
    seen.start()
    seen.pages.phase = Phase.SERVING
    say(GatewayEvent.STARTED, upstream=settings.upstream, budget=settings.budget)
    ready(opened)
    running = [asyncio.create_task(each) for each in (_progress(app, say), seen.beat())]
    await asyncio.wait(
        [asyncio.create_task(stopping.wait()), serving], return_when=asyncio.FIRST_COMPLETED
    )
    seen.pages.phase = Phase.DRAINING
    server.should_exit = True
    await serving
    for task in running:
        task.cancel()
    await app.close()
    await asyncio.get_running_loop().run_in_executor(None, seen.close)
    say(GatewayEvent.STOPPED, **app.counts)
    return app


def _observed(topology: Topology, settings: Proxy, registries: Mapping[str, Registry]) -> Observed:
    worker, clock = topology.workers[settings.worker], SystemClock()
    who = identity_of(DOOR, f"{DOOR}.{instance_name(worker)}")
    return observed(
        topology,
        who,
        registries,
        port=settings.health_port,
        # It fails open: whatever it cannot ask, requests go on.
        reasons=lambda: (),
        journal=Journal(clock, registries[DOOR], proxy=settings.worker),
        clock=clock,
    )


async def _progress(app: Proxied, say: Say) -> None:
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        say(GatewayEvent.PROGRESS, **app.counts)


def serve_proxy(file: Path) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        Halt: with the exit code to end with.
    """
    configure_logging()
    loaded = load(file)

    async def main() -> None:
        stopping, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await run_proxy(loaded, stopping, _say)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _say(opened: socket.socket) -> None:
    name = opened.getsockname()
    shown = ":".join(map(str, name[:2])) if isinstance(name, tuple) else str(name)
    print(f"proxy {shown}", flush=True)  # noqa: T201  for people
