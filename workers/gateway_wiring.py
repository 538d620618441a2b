"""The gateway's parts put together: the same models, contracts and rules as a worker's stream."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from workers.contracts.directory import read_directory
from workers.errors import ClientHalt, TopologyError
from workers.gateway.admin import Operations, admin_app
from workers.gateway.audit import Audit
from workers.gateway.callers import Callers
from workers.gateway.clients import decisions_producer, topics_reader
from workers.gateway.decisionlog import DecisionLog
from workers.gateway.decisions import Decisions, Desk
from workers.gateway.engine import Engine
from workers.gateway.idempotency import Keys
from workers.gateway.lookup import Lookup
from workers.gateway.notes import Say, saying
from workers.gateway.openapi import Described, document
from workers.gateway.reads import public_app
from workers.gateway.replay import Replay
from workers.gateway.run import Parts
from workers.gateway.server import QuietServer, listener, server_of
from workers.gateway.service import Service
from workers.gateway.spill import Spill
from workers.gateway.tokens import JwtTokens
from workers.governance.examples import example_files
from workers.models.following import ModelEvent
from workers.models.opening import open_kept, open_store
from workers.models.shadow.process import COMMAND
from workers.operate.look import connect
from workers.stream.clients import Config, comparison_config, instance_name
from workers.stream.clock import Clock, SystemClock
from workers.stream.failures import translated
from workers.stream.journal import ClientLog, Journal
from workers.stream.slot import Slot
from workers.stream.slot import noted as slot_noted
from workers.topology import Broker, Topology, Worker, user_folder
from workers.topology.gateway import Gateway, OnLogFailure, WorkerGateway
from workers.wiring import (
    build_enricher,
    contracts_of,
    follower_of,
    models_of,
    prove,
    shadowing_of,
)

ASK = 10.0


@dataclass(frozen=True, slots=True)
class Places:
    """Where a gateway that is built listens."""

    public: socket.socket
    admin: socket.socket | None


@dataclass(frozen=True, slots=True)
class _Base:
    """What the gateway's clients are made of."""

    broker: Broker
    gateway: Gateway
    name: str
    clock: Clock
    say: Say

    def producer(self, what: str) -> Config:
        return decisions_producer(self.broker, self.gateway, f"{self.name}.{what}", self._log())

    def reader(self, what: str) -> Config:
        return topics_reader(self.broker, f"{self.name}.{what}", self._log())

    def _log(self) -> ClientLog:
        return ClientLog(Journal(self.clock, gateway=self.name), self.clock)


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
    say = saying(gateway=name)
    desks = {
        worker.name: _desk(topology, worker, settings, clock, loop)
        for worker, settings in workers.values()
    }
    ids_of = {desk.service.decisions_topic: partial(_ids, desk.service) for desk in desks.values()}
    base = _Base(topology.broker, gateway, name, clock, say)
    log = _log(base, ids_of)
    keys = _keys(base)
    lookup = Lookup(gateway.lookup, base.reader("lookup"), ids_of)
    tokens = None if gateway.jwt is None else JwtTokens(gateway.jwt, clock, say)
    callers = Callers(gateway, tokens)
    openapi = partial(_document, topology, desks)
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
        rest=public_app(desks, callers, lookup, log, openapi),
    )
    public = listener(gateway.host, gateway.port, gateway.socket)
    servers: list[tuple[QuietServer, socket.socket]] = [
        (server_of(decisions, gateway.limits, gateway.drain), public)
    ]
    audit = admin = None
    if gateway.admin is not None:
        audit = Audit(_audit_file(topology, gateway), say)
        admin = listener(gateway.admin.host, gateway.admin.port)
        parts = Operations(
            open_store(topology.models), partial(prove, topology), log, audit, callers
        )
        app: Any = admin_app(parts)
        servers.append((server_of(app, gateway.limits, gateway.drain), admin))
    made = Parts(tuple(desks.values()), log, keys, lookup, audit, servers, say)
    return made, Places(public, admin)


def _ids(service: Service, records: Iterable[bytes]) -> list[str]:
    return service.renderer.ids(list(records))


