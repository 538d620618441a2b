"""The one place where parts are put together: files, clients, the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from workers.models.shadow.comparison import Recorder
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
from workers.stream.journal import ClientLog, Journal
from workers.stream.loop import Loop
from workers.stream.openletters import OpenLettersState
from workers.stream.outgoing import Outgoing
from workers.stream.publish import (
    AcknowledgedPublisher,
    Failpoint,
    Publisher,
    TransactionalPublisher,
    nowhere,
)
from workers.stream.ranges import RangeReader
from workers.stream.retries import Enrich, as_first_came
from workers.stream.schemas import Schemas, noted
from workers.stream.sequence import KeyOrder
from workers.stream.shadowing import ComparisonProducer, Shadowing
from workers.stream.shadowing import noted as shadow_noted
from workers.stream.slot import Slot
from workers.stream.slot import noted as slot_noted
from workers.stream.source import Source
from workers.stream.tail import Tail
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
    user_folder,
)


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
    try:
        enricher = _enricher(topology, worker, resolver.catalogue)
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
) -> Running:
    """The loop of one process; nothing connects before it runs.

    `challenger` starts the process of the worker's shadow, where it has one. With `watchdog` the
    process is the worker's own: what it does is noted, so that a record which ends it is found.

    Raises:
        Halt: a client refuses its configuration.
    """
    clock = clock or SystemClock()
    instance = f"{instance_name(worker)}.{slot}"
    journal = Journal(clock, worker=worker.name, instance=instance)
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
        _follower(store, worker, ref, resolver, serving.model, journal)
        for ref, serving in zip(models_of(worker).values(), enricher.servings, strict=True)
    ]
    shadow = _shadow(
        worker=worker,
        store=store,
        resolver=resolver,
        champion=enricher.model.manifest.version,
        config=comparison_config(topology.broker, worker, slot),
        clock=clock,
        journal=journal,
        command=challenger,
    )
    loop = Loop(
        worker=worker,
        source=source,
        publisher=_publisher(topology, worker, slot, clock, journal, at),
        enrich=enrich if watchdog is None else guarded(watchdog),
        schemas=Schemas(resolver, enricher.rebind, source, journal),
        breaker=Breaker(worker.breaker, source, clock, journal),
        slot=Slot(followers, enricher.serve, journal),
        outgoing=Outgoing(worker, origin),
        shadow=shadow,
        order=_order(topology, worker, slot, source, clock, journal),
        clock=clock,
        journal=journal,
        at=at,
    )
    return Running(loop, journal, shadow)


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


def _shadow(  # noqa: PLR0913  every part is given, by keyword
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
        recorder=Recorder(written.frame),
        publisher=ComparisonProducer(config, worker.shadow.topic, counts, clock, journal),
        counts=counts,
        note=shadow_noted(journal),
        poll=worker.model.poll,
        command=command,
    )
    return Shadowing(worker.name, shadow)


def _follower(
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
