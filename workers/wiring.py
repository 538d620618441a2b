"""The one place where parts are put together: files, clients, the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from workers import __version__
from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.comparison import comparison_contract
from workers.contracts.derive import BLOCK_FIELD
from workers.contracts.framing import Header
from workers.contracts.notes import unnoted
from workers.contracts.opening import open_contracts
from workers.contracts.resolver import Resolver
from workers.contracts.schema import SchemaLimits
from workers.enrich.path import Enricher
from workers.enrich.policy import Policy
from workers.errors import (
    ClientHalt,
    Halt,
    ModelError,
    Retry,
    TopologyError,
)
from workers.models.bundle import Bundle
from workers.models.checks import check_bundle
from workers.models.compiled.build import compiled_or_not
from workers.models.following import Follower, ModelEvent
from workers.models.model import Model
from workers.models.opening import open_kept, open_store
from workers.models.shadow.challenger import Challenger
from workers.models.shadow.challenger import challenger as challenger_of
from workers.models.shadow.comparison import Recorder as ComparisonRecorder
from workers.models.shadow.counts import CountsState as ShadowCountsState
from workers.models.shadow.process import COMMAND
from workers.models.shadow.shadow import Shadow
from workers.models.store import Alias, Store
from workers.models.verify import verify
from workers.offline.path import WorkerPath
from workers.operate.look import connect
from workers.stream.breaker import Breaker
from workers.stream.clients import (
    Config,
    common,
    comparison_config,
    consumer_config,
    instance_name,
    producer_config,
    range_config,
    tail_config,
)
from workers.stream.clock import Clock, SystemClock
from workers.stream.crashes import CrashGuard, Watchdog
from workers.stream.deadletters import Origin
from workers.stream.drifting import Drifting
from workers.stream.ends import Ends
from workers.stream.gauges import of_counts, of_process, of_snapshot
from workers.stream.journal import ClientLog, Event, Journal
from workers.stream.loop import Loop
from workers.stream.openletters import OpenLettersState
from workers.stream.outcome import Counted, Passed
from workers.stream.outgoing import Outgoing
from workers.stream.pausing import Pauses
from workers.stream.publish import (
    AcknowledgedPublisher,
    Failpoint,
    Publisher,
    TransactionalPublisher,
    nowhere,
)
from workers.stream.ranges import RangeReader
from workers.stream.recorder import Recorder
from workers.stream.reporting import Parts, Reporter, first_snapshot
from workers.stream.retries import Enrich, as_first_came
from workers.stream.schemas import Schemas, noted
from workers.stream.sequence import KeyOrder
from workers.stream.shadowing import ComparisonProducer, Shadowing
from workers.stream.shadowing import noted as shadow_noted
from workers.stream.slot import Slot
from workers.stream.slot import noted as slot_noted
from workers.stream.snapshot import Board, ModelView
from workers.stream.source import Source
from workers.stream.tail import Tail
from workers.stream.tracing import Traces
from workers.telemetry.events import TelemetryEvent
from workers.telemetry.registry import Registry
from workers.telemetry.settings import Identity, collector
from workers.telemetry.spans import Exporting, NoExports
from workers.topology import (
    Backend,
    Broker,
    Delivery,
    ModelRef,
    Partitioning,
    Retries,
    Sequencing,
    Topology,
    Worker,
    environment,
    user_folder,
)

POLL_LIMIT_MS = 300_000
"""librdkafka's max.poll.interval.ms, where none is declared."""


def pick(topology: Topology, name: str | None) -> Worker:
    """The worker of that name; the only one, besides those that retry for it, where none is named.

    Raises:
        TopologyError: there is none, or there are several and none is named.
    """
    known = ", ".join(topology.workers)
    if name is None:
        own = [worker for worker in topology.workers.values() if worker.tier is None]
        if len(own) > 1:
            raise TopologyError(f"name one of the workers: {known}")
        return own[0]
    if name not in topology.workers:
        raise TopologyError(f"no worker {name}; topology.yaml has {known}")
    return topology.workers[name]


