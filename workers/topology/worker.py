"""One worker: what it reads, how it scores, where it writes, what it does when things go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from workers.topology.deciding import (
    Block,
    BlockName,
    Exploration,
    Latency,
    ModelRef,
    OnModelFailure,
    RuleSet,
)
from workers.topology.encryption import Encryption
from workers.topology.gateway import WorkerGateway
from workers.topology.names import InstanceName, Subject, TopicName
from workers.topology.quality import Drift, Staleness
from workers.topology.retries import Retries, RetryTopic, Tier
from workers.topology.rules import check_free_properties
from workers.topology.security import Part, Properties
from workers.topology.shadow import ShadowTopic
from workers.topology.shapes import Mode, Shape, WholeBlock, with_input_subject
from workers.topology.units import Duration, Size
from workers.topology.wanted import TopicSettings

BLOCK = "enrichment"
"""The block of `model`."""


class Delivery(StrEnum):
    """What downstream may rely on."""

    EXACTLY_ONCE = "exactly_once"
    AT_LEAST_ONCE = "at_least_once"


class Protocol(StrEnum):
    """Consumer group protocol: `consumer` is KIP-848."""

    CLASSIC = "classic"
    CONSUMER = "consumer"


class FirstStart(StrEnum):
    """Where a group that never committed begins."""

    EARLIEST = "earliest"
    LATEST = "latest"
    FAIL = "fail"


class Tombstones(StrEnum):
    """What to do with a record that has no value."""

    FORWARD = "forward"
    DEAD_LETTER = "dead_letter"
    DROP = "drop"


class Unframed(StrEnum):
    """What to do with bytes that name no schema."""

    DEAD_LETTER = "dead_letter"
    DROP = "drop"


class HeaderPolicy(StrEnum):
    """Do the input's headers pass to the output?"""

    KEEP = "pass"
    DROP = "drop"


class Partitioning(StrEnum):
    """Partition of an enriched event: by its key (murmur2, as Java), or the input's number."""

    KEY = "key"
    SAME = "same"


class Sequencing(StrEnum):
    """Is the order of a key kept where one of its records fails?"""

    NONE = "none"
    KEY = "key"


class InputTopic(Part):
    """What the worker reads."""

    topic: TopicName = Field(description="Topic that is read.")
    subject: Subject = Field(default="", description="Contract; default `<topic>-value`.")


class OutputTopic(Part):
    """Where enriched events go."""

    topic: TopicName = Field(description="Topic of the enriched events.")
    subject: Subject = Field(
        default="",
        description="Contract; default `<topic>-value`, and the input's with `shape: headers`.",
    )
    shape: Shape = Field(
        default=Shape.DERIVED,
        description="`derived`: the event's bytes and the blocks, under a contract of their own. "
        "`headers`: the record as it was, key, value, headers and timestamp, with the blocks in "
        "headers behind its own.",
    )
    block: WholeBlock = Field(
        default=WholeBlock.JSON,
        description="With `shape: headers`, what the header `<block>.block` holds: the block as "
        "JSON, or as Avro as in the decisions topic.",
    )
    max_message_bytes: Size = Field(
        default=1_000_000, description="The topic's max.message.bytes, less its overhead."
    )
    partitioning: Partitioning = Field(
        default=Partitioning.KEY, description="How a partition is chosen; both keep order per key."
    )
    settings: TopicSettings = Field(
        default_factory=TopicSettings, description="What the topic should have."
    )


class LedgerTopic(Part):
    """What was done about dead letters."""

    topic: TopicName = Field(description="Topic of the ledger; kept as long as the dead letters.")
    settings: TopicSettings = Field(
        default_factory=TopicSettings, description="What the topic should have."
    )


class DeadLetterTopic(Part):
    """Where records go that could not be enriched."""

    topic: TopicName = Field(description="Topic of the dead letters.")
    max_message_bytes: Size = Field(
        default=1_000_000, description="The topic's max.message.bytes, less its overhead."
    )
    settings: TopicSettings = Field(
        default_factory=TopicSettings, description="What the topic should have."
    )
    ledger: LedgerTopic | None = Field(
        default=None, description="Where `workers dlq replay | resolve` write what they did."
    )
    encryption: Encryption | None = Field(
        default=None, description="Encrypt values; needs the extra `encryption`."
    )


