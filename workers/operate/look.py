"""Asks a cluster what it has. Reads only: nothing here creates or changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
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

from workers.errors import BrokerUnreachable, Halt
from workers.operate.acls import Resource, SeenAcl
from workers.operate.seen import Seen, SeenGroup, SeenTopic
from workers.stream.clients import Config, common
from workers.stream.clock import SystemClock
from workers.stream.failures import CODES, translate
from workers.stream.journal import ClientLog, Journal
from workers.topology import Broker, Worker

TIMEOUT = 30.0
"""Seconds for one question."""
_ABSENT = frozenset({"GROUP_ID_NOT_FOUND", "INVALID_GROUP_ID"})
_RESOURCES = {
    "TOPIC": Resource.TOPIC,
    "GROUP": Resource.GROUP,
    "TRANSACTIONAL_ID": Resource.TRANSACTIONAL_ID,
    "BROKER": Resource.CLUSTER,
}


def connect(broker: Broker, name: str) -> tuple[AdminClient, ClusterMetadata]:
    """An admin client and what the cluster says of itself; `name` is the client's.

    Raises:
        BrokerUnreachable: no broker answered within `broker.connect_timeout`.
        Halt: the broker refuses us.
    """
    clock = SystemClock()
    log = ClientLog(Journal(clock, worker=name), clock)
    try:
        config: Config = {**common(broker, name), "logger": log}
        admin = AdminClient(config)
        # The whole list: asking for one topic may create it on a broker that allows that.
        return admin, admin.list_topics(timeout=broker.connect_timeout)
    except KafkaException as error:
        meant = translate(error.args[0], f"connecting to {broker.bootstrap_servers}")
        if isinstance(meant, Halt):
            raise meant from error
        raise BrokerUnreachable(
            f"no broker answered at {broker.bootstrap_servers} within "
            f"{broker.connect_timeout:g} s; check broker.bootstrap_servers and broker.security"
        ) from error


def look(
    admin: AdminClient, metadata: ClusterMetadata, workers: Iterable[Worker], topics: Iterable[str]
) -> Seen:
    """What the cluster has of what the workers need.

    What we may not read, or the broker cannot tell, is named in `unread`.
    """
    return _Look(admin, metadata).seen(tuple(workers), tuple(topics))


class _Look:
    def __init__(self, admin: AdminClient, metadata: ClusterMetadata) -> None:
        self._admin = admin
        self._metadata = metadata
        self._unread: list[str] = []

    def seen(self, workers: tuple[Worker, ...], topics: tuple[str, ...]) -> Seen:
        found = {name: self._topic(name) for name in topics if name in self._metadata.topics}
        settings = self._broker()
        authorizer, acls = self._acls()
        groups = dict(self._groups(workers))
        return Seen(
            brokers=len(self._metadata.brokers),
            topics=found,
            settings=settings,
            groups=groups,
            authorizer=authorizer,
            acls=acls,
            unread=tuple(self._unread),
        )

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
        asked = self._admin.describe_configs([resource], request_timeout=TIMEOUT)
        found = self._answer(asked[resource], what)
        if found is None:
            return None
        return {key: entry.value for key, entry in found.items() if entry.value is not None}

    def _answer(self, future: Future[Any], what: str) -> Any | None:
        """The answer; None, and a line of `unread`, where there is none to be had."""
        try:
            return future.result(TIMEOUT)
        except KafkaException as error:
            name = CODES.get(error.args[0].code(), str(error.args[0].code()))
            if name not in _ABSENT:
                self._unread.append(f"{what}: {name}")
            return None

    def _acls(self) -> tuple[bool | None, tuple[SeenAcl, ...] | None]:
        """Is there an authorizer, if that is known; and its ACLs, if we may read them."""
        everything = AclBindingFilter(
            ResourceType.ANY,
            None,  # type: ignore[arg-type]  # any name; the client's annotations forget it
            ResourcePatternType.ANY,
            None,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        try:
            found = self._admin.describe_acls(everything, request_timeout=TIMEOUT).result(TIMEOUT)
        except KafkaException as error:
            name = CODES.get(error.args[0].code(), str(error.args[0].code()))
            if name == "SECURITY_DISABLED":
                return False, None
            self._unread.append(f"ACLs: {name}")
            return None, None
        return True, tuple(_acl(binding) for binding in found)

    def _groups(self, workers: tuple[Worker, ...]) -> Iterator[tuple[str, SeenGroup]]:
        inputs = {worker.group: worker.input.topic for worker in workers}
        if not inputs:
            return
        asked = self._admin.describe_consumer_groups(list(inputs), request_timeout=TIMEOUT)
        for name, future in asked.items():
            found = self._answer(future, f"consumer group {name}")
            if found is None or found.state is ConsumerGroupState.DEAD:
                continue
            consumer = found.type is ConsumerGroupType.CONSUMER
            yield (
                name,
                SeenGroup(
                    protocol="consumer" if consumer else "classic",
                    members=len(found.members),
                    assignor=found.partition_assignor or "",
                    overtaken=self._overtaken(name, inputs[name]),
                ),
            )

    def _overtaken(self, group: str, topic: str) -> dict[int, int]:
        """Records that retention removed before the group read them, by partition."""
        if topic not in self._metadata.topics:
            return {}
        numbers = self._metadata.topics[topic].partitions
        places = [TopicPartition(topic, number) for number in numbers]
        question = ConsumerGroupTopicPartitions(group, places)
        asked = self._admin.list_consumer_group_offsets([question], request_timeout=TIMEOUT)
        found = self._answer(asked[group], f"offsets of group {group}")
        earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
        first = self._admin.list_offsets(
            {place: earliest for place in places}, request_timeout=TIMEOUT
        )
        committed = {p.partition: p.offset for p in found.topic_partitions or ()} if found else {}
        lost = {}
        for place, future in first.items():
            begins = self._answer(future, f"offsets of topic {topic}")
            offset = committed.get(place.partition, -1)
            if begins is not None and 0 <= offset < begins.offset:
                lost[place.partition] = begins.offset - offset
        return lost


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