def contracts_of(topology: Topology, worker: Worker, journal: Journal | None = None) -> Resolver:
    """The contracts that a worker needs, followed from now on until `close`.

    Raises:
        ContractError: one is missing or malformed.
    """
    subjects = [worker.input.subject, worker.output.subject]
    if worker.decisions is not None:
        subjects.append(worker.decisions.subject)
    if worker.shadow is not None:
        subjects.append(worker.shadow.subject)
    limits = SchemaLimits(nesting=worker.limits.max_nesting, fields=worker.limits.max_fields)
    note = unnoted if journal is None else noted(journal)
    return open_contracts(topology.contracts, list(dict.fromkeys(subjects)), limits, note)


def build_enricher(topology: Topology, worker: Worker) -> Enricher:
    """The path of a worker with contracts and model as they are now.

    The bundle is proven in a child process first.

    Raises:
        ContractError: a contract is missing, malformed or does not fit.
        ModelError: the bundle is missing, damaged, or scores its golden rows otherwise.
    """
    resolver = contracts_of(topology, worker)
    resolver.close()
    return _enricher(topology, worker, resolver.catalogue)


def build_path(topology: Topology, worker: Worker) -> WorkerPath:
    """The path of a worker for whole batches, without its stream. The caller closes it.

    Raises:
        ContractError: as `build_enricher`.
        ModelError: likewise.
    """
    resolver = contracts_of(topology, worker)
    # History has no age: what is scored again is scored as it would have been.
    timeless = worker.model_copy(update={"staleness": None})
    try:
        enricher = _enricher(topology, timeless, resolver.catalogue)
    except Halt:
        resolver.close()
        raise
    return WorkerPath(enricher, resolver, worker.output.max_message_bytes)


def _enricher(topology: Topology, worker: Worker, contracts: Catalogue) -> Enricher:
    if worker.shadow is not None:
        comparison_contract(contracts, worker.shadow.subject)
    store = open_kept(topology.models, _cannot_keep)
    loaded = [load_model(store, worker, ref, contracts) for ref in models_of(worker).values()]
    return Enricher(policy_of(worker), contracts, *loaded)


def _cannot_keep(why: str) -> None:
    """At the start: later it would be too late to say so."""
    raise ModelError(f"models.cache: {why}")


def models_of(worker: Worker) -> dict[str, ModelRef]:
    """What scores, by block, in the order of the output's fields."""
    others = {name: block.model for name, block in worker.blocks.items()}
    return {BLOCK_FIELD: worker.model, **others}


def load_model(
    store: Store,
    worker: Worker,
    ref: ModelRef,
    contracts: Catalogue,
    version: str | None = None,
) -> Model:
    """A version of a worker's model, proven in a child process; by default the one it serves.

    Raises:
        ModelError: there is no such version, it is damaged, or scores its golden rows otherwise.
    """
    chosen = version or ref.version
    if chosen is None and ref.alias is not None:
        chosen = store.served(ref.name, ref.alias)
    if chosen is None:
        raise ModelError(
            f"model {ref.name} has no {ref.alias}; `workers models promote {ref.name} VERSION` "
            "makes one"
        )
    bundle, contract = proven(store, ref.name, chosen, contracts, ref.alias)
    model = Model(bundle, threads=worker.score_threads)
    if ref.backend is Backend.COMPILED:
        return compiled_or_not(model, bundle, contract.schema)
    return model


def proven(
    store: Store, name: str, version: str, contracts: Catalogue, alias: Alias | None
) -> tuple[Bundle, Registered]:
    """A version that was proven in a child process, and the contract that it is built for.

    `alias` is what it is served by, if it is.

    Raises:
        ModelError: there is no such version, it is damaged, or scores its golden rows otherwise.
    """
    fetched = store.fetch(name, version)
    bundle = fetched.bundle
    built = bundle.manifest.contract
    found = contracts.versions(built.subject).get(built.version)
    if found is None:
        # Without its contract nothing can be proven, and what is not proven is not loaded.
        raise ModelError(
            f"model {name} version {version} is built for {built.subject} version "
            f"{built.version}, which is not among the contracts"
        )
    check_bundle(bundle, found.schema)
    verify(bundle, found.schema)
    store.proven(fetched, alias)
    return bundle, found


