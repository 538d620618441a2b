"""What no `apply` can change: the input, the brokers' limits, the group, the ACLs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from workers.operate.acls import Identity, command, lacking
from workers.operate.seen import Seen
from workers.operate.steps import Doer, Kind, Step, fault, note, warning
from workers.operate.topics import sizes
from workers.operate.wanted import KAFKA_MAX_MESSAGE, WantedTopic
from workers.stream.clients import SESSION_TIMEOUT_MS
from workers.topology import Broker, Delivery, Protocol, Worker


def owners_topic(
    topic: str, role: str, whose: str, wanted: Mapping[str, WantedTopic]
) -> Iterator[Step]:
    """A topic that is not there and is not ours to create; one of the topology's own will be."""
    if topic not in wanted:
        yield fault(
            f"topic {topic}",
            f"{role} of {whose}, and it is not there",
            f"have its owner create it, or correct {role}.topic: it is never created here",
        )


def input_steps(worker: Worker, wanted: Mapping[str, WantedTopic], seen: Seen) -> Iterator[Step]:
    """The topic that is read: it is its owner's, never created or changed here."""
    topic = worker.input.topic
    target = f"topic {topic}"
    there = seen.topics.get(topic)
    if there is None:
        yield from owners_topic(topic, "input", f"worker {worker.name}", wanted)
    elif there.settings is not None:
        yield from _input_settings(worker, target, there.settings)
    known = sizes(topic, wanted, seen)
    if worker.replicas is not None and known is not None and worker.replicas > known[0]:
        yield warning(
            f"worker {worker.name}",
            f"{worker.replicas - known[0]} of {worker.replicas} processes will stand idle: "
            f"{topic} has {known[0]} partitions, and one is read by one process",
            f"plan for {known[0]} at most, or have the owner of {topic} add partitions",
            setting="replicas",
            current=str(known[0]),
            wanted=str(worker.replicas),
        )


def _input_settings(worker: Worker, target: str, settings: Mapping[str, str]) -> Iterator[Step]:
    largest = int(settings.get("max.message.bytes", KAFKA_MAX_MESSAGE))
    limits = {
        "limits.max_payload_bytes": (
            worker.limits.max_payload_bytes,
            "a larger record is dead-lettered",
        ),
        "output.max_message_bytes": (
            worker.output.max_message_bytes,
            "a larger record is dead-lettered",
        ),
        "dead_letter.max_message_bytes": (
            worker.dead_letter.max_message_bytes,
            "the dead letter of a larger record goes out without its value",
        ),
    }
    for name, (limit, consequence) in limits.items():
        # Our defaults are a little below Kafka's: that is the room for overhead, not a finding.
        if limit < 0.95 * largest:
            yield note(
                target,
                f"it takes batches of {largest} bytes, and {name} is {limit}: {consequence}",
                f"raise {name} if such records come",
                setting="max.message.bytes",
                current=str(largest),
                wanted=str(limit),
            )
    if settings.get("message.timestamp.type") == "LogAppendTime":
        yield note(
            target,
            "its timestamps are the broker's time of arrival, not the event's; delays that are "
            "measured from them begin there",
            setting="message.timestamp.type",
            current="LogAppendTime",
        )


def broker_steps(worker: Worker, seen: Seen) -> Iterator[Step]:
    """Limits of the brokers that would refuse the worker."""
    target = "brokers"
    longest = seen.settings.get("transaction.max.timeout.ms")
    wanted = int(worker.transaction_timeout * 1000)
    if worker.delivery is Delivery.EXACTLY_ONCE and longest and wanted > int(longest):
        yield fault(
            target,
            f"worker {worker.name} cannot start: its transaction_timeout is longer than allowed",
            "write a shorter transaction_timeout, or raise the brokers' setting",
            setting="transaction.max.timeout.ms",
            current=longest,
            wanted=str(wanted),
        )
    if worker.protocol is Protocol.CLASSIC:
        yield from _session(worker, seen.settings)


def _session(worker: Worker, settings: Mapping[str, str]) -> Iterator[Step]:
    session = int(worker.consumer.get("session.timeout.ms", SESSION_TIMEOUT_MS))
    least = settings.get("group.min.session.timeout.ms")
    most = settings.get("group.max.session.timeout.ms")
    for name, limit, wrong in (
        ("group.min.session.timeout.ms", least, least is not None and session < int(least)),
        ("group.max.session.timeout.ms", most, most is not None and session > int(most)),
    ):
        if wrong:
            yield fault(
                "brokers",
                f"worker {worker.name} cannot join its group with this session timeout",
                "write another `consumer: {session.timeout.ms: …}`",
                setting=name,
                current=limit,
                wanted=str(session),
            )


def group_steps(worker: Worker, seen: Seen) -> Iterator[Step]:
    """The consumer group, if it exists: can the worker join it, and what would it miss?"""
    group = seen.groups.get(worker.group)
    if group is None:
        return
    target = f"group {worker.group}"
    if group.members and group.protocol != worker.protocol.value:
        yield warning(
            target,
            f"its {group.members} members speak the {group.protocol} protocol: the brokers' "
            "group.consumer.migration.policy decides whether both may be in one group",
            f"stop all members before the first start with protocol: {worker.protocol.value}",
            setting="protocol",
            current=group.protocol,
            wanted=worker.protocol.value,
        )
    elif group.members and group.protocol == "classic" and group.assignor != "cooperative-sticky":
        yield fault(
            target,
            "its members divide partitions by another assignor, so the worker cannot join them",
            "stop all members of the group before the worker starts",
            setting="assignor",
            current=group.assignor,
            wanted="cooperative-sticky",
        )
    if group.overtaken:
        lost = sum(group.overtaken.values())
        partitions = ", ".join(map(str, sorted(group.overtaken)))
        yield fault(
            target,
            f"retention removed {lost} records of {worker.input.topic} before they were read "
            f"(partitions {partitions}); the worker stops those partitions",
            "decide what becomes of the gap, then move the group: workers offsets reset",
            setting="committed offsets",
        )


def acl_steps(broker: Broker, identity: Identity, seen: Seen) -> Iterator[Step]:
    """ACLs that it lacks, with the command that gives them."""
    if seen.acls is None:
        return
    who = identity.principal
    if who in seen.settings.get("super.users", "").split(";"):
        yield note(identity.what, f"{who} is a super user: ACLs do not bind it")
        return
    for grant in identity.grants:
        missing = lacking(grant, who, seen.acls)
        if missing:
            allowed = [operation for operation in grant.operations if operation not in missing]
            yield Step(
                kind=Kind.ADD_ACL,
                doer=Doer.PERSON,
                target=str(grant),
                setting=who,
                current=", ".join(allowed) or "none",
                wanted=", ".join(grant.operations),
                why=f"{grant.why} of {identity.what}",
                remedy=command(broker, who, grant),
            )