class EventKey(StrEnum):
    """Does a decision record repeat the event's key in its value?"""

    KEEP = "keep"
    OMIT = "omit"


class DecisionsTopic(Part):
    """The decision log: what was decided, and what is needed to learn from it."""

    topic: TopicName = Field(description="Topic of the decisions.")
    subject: Subject = Field(default="", description="Contract; default `<topic>-value`.")
    features: Literal["all", "none"] | tuple[str, ...] = Field(
        default="all",
        description="Features whose values are logged: all but those that read a field which the "
        "contract tags as sensitive, none, or a list of names, which then go whatever they read.",
    )
    sample: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description="Part of the decisions that is written, chosen by key: all of a key, or none.",
    )
    event_key: EventKey = Field(
        default=EventKey.KEEP, description="Repeat the event's key in the record."
    )
    settings: TopicSettings = Field(
        default_factory=TopicSettings, description="What the topic should have."
    )


class BatchSettings(Part):
    """How large a batch grows, and how long it waits."""

    max_records: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=4000, description="Records at most."
    )
    max_bytes: Size = Field(default=8 * 1024**2, description="Bytes of values at most.")
    linger: Duration = Field(
        default=0.02, description="How long a batch waits for records: the batching delay."
    )

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if not 0.001 <= self.linger <= 10:
            raise ValueError("linger must be from 1ms to 10s")
        return self


class Limits(Part):
    """What a decoder may be given."""

    max_payload_bytes: Size = Field(default=1024**2, description="A larger value is refused.")
    max_nesting: Annotated[int, Field(ge=1, le=64)] = Field(
        default=32, description="Levels of a schema."
    )
    max_fields: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=5000, description="Fields of a schema, all levels."
    )


class Queues(Part):
    """Bounds on what the clients hold in memory."""

    consumer_messages: Annotated[int, Field(ge=1)] = Field(
        default=20_000, description="Records fetched ahead, a partition."
    )
    consumer_bytes: Size = Field(default=16 * 1024**2, description="Fetched ahead, in all.")
    producer_messages: Annotated[int, Field(ge=1)] = Field(
        default=50_000, description="Records waiting to be sent."
    )
    producer_bytes: Size = Field(default=64 * 1024**2, description="Waiting to be sent.")


class BreakerSettings(Part):
    """When dead letters of a partition are too many, it is held and tried again with a few."""

    consecutive: Annotated[int, Field(ge=1)] = Field(
        default=500, description="Dead letters in a row with one verdict and code."
    )
    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.5, description="Part of the last `window` records."
    )
    window: Annotated[int, Field(ge=10, le=100_000)] = Field(
        default=1000, description="Records that `share` is of."
    )
    per_minute: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Dead letters of a partition in a minute."
    )
    again: Duration = Field(default=30.0, description="How long it is held before a probe.")
    probe: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=10,
        description="Records of a probe; when at most `share` of them fail it goes on.",
    )


class Backoff(Part):
    """Waiting between tries while a dependency is unwell; doubled each time, with jitter."""

    initial: Duration = Field(default=0.2, description="The first wait.")
    max: Duration = Field(default=10.0, description="The longest wait.")


