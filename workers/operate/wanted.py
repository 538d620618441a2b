"""What a topology wants of the cluster, before anything is known of the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from workers.contracts.directory import ContractDirectory
from workers.errors import ContractError, TopologyError
from workers.operate.steps import TopicSpec
from workers.topology import Gateway, Partitioning, TopicSettings, Worker, retention_settings

KAFKA_MAX_MESSAGE = 1_048_588
"""Kafka's default of `message.max.bytes`: 1 MiB and the overhead of a batch."""
OVERHEAD = 1024
"""Bytes of a batch beyond its records' keys, values and headers: 61 of the batch (Kafka protocol,
"Record Batch"), and varints of each record."""
BATCH_SIZE = 1_000_000
"""librdkafka's `batch.size`: a batch holds no more than this, unless one record does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A topic setting. `floor`: a larger value will do."""

    name: str
    value: str
    why: str
    floor: bool = False

    def holds(self, current: str | None) -> bool:
        """Is the topic's present value good enough?"""
        if current is None or not self.floor:
            return current == self.value
        return int(current) >= int(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedTopic:
    """A topic that a worker writes to. What is None follows the topic that the worker reads.

    `same`: records keep the input's partition number, so it needs as many partitions at least.
    """

    name: str
    role: str
    worker: str
    reads: str
    partitions: int | None
    replication_factor: int | None
    same: bool
    settings: tuple[Setting, ...]

    @property
    def target(self) -> str:
        """For steps."""
        return f"topic {self.name}"


def retentions(contracts: ContractDirectory | None) -> dict[str, str]:
    """What the subject.yaml files say of how long topics are kept, by topic.

    Raises:
        ContractError: one of them says what no topic can be set to.
    """
    found = {}
    for folder, about in (contracts.files if contracts else {}).items():
        if about.retention is None:
            continue
        try:
            retention_settings(about.retention)
        except ValueError as error:
            raise ContractError(f"{folder / 'subject.yaml'}: retention: {error}") from error
        found[about.topic] = about.retention
    return found


def wanted_topics(worker: Worker, kept: Mapping[str, str]) -> tuple[WantedTopic, ...]:
    """The topics that a worker writes to; `kept` are the retentions of subject.yaml by topic."""
    largest = max(worker.output.max_message_bytes, worker.dead_letter.max_message_bytes)
    batch = min(int(worker.producer.get("batch.size", BATCH_SIZE)), largest)

    def topic(role: str, name: str, settings: TopicSettings, limit: int) -> WantedTopic:
        return WantedTopic(
            name=name,
            role=role,
            worker=worker.name,
            reads=worker.input.topic,
            partitions=settings.partitions,
            replication_factor=settings.replication_factor,
            same=role == "output" and worker.output.partitioning is Partitioning.SAME,
            settings=(
                *_stated(settings, kept.get(name)),
                # A batch of small records is refused as one large record is.
                _message_bytes(role, max(limit, batch)),
            ),
        )

    output, letters = worker.output, worker.dead_letter
    found = [topic("output", output.topic, output.settings, output.max_message_bytes)]
    if worker.decisions is not None:
        decisions = worker.decisions
        found.append(topic("decisions", decisions.topic, decisions.settings, 0))
    if worker.shadow is not None:
        found.append(topic("comparison", worker.shadow.topic, worker.shadow.settings, 0))
    if (later := worker.retry_topic) is not None:
        found.append(topic("retry", later.topic, later.settings, letters.max_message_bytes))
    if letters.ledger is not None:
        found.append(topic("ledger", letters.ledger.topic, letters.ledger.settings, 0))
    found.append(topic("dead letter", letters.topic, letters.settings, letters.max_message_bytes))
    return tuple(found)


def keys_topic(gateway: Gateway | None, worker: Worker) -> tuple[WantedTopic, ...]:
    """Where the gateway that serves this worker keeps keys of requests, if it does."""
    if gateway is None or gateway.idempotency is None or worker.gateway is None:
        return ()
    wanted = gateway.idempotency
    kept = str(int((wanted.window + wanted.claim) * 1000))
    why = "a key is remembered for gateway.idempotency.window, claims and answers of it both"
    settings = {setting.name: setting for setting in _stated(wanted.settings, None)}
    settings.setdefault("cleanup.policy", Setting(name="cleanup.policy", value="delete", why=why))
    settings.setdefault("retention.ms", Setting(name="retention.ms", value=kept, why=why))
    return (
        WantedTopic(
            name=wanted.topic,
            role="keys of requests",
            worker=worker.name,
            reads=worker.input.topic,
            partitions=wanted.settings.partitions,
            replication_factor=wanted.settings.replication_factor,
            same=False,
            settings=(*settings.values(), _message_bytes("request keys", BATCH_SIZE)),
        ),
    )


def _stated(settings: TopicSettings, kept: str | None) -> list[Setting]:
    found = []
    if settings.min_insync_replicas is not None:
        needed = str(settings.min_insync_replicas)
        found.append(Setting(name="min.insync.replicas", value=needed, why="the topology says so"))
    where = "the topology says so" if settings.retention else "its subject.yaml says so"
    retention = settings.retention or kept
    if retention is not None:
        found += [
            Setting(name=name, value=value, why=where)
            for name, value in retention_settings(retention).items()
        ]
    return found


def _message_bytes(role: str, largest: int) -> Setting:
    why = f"a batch of the worker's {role} records may have {largest} bytes, and its overhead"
    value = str(largest + OVERHEAD)
    return Setting(name="max.message.bytes", value=value, why=why, floor=True)


def merged(topics: Iterable[WantedTopic]) -> tuple[WantedTopic, ...]:
    """One entry a topic: workers may share a dead-letter topic.

    Raises:
        TopologyError: two workers state different things of one topic.
    """
    found: dict[str, WantedTopic] = {}
    for topic in topics:
        other = found.get(topic.name)
        found[topic.name] = topic if other is None else _one(other, topic)
    return tuple(found.values())


def _one(first: WantedTopic, second: WantedTopic) -> WantedTopic:
    settings = {setting.name: setting for setting in first.settings}
    for setting in second.settings:
        other = settings.setdefault(setting.name, setting)
        if setting.floor and int(setting.value) > int(other.value):
            settings[setting.name] = setting
        elif not setting.floor and setting.value != other.value:
            raise _conflict(first, second, setting.name)
    stated: dict[str, int | None] = {}
    for name in ("partitions", "replication_factor"):
        values = {getattr(first, name), getattr(second, name)} - {None}
        if len(values) > 1:
            raise _conflict(first, second, name)
        stated[name] = next(iter(values), None)
    return replace(
        first,
        settings=tuple(settings.values()),
        partitions=stated["partitions"],
        replication_factor=stated["replication_factor"],
        same=first.same or second.same,
    )


def _conflict(first: WantedTopic, second: WantedTopic, name: str) -> TopologyError:
    return TopologyError(
        f"workers {first.worker} and {second.worker} both write to {first.name} and state "
        f"different values of {name}; state one"
    )


def spec(topic: WantedTopic, partitions: int, replication_factor: int) -> TopicSpec:
    """The topic as it is made, once it is known what the input has."""
    copies = topic.replication_factor or replication_factor
    settings = {setting.name: setting for setting in derived(topic, copies)}
    largest = settings["max.message.bytes"]
    made = {name: setting.value for name, setting in settings.items()}
    # Never less than what Kafka gives every topic: the setting is a floor.
    made["max.message.bytes"] = str(max(int(largest.value), KAFKA_MAX_MESSAGE))
    return TopicSpec(
        name=topic.name,
        partitions=topic.partitions or partitions,
        replication_factor=copies,
        settings=dict(sorted(made.items())),
    )


def derived(topic: WantedTopic, copies: int) -> tuple[Setting, ...]:
    """The topic's settings, with those that follow from the number of its copies."""
    if copies < 3 or any(setting.name == "min.insync.replicas" for setting in topic.settings):
        return topic.settings
    why = f"an acknowledged record is to survive the loss of one of its {copies} copies"
    safe = Setting(name="min.insync.replicas", value="2", why=why, floor=True)
    return (*topic.settings, safe)
