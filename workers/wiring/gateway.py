"""The gateway's parts put together: the same models, contracts and rules as a worker's stream."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from workers.enrich.path import Enricher
from workers.errors import ClientHalt, TopologyError
from workers.gateway.admin import Operations, admin_app
from workers.gateway.audit import Audit
from workers.gateway.callers import Callers
from workers.gateway.counted import Counted
from workers.gateway.counts import Counts, Requests
from workers.gateway.decisionlog import DecisionLog
from workers.gateway.decisions import Decisions, Desk
from workers.gateway.engine import Engine
from workers.gateway.gauges import of_desk, of_log, of_requests, reasons
from workers.gateway.lookup import Lookup
from workers.gateway.notes import saying
from workers.gateway.reads import public_app
from workers.gateway.run import Parts
from workers.gateway.server import QuietServer, listener, server_of
from workers.gateway.service import Service
from workers.gateway.tokens import JwtTokens
from workers.models.opening import open_store
from workers.models.shadow.process import COMMAND
from workers.operate.look import connect
from workers.stream.clients import instance_name
from workers.stream.clock import Clock, SystemClock
from workers.stream.drifting import Drifting
from workers.stream.gauges import of_counts, of_models
from workers.stream.journal import Journal
from workers.telemetry.registry import Registry, Sample
from workers.topology import Topology, Worker, user_folder
from workers.topology.gateway import Gateway, WorkerGateway
from workers.wiring import build_enricher, prove
from workers.wiring.doors import identity_of, observed
from workers.wiring.following import followed
from workers.wiring.gateway_clients import Base, keys_of, log_of
from workers.wiring.gateway_openapi import openapi_of
from workers.wiring.reporting import model_views
from workers.wiring.telemetry import created_of

DOOR = "gateway"


@dataclass(frozen=True, slots=True)
class Places:
    """Where a gateway that is built listens."""

    public: socket.socket
    admin: socket.socket | None


def served(topology: Topology) -> dict[str, tuple[Worker, WorkerGateway]]:
    """The workers that the gateway serves.

    Raises:
        TopologyError: there are none.
    """
    found = {
        name: (worker, worker.gateway)
        for name, worker in topology.workers.items()
        if worker.gateway is not None
    }
    if topology.gateway is None or not found:
        raise TopologyError(
            "nothing to serve: topology.yaml has no `gateway`, or no worker with a `gateway` part"
        )
    return found


def gateway_topics(topology: Topology) -> list[str]:
    """Topics that a gateway writes to."""
    found = [worker.decisions.topic for worker, _ in served(topology).values() if worker.decisions]
    if topology.gateway is not None and topology.gateway.idempotency is not None:
        found.append(topology.gateway.idempotency.topic)
    return list(dict.fromkeys(found))


def check_topics(topology: Topology) -> None:
    """Is there a cluster, and has it the gateway's topics? Nothing is created.

    Raises:
        BrokerUnreachable: no broker answered within `broker.connect_timeout`.
        ClientHalt: the broker refuses us, or topics are missing; names them.
    """
    known = connect(topology.broker, "gateway.check").metadata.topics
    missing = [topic for topic in gateway_topics(topology) if topic not in known]
    if missing:
        raise ClientHalt(f"missing on the cluster: {', '.join(missing)}; workers create no topic")


async def build_gateway(topology: Topology, *, clock: Clock | None = None) -> tuple[Parts, Places]:
    """Everything that a gateway is, for this event loop; `run` starts it.

    Raises:
        Halt: as a worker's start; or a port is taken, the spill another's, the audit unwritable.
    """
    clock = clock or SystemClock()
    gateway, workers = topology.gateway, served(topology)
    assert gateway is not None  # noqa: S101  `served` says so
    check_topics(topology)
    loop = asyncio.get_running_loop()
    name = f"gateway.{instance_name(next(iter(workers.values()))[0])}"
    registries = {worker: Registry() for worker in workers}
    own = registries.setdefault(DOOR, Registry())
    journal, say = Journal(clock, own, gateway=name), saying(own, gateway=name)
    desks = {
        worker.name: _desk(topology, worker, settings, registries[worker.name], clock, loop)
        for worker, settings in workers.values()
    }
    ids_of = {desk.service.decisions_topic: partial(_ids, desk.service) for desk in desks.values()}
    base = Base(topology.broker, gateway, name, clock, say, journal)
    log = log_of(base, ids_of)
    keys = keys_of(base)
    lookup = Lookup(gateway.lookup, base.lookup_reader(), ids_of)
    tokens = None if gateway.jwt is None else JwtTokens(gateway.jwt, clock, say)
    callers, others = Callers(gateway, tokens), Requests()
    described = partial(openapi_of, topology, desks)
    decisions = Decisions(
        desks=desks,
        callers=callers,
        limits=gateway.limits,
        log=log,
        log_timeout=gateway.log.timeout,
        keys=keys,
        lookup=lookup,
        clock=clock,
        say=say,
        others=others,
        rest=Counted(public_app(desks, callers, lookup, log, described), others),
    )
    public = listener(gateway.host, gateway.port, gateway.socket)
    servers = [(server_of(decisions, gateway.limits, gateway.drain), public)]
    audit = admin = None
    if gateway.admin is not None:
        audit = Audit(_audit_file(topology, gateway), say)
        admin = listener(gateway.admin.host, gateway.admin.port)
        servers.append((_operations(topology, gateway, log, audit, callers), admin))
    own.watch(others.samples)
    own.watch(partial(of_log, log))
    own.watch(partial(of_requests, callers, keys, [server for server, _ in servers]))
    seen = observed(
        topology,
        identity_of(DOOR, name),
        registries,
        port=gateway.health_port,
        reasons=partial(reasons, desks.values(), log),
        journal=journal,
        clock=clock,
    )
    made = Parts(tuple(desks.values()), log, keys, lookup, audit, servers, say, seen)
    return made, Places(public, admin)


def _ids(service: Service, records: Iterable[bytes]) -> list[str]:
    return service.renderer.ids(list(records))


def _desk(
    topology: Topology,
    worker: Worker,
    settings: WorkerGateway,
    registry: Registry,
    clock: Clock,
    loop: asyncio.AbstractEventLoop,
) -> Desk:
    """A worker, as `build_loop` makes it, without its stream."""
    enricher = build_enricher(topology, worker)
    journal = Journal(clock, registry, worker=worker.name, door=DOOR)
    found = followed(
        topology, worker, enricher, slot=0, clock=clock, journal=journal, challenger=COMMAND
    )
    service = Service(
        worker=worker,
        settings=settings,
        enricher=enricher,
        resolver=found.resolver,
        slot=found.slot,
        shadow=found.shadow,
        journal=journal,
    )
    counts = Counts(registry, Drifting(worker.drift), clock)

    def before() -> None:
        service.before()
        counts.before()

    engine = Engine(
        enrich=service.enrich,
        before=before,
        after=service.after,
        decided=service.decided,
        settled=counts.settled,
        settings=settings.queue,
        clock=clock,
        loop=loop,
    )
    desk = Desk(service, engine, counts)
    registry.watch(counts.samples)
    registry.watch(partial(of_desk, desk))
    registry.watch(partial(of_counts, journal.counts))
    registry.watch(lambda: _of_models(worker, enricher, clock))
    return desk


def _of_models(worker: Worker, enricher: Enricher, clock: Clock) -> Iterable[Sample]:
    created = created_of(worker, enricher)
    return of_models(model_views(worker, enricher), created, clock.now())


def _operations(
    topology: Topology, gateway: Gateway, log: DecisionLog, audit: Audit, callers: Callers
) -> QuietServer:
    """What operators ask, beside what callers do."""
    store = open_store(topology.models)
    app: Any = admin_app(Operations(store, partial(prove, topology), log, audit, callers))
    return server_of(app, gateway.limits, gateway.drain)


def _audit_file(topology: Topology, gateway: Gateway) -> Any:
    return gateway.audit or (topology.state or user_folder("state")) / "gateway-audit.jsonl"