def prove(topology: Topology, name: str, version: str) -> Model:
    """Hold a version to every worker that serves the model by an alias, as those will.

    The model as the last of them loads it.

    Raises:
        ContractError: a contract is missing or does not fit.
        ModelError: the version is missing, damaged, or does not fit a worker's contracts.
    """
    store = open_store(topology.models)
    served = {
        worker.name: [block for block, ref in models_of(worker).items() if ref.name == name]
        for worker in topology.workers.values()
    }
    if not any(served.values()):
        raise ModelError(f"no worker of the topology serves model {name}")
    checked = list[Model]()
    for worker in (topology.workers[worker] for worker, blocks in served.items() if blocks):
        resolver = contracts_of(topology, worker)
        resolver.close()
        refs, contracts = models_of(worker), resolver.catalogue
        models = [
            load_model(store, worker, ref, contracts, version if ref.name == name else None)
            for ref in refs.values()
        ]
        Enricher(policy_of(worker), contracts, *models)
        checked += [model for model in models if model.manifest.name == name]
    return checked[-1]


def policy_of(worker: Worker) -> Policy:
    """What a worker's topology says of its path."""
    return Policy(
        worker=worker.known_as,
        input_subject=worker.input.subject,
        output_subject=worker.output.subject,
        decisions_subject=worker.decisions.subject if worker.decisions else None,
        tombstones=worker.tombstones,
        unframed=worker.unframed,
        blocks=tuple(models_of(worker)),
        rules={BLOCK_FIELD: worker.rules, **{n: b.rules for n, b in worker.blocks.items()}},
        shadow=worker.shadow is not None,
        shape=worker.output.shape,
        whole=worker.output.block,
        staleness=worker.staleness,
        on_model_failure=worker.on_model_failure,
        max_payload=worker.limits.max_payload_bytes,
    )


def topics_of(worker: Worker) -> dict[str, str]:
    """The worker's topics by role."""
    topics = {
        "input": worker.input.topic,
        "output": worker.output.topic,
        "dead_letter": worker.dead_letter.topic,
    }
    if worker.decisions is not None:
        topics["decisions"] = worker.decisions.topic
    if worker.shadow is not None:
        topics["shadow"] = worker.shadow.topic
    if worker.dead_letter.ledger is not None:
        topics["ledger"] = worker.dead_letter.ledger.topic
    if worker.retry_topic is not None:
        topics["retry"] = worker.retry_topic.topic
    return topics


def check_broker(broker: Broker, worker: Worker) -> None:
    """Is there a cluster, and has it the worker's topics? Nothing is created.

    Raises:
        BrokerUnreachable: no broker answered within `broker.connect_timeout`.
        ClientHalt: the broker refuses us; a topic is missing, all missing ones are named; or the
            output has too few partitions to take the input's numbers.
    """
    known = connect(broker, f"{worker.name}.check").metadata.topics
    missing = [
        f"{role} topic {topic}" for role, topic in topics_of(worker).items() if topic not in known
    ]
    if missing:
        raise ClientHalt(f"missing on the cluster: {', '.join(missing)}; workers create no topic")
    source, target = (len(known[t].partitions) for t in (worker.input.topic, worker.output.topic))
    if worker.output.partitioning is Partitioning.SAME and target < source:
        raise ClientHalt(
            f"output.partitioning is same, but {worker.output.topic} has {target} partitions and "
            f"{worker.input.topic} has {source}; add partitions, or write key"
        )


def build_range_reader(
    topology: Topology, worker: Worker, topic: str, clock: Clock | None = None
) -> tuple[RangeReader, tuple[int, ...]]:
    """What reads ranges of a topic with the worker's properties, and the topic's partitions.

    The caller closes it.

    Raises:
        BrokerUnreachable: no broker answered within `broker.connect_timeout`.
        ClientHalt: the broker or the client refuses us, or the topic is missing.
    """
    name, clock = f"{worker.name}.score", clock or SystemClock()
    known = connect(topology.broker, name).metadata.topics
    if topic not in known or known[topic].error is not None:
        raise ClientHalt(f"the cluster has no topic {topic}, or does not show it to us")
    log = ClientLog(Journal(clock, worker=worker.name), clock)
    try:
        consumer = Consumer({**range_config(topology.broker, worker), "logger": log})
    except KafkaException as error:
        raise ClientHalt(f"the consumer refuses its properties: {error.args[0].str()}") from error
    reader = RangeReader(consumer, topic, worker.batch, clock)
    return reader, tuple(sorted(known[topic].partitions))