def _desk(
    topology: Topology,
    worker: Worker,
    settings: WorkerGateway,
    clock: Clock,
    loop: asyncio.AbstractEventLoop,
) -> Desk:
    """A worker, as `build_loop` makes it, without its stream."""
    enricher = build_enricher(topology, worker)
    journal = Journal(clock, worker=worker.name, door="gateway")
    resolver = contracts_of(topology, worker, journal)
    note = slot_noted(journal)
    store = open_kept(topology.models, lambda why: note(ModelEvent.NOT_KEPT, {"why": why}))
    followers = [
        follower_of(store, worker, ref, resolver, serving.model, journal)
        for ref, serving in zip(models_of(worker).values(), enricher.servings, strict=True)
    ]
    shadow = shadowing_of(
        worker=worker,
        store=store,
        resolver=resolver,
        champion=enricher.model.manifest.version,
        config=comparison_config(topology.broker, worker, 0),
        clock=clock,
        journal=journal,
        command=COMMAND,
    )
    service = Service(
        worker=worker,
        settings=settings,
        enricher=enricher,
        resolver=resolver,
        slot=Slot(followers, enricher.serve, journal),
        shadow=shadow,
        journal=journal,
    )
    engine = Engine(
        enrich=service.enrich,
        before=service.before,
        after=service.after,
        decided=service.decided,
        settings=settings.queue,
        clock=clock,
        loop=loop,
    )
    return Desk(service, engine)


def _log(base: _Base, ids_of: Mapping[str, Callable[[Any], list[str]]]) -> DecisionLog:
    gateway = base.gateway
    config, reader = base.producer("log"), base.reader("replay")
    spill = None
    if gateway.log.on_failure is OnLogFailure.SPILL and gateway.log.spill is not None:
        spill = Spill(gateway.log.spill, gateway.log.spill_bytes)

    def probe() -> None:
        with translated("asking for the decisions topic"):
            Producer(config).list_topics(next(iter(ids_of)), timeout=gateway.log.timeout)

    return DecisionLog(
        config=config,
        timeout=gateway.log.timeout,
        retry=gateway.log.retry,
        probe=probe,
        spill=spill,
        replay=Replay(config, reader, ids_of),
        offsets=_ends(reader, ids_of),
        clock=base.clock,
        loop=asyncio.get_running_loop(),
        say=base.say,
    )


def _ends(config: dict[str, Any], topics: Iterable[str]) -> dict[tuple[str, int], int]:
    """Where the topics end before anything is written."""
    consumer, found = Consumer(config), dict[tuple[str, int], int]()
    try:
        with translated("asking how long the decisions topic is"):
            for topic in topics:
                for number in consumer.list_topics(topic, timeout=ASK).topics[topic].partitions:
                    place = TopicPartition(topic, number)
                    found[topic, number] = consumer.get_watermark_offsets(place, timeout=ASK)[1]
    finally:
        consumer.close()
    return found


def _keys(base: _Base) -> Keys | None:
    settings = base.gateway.idempotency
    if settings is None:
        return None
    loop = asyncio.get_running_loop()
    try:
        return Keys(
            settings, base.producer("keys"), base.reader("keys"), base.clock, loop, base.say
        )
    except KafkaException as error:
        raise ClientHalt(f"gateway.idempotency: {error.args[0].str()}") from error


def _audit_file(topology: Topology, gateway: Gateway) -> Any:
    return gateway.audit or (topology.state or user_folder("state")) / "gateway-audit.jsonl"


def _document(topology: Topology, desks: Mapping[str, Desk]) -> dict[str, Any]:
    keys = topology.gateway is not None and topology.gateway.idempotency is not None
    return document((_described(topology, desk) for desk in desks.values()), keys=keys)


def _described(topology: Topology, desk: Desk) -> Described:
    readings = desk.service.readings
    return Described(
        desk.name,
        readings.schemas[readings.newest],
        desk.service.enricher.binding.block,
        desk.service.enricher.policy.blocks,
        versions=sorted(readings.by_version),
        examples=_examples(topology, desk.service.worker.input.subject, readings.newest),
    )


def _examples(topology: Topology, subject: str, version: int) -> dict[str, Any]:
    """The contract's own examples, where contracts are files."""
    if topology.contracts.directory is None:
        return {}
    folder = read_directory(topology.contracts.directory).folder(subject)
    files = [] if folder is None else example_files(folder, version)
    return {file.stem: json.loads(file.read_text()) for file in files}
