"""The differences between a topology and a cluster, all of them, as steps. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from workers.contracts.directory import ContractDirectory
from workers.operate.acls import Identity, loop_identity, worker_identity
from workers.operate.checks import acl_steps, broker_steps, group_steps, input_steps
from workers.operate.loops import outcomes_steps, shared_principal
from workers.operate.seen import Seen
from workers.operate.steps import Kind, Step, note, warning
from workers.operate.subjects import SubjectsSeen, subject_steps, subjects_of
from workers.operate.topics import topic_steps
from workers.operate.wanted import WantedTopic, keys_topic, merged, retentions, wanted_topics
from workers.topology import Feedback, Topology, Worker

_PLACE = {Kind.FAULT: 0, Kind.WARNING: 2, Kind.NOTE: 3}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a topology wants.

    `workers` and `loops` are those that are planned for. `topics` are all that any worker of the
    topology writes to, by name: one worker may read what another writes.
    """

    topology: Topology
    workers: tuple[Worker, ...]
    topics: Mapping[str, WantedTopic]
    contracts: ContractDirectory | None
    loops: tuple[Feedback, ...] = ()

    @property
    def identities(self) -> tuple[Identity, ...]:
        """Who comes to the brokers: workers, then loops."""
        broker, workers = self.topology.broker, self.topology.workers
        return (
            *(worker_identity(broker, worker) for worker in self.workers),
            *(loop_identity(broker, loop, workers[loop.worker]) for loop in self.loops),
        )

    @property
    def written(self) -> tuple[WantedTopic, ...]:
        """The topics that the planned workers write to."""
        gateway = self.topology.gateway
        names = {
            topic.name
            for worker in self.workers
            for topic in (*wanted_topics(worker, {}), *keys_topic(gateway, worker))
        }
        return tuple(topic for name, topic in self.topics.items() if name in names)

    @property
    def topic_names(self) -> tuple[str, ...]:
        """Every topic that has to be looked at."""
        inputs = (worker.input.topic for worker in self.topology.workers.values())
        outcomes = (loop.outcomes.topic for loop in self.loops)
        return tuple(dict.fromkeys([*inputs, *outcomes, *self.topics]))


def wanted(
    topology: Topology,
    workers: Iterable[Worker],
    contracts: ContractDirectory | None,
    loops: Iterable[Feedback] = (),
) -> Wanted:
    """What is wanted for these workers and feedback loops of a topology.

    Raises:
        ContractError: a subject.yaml states a retention that is none.
        TopologyError: two workers state different things of one topic.
    """
    kept = retentions(contracts)
    topics = merged(
        topic
        for worker in topology.workers.values()
        for topic in (*wanted_topics(worker, kept), *keys_topic(topology.gateway, worker))
    )
    named = {topic.name: topic for topic in topics}
    return Wanted(topology, tuple(workers), named, contracts, tuple(loops))


def plan(wants: Wanted, seen: Seen, registry: SubjectsSeen | None = None) -> list[Step]:
    """Every difference: faults first, what is only good to know last."""
    found = [*_topics(wants, seen), *_others(wants, seen, registry)]
    # Workers may share a topic or the brokers: what is true for both is said once.
    return sorted(dict.fromkeys(found), key=lambda step: _PLACE.get(step.kind, 1))


def _topics(wants: Wanted, seen: Seen) -> Iterator[Step]:
    for worker in wants.workers:
        yield from input_steps(worker, wants.topics, seen)
    for loop in wants.loops:
        yield from outcomes_steps(loop, wants.topics, seen)
    for topic in wants.written:
        yield from topic_steps(topic, wants.topics, seen)


def _others(wants: Wanted, seen: Seen, registry: SubjectsSeen | None) -> Iterator[Step]:
    for whose, subjects in _subjects(wants):
        if wants.contracts is not None:
            yield from subject_steps(whose, subjects, wants.contracts, registry)
    for worker in wants.workers:
        yield from broker_steps(worker, seen)
        yield from group_steps(worker, seen)
    for identity in wants.identities:
        yield from acl_steps(wants.topology.broker, identity, seen)
    for loop in wants.loops:
        yield from shared_principal(wants.topology, loop, seen)
    if seen.authorizer is False:
        yield note("ACLs", "the cluster has no authorizer: nothing to check")
    for what in seen.unread:
        yield warning(
            "cluster",
            f"could not be read, so it was not checked: {what}",
            "run it as a principal with Describe and DescribeConfigs on the topics, Describe on "
            "the group, and Describe and DescribeConfigs on the cluster",
        )


def _subjects(wants: Wanted) -> Iterator[tuple[str, Mapping[str, str]]]:
    for worker in wants.workers:
        yield f"worker {worker.name}", subjects_of(worker)
    for loop in wants.loops:
        yield f"feedback loop {loop.name}", {"outcomes": loop.outcomes.subject}