@dataclass(frozen=True, slots=True)
class Running:
    """A loop and what it counts."""

    loop: Loop
    journal: Journal
    board: Board
    registry: Registry
    shadow: Shadowing | None = None


def build_loop(  # noqa: PLR0913  what is not given is what a worker runs with
    topology: Topology,
    worker: Worker,
    enricher: Enricher,
    *,
    slot: int = 0,
    clock: Clock | None = None,
    at: Failpoint = nowhere,
    watchdog: Watchdog | None = None,
    challenger: Sequence[str] = COMMAND,
    board: Board | None = None,
    registry: Registry | None = None,
) -> Running:
    """The loop of one process; nothing connects before it runs.

    `challenger` starts the process of the worker's shadow, where it has one. With `watchdog` the
    process is the worker's own: what it does is noted, so that a record which ends it is found.
    `board` is where it reports, `registry` where it counts; by default ones of its own.

    Raises:
        Halt: a client refuses its configuration.
    """
    clock = clock or SystemClock()
    instance = f"{instance_name(worker)}.{slot}"
    registry = registry or Registry()
    journal = Journal(clock, registry, worker=worker.name, instance=instance)
    origin = _origin(worker, instance)

    def guarded(watchdog: Watchdog) -> CrashGuard:
        folder = topology.state or user_folder("state")
        file = folder / f"{worker.name}.{slot}.json"
        return CrashGuard(file, worker.input.topic, enrich, journal, watchdog)

    enrich: Enrich = enricher.enrich
    if worker.tier is not None:
        enrich = as_first_came(enrich, worker.tier)

    source = _source(topology, worker, slot, clock, journal)
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
        config=comparison_config(topology.broker, worker, slot),
        clock=clock,
        journal=journal,
        command=challenger,
    )
    schemas = Schemas(resolver, enricher.rebind, source, journal)
    board = board or board_of(worker, slot, clock)
    passed = Passed(at)
    publisher = Counted(
        _publisher(topology, worker, slot, clock, journal, passed), passed, worker, registry, clock
    )
    exports = _exports(topology, worker, instance, registry, journal, clock)
    recorder = _recorder(worker, enricher, registry, journal, clock, exports)
    registry.watch(publisher.samples)
    _watch(topology, worker, enricher, registry, journal, clock, board)
    model_slot = Slot(followers, enricher.serve, journal)
    pauses = Pauses(lambda: model_slot.pause, source, journal)
    asking = {
        **common(topology.broker, f"{worker.name}.{instance}.ends"),
        "logger": ClientLog(journal, clock),
    }
    ends = Ends(asking, worker.input.topic)
    loop = Loop(
        worker=worker,
        source=source,
        publisher=publisher,
        enrich=enrich if watchdog is None else guarded(watchdog),
        schemas=schemas,
        breaker=Breaker(worker.breaker, source, clock, journal),
        slot=model_slot,
        pauses=pauses,
        outgoing=Outgoing(worker, origin),
        shadow=shadow,
        order=_order(topology, worker, slot, source, clock, journal),
        clock=clock,
        journal=journal,
        recorder=recorder,
        reporter=Reporter(
            board,
            source.lag,
            Parts(
                assigned=lambda: source.assigned,
                ends=lambda: {**source.ends(), **ends.of(frozenset(source.stopped))},
                pauses=lambda: {**pauses.of(source.assigned), **source.pauses},
                counts=journal.totals,
                models=lambda: _model_views(worker, enricher),
                contracts=lambda: schemas.known,
                paused=lambda: pauses.why,
                close=ends.close,
                failed=lambda error: journal.error(Event.SNAPSHOT_FAILED, why=type(error).__name__),
            ),
            clock,
        ),
        at=at,
    )
    return Running(loop, journal, board, registry, shadow)


