"""Asks a cluster what it has. Reads only: nothing here creates or changes anything."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ConsumerGroupType,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)

from workers.errors import BrokerUnreachable, ClientHalt, Halt
from workers.operate.acls import Resource, SeenAcl
from workers.operate.refusal import Lines, RefusalState
from workers.operate.seen import Seen, SeenGroup, SeenTopic
from workers.stream.clients import Config, common
from workers.stream.clock import Clock, SystemClock
from workers.stream.failures import CODES, translate, translated
from workers.stream.journal import ClientLog, Journal
from workers.topology import Broker, Worker

TIMEOUT = 30.0
"""Seconds for one question."""
ASKING = 1.0
"""Seconds that the first question has, while we connect."""
TRIES = 20
_ABSENT = frozenset({"GROUP_ID_NOT_FOUND", "INVALID_GROUP_ID"})
_RESOURCES = {
    "TOPIC": Resource.TOPIC,
    "GROUP": Resource.GROUP,
    "TRANSACTIONAL_ID": Resource.TRANSACTIONAL_ID,
    "BROKER": Resource.CLUSTER,
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A connection, and what the cluster said of itself when it was made."""

    admin: AdminClient
    metadata: ClusterMetadata


def connect(broker: Broker, name: str, log: Lines | None = None) -> Cluster:
    """An admin client that a broker has answered; `name` is the client's.

    `log` takes the client's own lines; by default they are logged.

    Raises:
        BrokerUnreachable: no broker answered within `broker.connect_timeout`.
        Halt: the broker refuses us, or we it; the client refuses its properties.
    """
    clock = SystemClock()
    refusal = RefusalState(clock, log or ClientLog(Journal(clock, worker=name), clock))
    config: Config = {
        **common(broker, name),
        "logger": refusal,
        "error_cb": refusal.take,
    }
    with translated("making a client of broker.security and broker.client"):
        admin = AdminClient(config)
    return Cluster(admin, _metadata(admin, broker, refusal, clock))


def _metadata(
    admin: AdminClient, broker: Broker, refusal: RefusalState, clock: Clock
) -> ClusterMetadata:
    """Asks again and again, because a refusal is told apart from silence only beside the answer."""
    where = broker.bootstrap_servers
    deadline, asking = clock.monotonic() + broker.connect_timeout, ASKING
    while True:
        left = deadline - clock.monotonic()
        try:
            # The whole list: asking for one topic may create it on a broker that allows that.
            return admin.list_topics(timeout=max(0.1, min(asking, left)))
        except KafkaException as error:
            meant = translate(error.args[0], f"connecting to {where}")
            if isinstance(meant, Halt):
                raise meant from error
            admin.poll(0)
            # An answer may be slow in coming: it gets more time with each question.
            asking *= 2
            if refusal.final:
                raise _refused(broker, refusal) from error
            if clock.monotonic() >= deadline:
                raise _silence(broker, refusal) from error


def _refused(broker: Broker, refusal: RefusalState) -> Halt:
    text = f"{broker.bootstrap_servers}: {refusal.why(broker)}"
    # Without a token nobody was asked, and the token server may be well again.
    return BrokerUnreachable(text) if refusal.no_token else ClientHalt(text)


def _silence(broker: Broker, refusal: RefusalState) -> Halt:
    if refusal.said:
        return _refused(broker, refusal)
    guess = f": are we {refusal.guess}?" if refusal.guess else ""
    tokens = ", and the token server" if broker.security.tokens else ""
    return BrokerUnreachable(
        f"no broker answered at {broker.bootstrap_servers} within {broker.connect_timeout:g} s; "
        f"check broker.bootstrap_servers and broker.security{guess}{tokens}"
    )


def look(cluster: Cluster, workers: Iterable[Worker], topics: Iterable[str]) -> Seen:
    """What the cluster has of what the workers need.

    What we may not read, or the broker cannot tell, is named in `unread`.
    """
    return _Look(cluster).seen(tuple(workers), tuple(topics))