class Worker(Part):
    """A worker."""

    name: str = Field(default="", description="Set from the key; do not write it.")
    mode: Mode = Field(
        default=Mode.PIPELINE,
        description="`sidecar`: the input is a system's that must not notice; what could disturb "
        "it is refused, and `workers sidecar check` proves the rest.",
    )
    input: InputTopic = Field(description="What is read.")
    output: OutputTopic = Field(description="Where enriched events go.")
    dead_letter: DeadLetterTopic = Field(description="Where the others go.")
    decisions: DecisionsTopic | None = Field(default=None, description="The decisions, alone.")
    model: ModelRef = Field(description="What scores.")
    rules: RuleSet = Field(default_factory=RuleSet, description="Rules beside the model.")
    blocks: dict[BlockName, Block] = Field(
        default_factory=dict, description="More models, by the name of their block in the output."
    )
    exploration: Exploration | None = Field(
        default=None,
        description="Let chance decide for a small part, to learn what else was right.",
    )
    latency: Latency | None = Field(default=None, description="How long a batch may take.")
    shadow: ShadowTopic | None = Field(
        default=None, description="A challenger beside the champion, compared and not published."
    )
    drift: Drift | None = Field(
        default_factory=Drift,
        description="Comparing features and scores with the model's reference; `null`: not.",
    )
    staleness: Staleness | None = Field(
        default=None, description="A limit on the age of events, and what becomes of older ones."
    )
    gateway: WorkerGateway | None = Field(
        default=None, description="Serve this worker by HTTP as well: `workers serve`."
    )
    group: TopicName = Field(default="", description="Consumer group; default: the name.")
    protocol: Protocol = Field(default=Protocol.CLASSIC, description="Group protocol.")
    delivery: Delivery = Field(default=Delivery.EXACTLY_ONCE, description="The guarantee.")
    instance: InstanceName = Field(
        default="", description="Which replica this is; default: the host's name."
    )
    static_membership: bool = Field(
        default=False, description="Keep partitions over a restart: group.instance.id = instance."
    )
    principal: Annotated[str, Field(pattern=r"^([A-Za-z]+:.+)?$")] = Field(
        default="",
        description="Whose ACLs `workers plan` looks for; default: `User:` and the SASL user name, "
        "else the worker's name.",
    )
    replicas: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None,
        description="Processes that are to run, on all hosts together; held against the input's "
        "partitions.",
    )
    transactional_id: str = Field(default="", description="Prefix; default: the worker's name.")
    transaction_timeout: Duration = Field(
        default=40.0, description="When the broker ends an open transaction of a dead worker."
    )
    batch: BatchSettings = Field(default_factory=BatchSettings, description="Batching.")
    first_start: FirstStart = Field(description="Where a new group begins. No default.")
    on_model_failure: OnModelFailure = Field(
        default=OnModelFailure.FALLBACK, description="When the model fails."
    )
    tombstones: Tombstones = Field(default=Tombstones.FORWARD, description="Records without value.")
    unframed: Unframed = Field(
        default=Unframed.DEAD_LETTER, description="Bytes that name no schema."
    )
    limits: Limits = Field(default_factory=Limits, description="What decoders may be given.")
    breaker: BreakerSettings | None = Field(
        default_factory=BreakerSettings,
        description="Hold a partition with too many dead letters; `null`: never.",
    )
    retries: Retries = Field(
        default_factory=Retries, description="Trying again what may pass by itself."
    )
    tier: SkipJsonSchema[Tier | None] = None
    sequence: Sequencing = Field(
        default=Sequencing.NONE,
        description="`key`: after a dead letter later records of its key are parked behind it, as "
        "dead letters, until it is replayed or resolved; needs `dead_letter.ledger`.",
    )
    watchdog: Duration = Field(
        default=60.0, description="A batch that takes longer to enrich ends its process."
    )
    queues: Queues = Field(default_factory=Queues, description="Memory of the clients.")
    headers: HeaderPolicy = Field(default=HeaderPolicy.KEEP, description="Input headers.")
    drain_timeout: Duration = Field(default=20.0, description="Time to finish on SIGTERM.")
    retry: Backoff = Field(default_factory=Backoff, description="While something is unwell.")
    stopped_partition_retry: Duration = Field(
        default=30.0, description="When a stopped partition is tried again."
    )
    score_threads: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="Threads of a prediction."
    )
    consumer: Properties = Field(default_factory=dict, description="More librdkafka properties.")
    producer: Properties = Field(default_factory=dict, description="More librdkafka properties.")

    @property
    def known_as(self) -> str:
        """Whose records these are: its own name, or of the worker that it retries for."""
        return self.name if self.tier is None else self.tier.worker

    @property
    def retry_topic(self) -> RetryTopic | None:
        """Where records go that may pass later."""
        return self.retries.topics[0] if self.retries.topics else None

    @property
    def written(self) -> dict[str, str]:
        """The topics that it writes, by role."""
        parts = {
            "output": self.output,
            "dead_letter": self.dead_letter,
            "decisions": self.decisions,
            "shadow": self.shadow,
            "dead_letter.ledger": self.dead_letter.ledger,
        }
        found = {role: part.topic for role, part in parts.items() if part is not None}
        for number, retry in enumerate(self.retries.topics, start=1):
            found[f"retry topic {number}"] = retry.topic
        return found

    @model_validator(mode="before")
    @classmethod
    def _subjects(cls, data: Any) -> Any:
        """Subjects follow the topic (TopicNameStrategy) unless they are given."""
        if not isinstance(data, dict):
            return data
        filled = with_input_subject(data)
        for key in ("input", "output", "decisions", "shadow"):
            part = filled.get(key)
            if isinstance(part, dict) and isinstance(part.get("topic"), str):
                filled[key] = {"subject": f"{part['topic']}-value", **part}
        return filled

    @model_validator(mode="after")
    def _topics_differ(self) -> Self:
        named = {"input": self.input.topic, **self.written}
        seen: dict[str, str] = {}
        for role, topic in named.items():
            if topic in seen:
                raise ValueError(
                    f"{role} and {seen[topic]} are both {topic}: the worker would read or mix its "
                    "own records; give each its own topic"
                )
            seen[topic] = role
        return self

    @model_validator(mode="after")
    def _deciding(self) -> Self:
        if BLOCK in self.blocks:
            raise ValueError(f"blocks: {BLOCK} is the block of `model`; give this one another name")
        if self.gateway is not None and self.decisions is None:
            raise ValueError("gateway: every decision is logged; say where, in `decisions`")
        if self.latency is not None and self.batch.linger > self.latency.wait:
            raise ValueError("batch.linger is longer than latency.wait: each batch would break it")
        return self

    @model_validator(mode="after")
    def _beside(self) -> Self:
        for fault in (*_unlike_headers(self), *_own_subjects(self)):
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _in_sequence(self) -> Self:
        if self.sequence is Sequencing.NONE:
            return self
        if self.dead_letter.ledger is None:
            raise ValueError(
                "sequence: key needs dead_letter.ledger: without it nothing would ever say that "
                "a key may go on"
            )
        if self.retries.topics or self.tier is not None:
            raise ValueError(
                "sequence: key keeps the order of a key and retries.topics give it up; choose one"
            )
        return self

    @model_validator(mode="after")
    def _properties_are_free(self) -> Self:
        classic = self.protocol is Protocol.CLASSIC
        check_free_properties("consumer", self.consumer, kip848=not classic)
        check_free_properties("producer", self.producer, kip848=False)
        if self.transaction_timeout > 900:
            raise ValueError("transaction_timeout is over 15m, the broker's default maximum")
        return self


def _unlike_headers(worker: Worker) -> Iterator[str]:
    """What cannot be said together with `shape: headers`."""
    if worker.output.shape is not Shape.HEADERS:
        return
    if worker.output.subject != worker.input.subject:
        yield (
            "output.shape is headers: values are the input's, so output.subject is "
            f"{worker.input.subject}; leave it out"
        )
    if worker.headers is HeaderPolicy.DROP:
        yield "output.shape is headers: the input's headers pass untouched; leave out headers: drop"
    if worker.output.block is WholeBlock.AVRO and worker.decisions is None:
        yield (
            "output.block is avro: it is the decision record, under its contract; write `decisions`"
        )


def _own_subjects(worker: Worker) -> Iterator[str]:
    """Contracts of the source that a sidecar would have to change."""
    if worker.mode is not Mode.SIDECAR:
        return
    derived = worker.output if worker.output.shape is Shape.DERIVED else None
    parts = {"output": derived, "decisions": worker.decisions, "shadow": worker.shadow}
    for role, part in parts.items():
        if part is not None and part.subject == worker.input.subject:
            yield (
                f"{role}.subject is the source's: a sidecar changes no contract of the system that "
                "it stands beside"
            )
