"""Where a worker's group stands in its input, and moving it: a plan first, then the move.

A move is refused while the group has members: they would go on from what they hold in memory and
commit over it. The broker holds to that too, so nothing can come between the look and the move.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    TopicPartition,
)
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from workers.errors import ClientHalt
from workers.operate.asking import TIMEOUT, answers
from workers.operate.look import Cluster
from workers.stream.ranges import Edge
from workers.topology import Worker


@dataclass(frozen=True, slots=True)
class Place:
    """A partition: where the group stands, None where it never committed, and where the log is.

    `end` is the first offset that a reader of committed records cannot have.
    """

    partition: int
    committed: int | None
    begin: int
    end: int

    @property
    def lag(self) -> int | None:
        """Offsets not done, transactions' markers among them; None without a place to count from.

        What retention removed is not there any more and counts no longer.
        """
        return (
            None if self.committed is None else max(0, self.end - max(self.committed, self.begin))
        )


@dataclass(frozen=True, slots=True)
class Move:
    """A partition's offset from here to there."""

    partition: int
    before: int | None
    after: int
    begin: int
    end: int

    @property
    def again(self) -> int:
        """Offsets that are done once more."""
        return 0 if self.before is None else max(0, self.before - self.after)

    @property
    def skipped(self) -> int:
        """Offsets that are never done."""
        since = self.begin if self.before is None else max(self.before, self.begin)
        return max(0, self.after - since)


def places(cluster: Cluster, worker: Worker) -> tuple[Place, ...]:
    """Every partition of the worker's input.

    Raises:
        BrokerUnreachable: no answer.
        ClientHalt: there is no such topic, or the broker refuses the question.
    """
    topic = worker.input.topic
    known = cluster.metadata.topics.get(topic)
    if known is None or known.error is not None:
        raise ClientHalt(f"the cluster has no topic {topic}, or does not show it to us")
    numbers = sorted(known.partitions)
    # Until the group's coordinator is there: librdkafka 2.16.0 may crash the process where the
    # question for offsets meets one that is still loading, and this question it survives.
    with suppress(ClientHalt):
        members(cluster, worker)
    committed = _committed(cluster, worker, numbers)
    begins = _ask(cluster, topic, numbers, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    ends = _ask(cluster, topic, numbers, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    return tuple(Place(n, committed.get(n), begins[n], ends[n]) for n in numbers)


def targets(
    cluster: Cluster,
    worker: Worker,
    found: Sequence[Place],
    to: Edge | datetime | Mapping[int, int],
) -> dict[int, int]:
    """The offset of each partition that is meant.

    A time means its first record that is not before it; the end, where there is none.

    Raises:
        ClientHalt: a partition or an offset that the log has not got; names them all.
        BrokerUnreachable: no answer.
    """
    if isinstance(to, Mapping):
        return _explicit(found, to)
    if to is Edge.EARLIEST:
        return {place.partition: place.begin for place in found}
    if to is Edge.LATEST:
        return {place.partition: place.end for place in found}
    milliseconds = int(to.timestamp() * 1000)
    spec = OffsetSpec.for_timestamp(milliseconds)
    numbers = [place.partition for place in found]
    first = _ask(cluster, worker.input.topic, numbers, spec)
    return {
        place.partition: first[place.partition] if first[place.partition] >= 0 else place.end
        for place in found
    }


def moves(found: Iterable[Place], wanted: Mapping[int, int]) -> tuple[Move, ...]:
    """The plan: those partitions that do not stand where they should."""
    return tuple(
        Move(p.partition, p.committed, wanted[p.partition], p.begin, p.end)
        for p in found
        if p.partition in wanted and p.committed != wanted[p.partition]
    )


def members(cluster: Cluster, worker: Worker) -> int:
    """How many members the worker's group has now.

    Raises:
        BrokerUnreachable: no answer.
        ClientHalt: the broker refuses the question.
    """
    group = worker.group
    found = answers(
        lambda: cluster.admin.describe_consumer_groups([group], request_timeout=TIMEOUT),
        f"describing group {group}",
    )
    return len(found[group].members)


def hold_empty(cluster: Cluster, worker: Worker) -> None:
    """Has the group no members?

    Raises:
        ClientHalt: it has.
    """
    count = members(cluster, worker)
    if count:
        raise ClientHalt(
            f"group {worker.group} has {count} members: stop every process of worker {worker.name} "
            "first (a member that died holds its place until its session ends)"
        )


def reset(cluster: Cluster, worker: Worker, plan: Iterable[Move]) -> None:
    """Move the group.

    Raises:
        ClientHalt: the group has members, or the broker refuses.
        BrokerUnreachable: no answer.
    """
    topic, group = worker.input.topic, worker.group
    wanted = [TopicPartition(topic, move.partition, move.after) for move in plan]
    done = answers(
        lambda: cluster.admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, wanted)], request_timeout=TIMEOUT
        ),
        f"moving group {group}",
    )
    refused = [place for place in done[group].topic_partitions or () if place.error is not None]
    if refused:
        texts = "; ".join(f"partition {p.partition}: {p.error.str()}" for p in refused if p.error)
        raise ClientHalt(f"group {group} was not moved everywhere: {texts}")


def _committed(cluster: Cluster, worker: Worker, numbers: Sequence[int]) -> dict[int, int]:
    asked = [TopicPartition(worker.input.topic, number) for number in numbers]
    question = ConsumerGroupTopicPartitions(worker.group, asked)
    found = answers(
        lambda: cluster.admin.list_consumer_group_offsets(
            [question], require_stable=True, request_timeout=TIMEOUT
        ),
        f"reading the offsets of group {worker.group}",
    )
    listed = found[worker.group].topic_partitions or ()
    return {place.partition: place.offset for place in listed if place.offset >= 0}


def _ask(cluster: Cluster, topic: str, numbers: Sequence[int], spec: OffsetSpec) -> dict[int, int]:
    asked = {TopicPartition(topic, number): spec for number in numbers}
    found = answers(
        lambda: cluster.admin.list_offsets(
            asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=TIMEOUT
        ),
        f"reading the bounds of {topic}",
    )
    return {place.partition: int(answer.offset) for place, answer in found.items()}


def _explicit(found: Sequence[Place], to: Mapping[int, int]) -> dict[int, int]:
    known = {place.partition: place for place in found}
    faults = []
    for number, offset in sorted(to.items()):
        place = known.get(number)
        if place is None:
            faults.append(f"there is no partition {number}, there are {len(found)}")
        elif not place.begin <= offset <= place.end:
            faults.append(
                f"partition {number} has offsets {place.begin} to {place.end}, not {offset}"
            )
    if faults:
        raise ClientHalt("; ".join(faults))
    return dict(to)