class _Look:
    def __init__(self, cluster: Cluster) -> None:
        self._admin = cluster.admin
        self._metadata = cluster.metadata
        self._unread: list[str] = []

    def seen(self, workers: tuple[Worker, ...], topics: tuple[str, ...]) -> Seen:
        found = {name: self._topic(name) for name in topics if name in self._metadata.topics}
        settings = self._broker()
        authorizer, acls = self._acls(settings)
        groups = {worker.group: self._group(worker) for worker in workers}
        return Seen(
            brokers=len(self._metadata.brokers),
            topics=found,
            settings=settings,
            groups={name: group for name, group in groups.items() if group is not None},
            authorizer=authorizer,
            acls=acls,
            unread=tuple(self._unread),
        )

    def _answer(self, ask: Callable[[], Future[Any]], what: str) -> Any | None:
        """The answer; None, and a line of `unread`, where there is none to be had.

        Asks again while a group's coordinator is being found: on a new cluster the first question
        about a group makes it.
        """
        name = ""
        for _ in range(TRIES):
            try:
                return ask().result(TIMEOUT)
            except KafkaException as error:
                name = CODES.get(error.args[0].code(), str(error.args[0].code()))
            if "COORDINATOR" not in name:
                break
            threading.Event().wait(0.25)
        if name not in _ABSENT:
            self._unread.append(f"{what}: {name}")
        return None

    def _topic(self, name: str) -> SeenTopic:
        partitions = self._metadata.topics[name].partitions
        return SeenTopic(
            partitions=len(partitions),
            replication_factor=min((len(p.replicas) for p in partitions.values()), default=0),
            settings=self._settings(ResourceType.TOPIC, name, f"settings of topic {name}"),
        )

    def _broker(self) -> Mapping[str, str]:
        number = next(iter(self._metadata.brokers), None)
        if number is None:
            return {}
        what = f"settings of broker {number}"
        return self._settings(ResourceType.BROKER, str(number), what) or {}

    def _settings(self, kind: ResourceType, name: str, what: str) -> Mapping[str, str] | None:
        resource = ConfigResource(kind, name)

        def ask() -> Future[Any]:
            return self._admin.describe_configs([resource], request_timeout=TIMEOUT)[resource]

        found = self._answer(ask, what)
        if not found:
            return None
        return {key: entry.value for key, entry in found.items() if entry.value is not None}

    def _acls(self, settings: Mapping[str, str]) -> tuple[bool | None, tuple[SeenAcl, ...] | None]:
        """Is there an authorizer, if that is known; and its ACLs, if we may read them.

        The client gives an empty list, and no error, where the broker refuses the question or has
        no authorizer (seen with librdkafka 2.16.0 on Kafka 4.1.1): both are asked otherwise.
        """
        authorizer = settings.get("authorizer.class.name")
        if authorizer == "":
            return False, None
        cluster = self._answer(
            lambda: self._admin.describe_cluster(
                include_authorized_operations=True, request_timeout=TIMEOUT
            ),
            "the cluster",
        )
        allowed = (cluster.authorized_operations if cluster else None) or ()
        if AclOperation.DESCRIBE not in allowed:
            self._unread.append("ACLs: Describe on the cluster is not allowed")
            return None, None
        found = self._answer(
            lambda: self._admin.describe_acls(_every_acl(), request_timeout=TIMEOUT), "ACLs"
        )
        if not found and authorizer is None:
            self._unread.append("ACLs: there are none, or there is no authorizer")
            return None, None
        return True, None if found is None else tuple(_acl(binding) for binding in found)

    def _group(self, worker: Worker) -> SeenGroup | None:
        name = worker.group
        found = self._answer(
            lambda: self._admin.describe_consumer_groups([name], request_timeout=TIMEOUT)[name],
            f"consumer group {name}",
        )
        if found is None or found.state is ConsumerGroupState.DEAD:
            return None
        consumer = found.type is ConsumerGroupType.CONSUMER
        return SeenGroup(
            protocol="consumer" if consumer else "classic",
            members=len(found.members),
            assignor=found.partition_assignor or "",
            overtaken=self._overtaken(name, worker.input.topic),
        )

    def _overtaken(self, group: str, topic: str) -> dict[int, int]:
        """Records that retention removed before the group read them, by partition."""
        if topic not in self._metadata.topics:
            return {}
        places = [
            TopicPartition(topic, number) for number in self._metadata.topics[topic].partitions
        ]
        question = ConsumerGroupTopicPartitions(group, places)
        found = self._answer(
            lambda: self._admin.list_consumer_group_offsets([question])[group],
            f"offsets of group {group}",
        )
        lost = {}
        for place in (found.topic_partitions or ()) if found else ():
            begins = self._begin(TopicPartition(topic, place.partition))
            if begins is not None and 0 <= place.offset < begins:
                lost[place.partition] = begins - place.offset
        return lost

    def _begin(self, place: TopicPartition) -> int | None:
        earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
        found = self._answer(
            lambda: self._admin.list_offsets({place: earliest})[place],
            f"offsets of topic {place.topic}",
        )
        return None if found is None else int(found.offset)


def _every_acl() -> AclBindingFilter:
    return AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]  # any name; the client's annotations forget it
        ResourcePatternType.ANY,
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )


def _acl(binding: Any) -> SeenAcl:
    return SeenAcl(
        resource=_RESOURCES.get(binding.restype.name),
        name=binding.name,
        prefixed=binding.resource_pattern_type is ResourcePatternType.PREFIXED,
        operation="".join(word.capitalize() for word in binding.operation.name.split("_")),
        allows=binding.permission_type is AclPermissionType.ALLOW,
        principal=binding.principal,
        host=binding.host,
    )
