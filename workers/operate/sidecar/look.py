"""Looks at a source and at everybody who reads it. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from workers.errors import ClientHalt
from workers.operate.asking import TIMEOUT, answers
from workers.operate.look import Cluster, connect, look
from workers.operate.sidecar.quotas import Unasked, quotas
from workers.operate.sidecar.sight import Group, Offsets, Quota, Sight
from workers.topology import Topology, Worker


def sight(topology: Topology, worker: Worker) -> tuple[Cluster, Sight]:
    """What there is now, and the connection that it was seen by.

    Raises:
        BrokerUnreachable: no answer.
        ClientHalt: there is no source, or the broker refuses a question.
    """
    source = worker.input.topic
    cluster = connect(topology.broker, f"{worker.name}.sidecar")
    known = cluster.metadata.topics.get(source)
    if known is None or known.error is not None:
        raise ClientHalt(f"the cluster has no topic {source}, or does not show it to us")
    topics = tuple(cluster.metadata.topics)
    found = groups(cluster, source, worker.group)
    asked, why = _quotas(topology)
    own = [topic for topic in worker.written.values() if topic in topics]
    return cluster, Sight(
        seen=look(cluster, [worker], [source, *own]),
        source=source,
        ends=ends(cluster, source),
        topics=topics,
        own=found.pop(worker.group, None),
        neighbours=found,
        written=any(sum(ends(cluster, topic).values()) for topic in own),
        quotas=asked,
        quotas_unread=why,
    )


def _quotas(topology: Topology) -> tuple[tuple[Quota, ...] | None, str]:
    try:
        return quotas(topology.broker), ""
    except Unasked as why:
        return None, str(why)


def ends(cluster: Cluster, topic: str) -> Offsets:
    """Where each partition ends, for readers of committed records."""
    places = [TopicPartition(topic, n) for n in cluster.metadata.topics[topic].partitions]
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    found = answers(
        lambda: cluster.admin.list_offsets(
            dict.fromkeys(places, latest),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=TIMEOUT,
        ),
        f"asking for the end of {topic}",
    )
    return {place.partition: int(entry.offset) for place, entry in found.items()}


def groups(cluster: Cluster, source: str, own: str) -> dict[str, Group]:
    """The group `own`, if it is there, and every other that reads the source or has."""
    listed = answers(
        lambda: {"": cluster.admin.list_consumer_groups(request_timeout=TIMEOUT)}, "listing groups"
    )[""]
    names = sorted(entry.group_id for entry in listed.valid if entry.group_id)
    found = {}
    for name, (clients, reads) in _members(cluster, names).items():
        committed = offsets(cluster, name)
        if name == own or source in reads or source in committed:
            found[name] = Group(name=name, clients=clients, committed=committed)
    return found


def _members(
    cluster: Cluster, names: Sequence[str]
) -> Mapping[str, tuple[tuple[str, ...], frozenset[str]]]:
    """Client ids of each group's members, and the topics that they are assigned."""
    if not names:
        return {}
    described = answers(
        lambda: cluster.admin.describe_consumer_groups(list(names), request_timeout=TIMEOUT),
        "describing groups",
    )
    return {
        name: (
            tuple(member.client_id for member in entry.members),
            frozenset(
                place.topic
                for member in entry.members
                if member.assignment is not None
                for place in member.assignment.topic_partitions
            ),
        )
        for name, entry in described.items()
    }


def offsets(cluster: Cluster, group: str) -> dict[str, dict[int, int]]:
    """What a group has committed, by topic. Ask for its members first: see `operate.offsets`."""
    found = answers(
        lambda: cluster.admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)], request_timeout=TIMEOUT
        ),
        f"asking for the offsets of group {group}",
    )[group]
    return by_topic(found.topic_partitions or ())


def by_topic(places: Iterable[TopicPartition]) -> dict[str, dict[int, int]]:
    """Offsets that are there, by topic and partition."""
    made: dict[str, dict[int, int]] = {}
    for place in places:
        if place.offset >= 0:
            made.setdefault(place.topic, {})[place.partition] = place.offset
    return made