def _watch(  # noqa: PLR0913, PLR0917  it looks at all of them
    topology: Topology,
    worker: Worker,
    enricher: Enricher,
    registry: Registry,
    journal: Journal,
    clock: Clock,
    board: Board,
) -> None:
    """Have the numbers asked for that are as they are now."""
    properties = consumer_config(topology.broker, worker, 0)
    limit = float(properties.get("max.poll.interval.ms", POLL_LIMIT_MS)) / 1000

    def created() -> dict[str, int]:
        built = (serving.model.manifest.created for serving in enricher.servings)
        return {b: int(t.timestamp() * 1000) for b, t in zip(models_of(worker), built, strict=True)}

    registry.watch(lambda: of_counts(journal.counts))
    registry.watch(lambda: of_snapshot(board, clock, limit, created))
    registry.watch(of_process)


def _recorder(
    worker: Worker,
    enricher: Enricher,
    registry: Registry,
    journal: Journal,
    clock: Clock,
    exports: Exporting,
) -> Recorder:
    drifting = Drifting(worker.drift)
    registry.watch(drifting.samples)
    traces = Traces(worker, exports.tracing, clock)
    recorder = Recorder(
        worker=worker,
        registry=registry,
        journal=journal,
        clock=clock,
        drifting=drifting,
        traces=traces,
        exports=exports,
    )
    enricher.lap = recorder.lap
    return recorder


def _exports(
    topology: Topology,
    worker: Worker,
    instance: str,
    registry: Registry,
    journal: Journal,
    clock: Clock,
) -> Exporting:
    """What sends metrics and traces, where there is a collector.

    Raises:
        TopologyError: the extra `otlp` is not installed.
    """
    said = topology.telemetry
    headers = {name: value.get_secret_value() for name, value in said.headers.items()}
    env = environment("OTEL_")
    found = collector(said.endpoint, headers, said.interval, said.trace_ratio, env)
    if found.refused is not None:
        journal.warn(TelemetryEvent.UNWELL, why=found.refused)
    if found.metrics is None and found.traces is None:
        return NoExports()
    try:
        # Imported here: OpenTelemetry is an extra.
        from workers.telemetry.otlp import Exports
    except ImportError as error:
        raise TopologyError(f"sending telemetry needs the extra `otlp`: {error}") from error

    def note(event: TelemetryEvent, fields: Mapping[str, object]) -> None:
        tell = Journal.info if event is TelemetryEvent.RECOVERED else Journal.warn
        tell(journal, event, **fields)

    return Exports(found, Identity(worker.name, instance, __version__), registry, note, clock.now)


def board_of(worker: Worker, slot: int, clock: Clock) -> Board:
    """Where a process of a worker reports, before it does anything."""
    instance = f"{instance_name(worker)}.{slot}"
    return Board(first_snapshot(clock, build=__version__, worker=worker.name, instance=instance))


def _model_views(worker: Worker, enricher: Enricher) -> tuple[ModelView, ...]:
    return tuple(
        ModelView(
            block=block,
            name=ref.name,
            version=serving.model.manifest.version,
            alias=None if ref.version is not None else ref.alias,
            bypassed=serving.bypass,
            backend="compiled" if serving.model.compiled else "lightgbm",
            canary=None if serving.canary is None else serving.canary.model.manifest.version,
        )
        for (block, ref), serving in zip(models_of(worker).items(), enricher.servings, strict=True)
    )


def _order(
    topology: Topology, worker: Worker, slot: int, source: Source, clock: Clock, journal: Journal
) -> KeyOrder | None:
    """What keeps the order of keys, where the worker is to."""
    ledger = worker.dead_letter.ledger
    if worker.sequence is Sequencing.NONE or ledger is None:
        return None
    log = {"logger": ClientLog(journal, clock)}
    try:
        reader, asker = (
            Consumer({**tail_config(topology.broker, worker, slot, level), **log})
            for level in ("read_committed", "read_uncommitted")
        )
    except KafkaException as error:
        raise ClientHalt(f"the consumer refuses its properties: {error.args[0].str()}") from error
    letters = OpenLettersState(worker.known_as, worker.input.topic)
    tail = Tail(reader, asker, (worker.dead_letter.topic, ledger.topic))
    return KeyOrder(tail, letters, ledger.topic, source, clock)


def _origin(worker: Worker, instance: str) -> Origin:
    return Origin(
        topic=worker.dead_letter.topic,
        worker=worker.known_as,
        instance=instance,
        build=__version__,
        model=worker.model.name,
        limit=worker.dead_letter.max_message_bytes,
        seal=_seal(worker),
    )


def _seal(worker: Worker) -> Callable[[bytes, str], tuple[bytes, Header]] | None:
    """How values of dead letters are encrypted, where they are.

    Raises:
        ClientHalt: the key cannot be used.
        Retry: it cannot be had now.
    """
    settings = worker.dead_letter.encryption
    if settings is None:
        return None
    try:
        # Imported here: `cryptography` is an extra.
        from workers.stream.sealing import Sealer, keys_of
    except ImportError as error:
        raise TopologyError(
            f"workers.{worker.name}.dead_letter.encryption needs the extra `encryption`: {error}"
        ) from error
    try:
        return Sealer(keys_of(settings), settings.key_id).seal
    except Retry as unwell:
        raise ClientHalt(f"dead_letter.encryption: {unwell}") from unwell


def shadowing_of(  # noqa: PLR0913  every part is given, by keyword
    *,
    worker: Worker,
    store: Store,
    resolver: Resolver,
    champion: str,
    config: Config,
    clock: Clock,
    journal: Journal,
    command: Sequence[str],
) -> Shadowing | None:
    """The worker's shadow, where its topology has one."""
    if worker.shadow is None:
        return None
    name, counts = worker.model.name, ShadowCountsState()
    journal.counts.shadow = counts

    def prove(version: str) -> Challenger:
        bundle, contract = proven(store, name, version, resolver.catalogue, "challenger")
        return challenger_of(bundle, contract.schema)

    written = comparison_contract(resolver.catalogue, worker.shadow.subject)
    shadow = Shadow(
        settings=worker.shadow,
        champion=champion,
        find=lambda: store.aliases(name).challenger,
        prove=prove,
        recorder=ComparisonRecorder(written.frame),
        publisher=ComparisonProducer(config, worker.shadow.topic, counts, clock, journal),
        counts=counts,
        note=shadow_noted(journal),
        poll=worker.model.poll,
        command=command,
    )
    return Shadowing(worker.name, shadow)


def follower_of(
    store: Store, worker: Worker, ref: ModelRef, resolver: Resolver, began: Model, journal: Journal
) -> Follower:
    return Follower(
        store=store,
        name=ref.name,
        alias=ref.alias,
        began=began,
        load=lambda version: load_model(store, worker, ref, resolver.catalogue, version),
        poll=ref.poll,
        note=slot_noted(journal),
        worker=worker.name,
    )


def _source(
    topology: Topology, worker: Worker, slot: int, clock: Clock, journal: Journal
) -> Source:
    def answered(error: KafkaError | None, places: list[TopicPartition]) -> None:
        source.commits.answered(error, places)

    config = consumer_config(topology.broker, worker, slot)
    try:
        consumer = Consumer({**config, "logger": ClientLog(journal, clock), "on_commit": answered})
    except KafkaException as error:
        raise ClientHalt(f"the consumer refuses its properties: {error.args[0].str()}") from error
    source = Source(consumer, worker, clock, journal)
    return source


def build_replay(topology: Topology, worker: Worker) -> tuple[Publisher, Outgoing]:
    """What a replay of dead letters publishes with: transactions, under an id of replays alone.

    Nothing connects before `renew`.

    Raises:
        ClientHalt: the key of encrypted dead letters cannot be used.
    """
    clock = SystemClock()
    once = worker.model_copy(
        update={"delivery": Delivery.EXACTLY_ONCE, "instance": "dlq", "retries": Retries()}
    )
    journal = Journal(clock, worker=worker.name, instance="dlq")
    return _publisher(topology, once, 0, clock, journal, nowhere), Outgoing(
        once, _origin(once, "dlq.0")
    )


def _publisher(
    topology: Topology,
    worker: Worker,
    slot: int,
    clock: Clock,
    journal: Journal,
    at: Failpoint,
) -> Publisher:
    config = producer_config(topology.broker, worker, slot)
    if worker.delivery is Delivery.EXACTLY_ONCE:
        return TransactionalPublisher(config, clock, journal, at)
    return AcknowledgedPublisher(config, clock, journal, at)
