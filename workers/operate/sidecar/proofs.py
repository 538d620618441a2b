"""What is proven of a sidecar by what is seen of the cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from workers.operate.acls import Resource, SeenAcl, principal
from workers.operate.sidecar.sight import Sight
from workers.stream.clients import instance_name
from workers.topology import Delivery, Topology, Worker


class Finding(StrEnum):
    """It is so; it is not so; the cluster does not tell."""

    HELD = "held"
    BROKEN = "broken"
    OPEN = "not proven"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """One thing that must be so, and whether it is. `remedy`: what a person would do."""

    name: str
    finding: Finding
    text: str
    remedy: str = ""


CHANGES = ("Write", "Delete", "Alter", "AlterConfigs")
"""Operations on a topic that change it or what is in it."""


def proofs(topology: Topology, worker: Worker, sight: Sight) -> tuple[Proof, ...]:
    """Every proof, each with its finding."""
    who = principal(topology.broker, worker)
    return (
        _own_group(worker, sight),
        _source(worker, sight, who),
        _elsewhere(worker, sight, who),
        _commits(worker, sight),
        _transactions(topology, worker, sight, who),
        _quotas(worker, sight, who),
    )


def _held(name: str, text: str) -> Proof:
    return Proof(name=name, finding=Finding.HELD, text=text)


def _broken(name: str, text: str, remedy: str) -> Proof:
    return Proof(name=name, finding=Finding.BROKEN, text=text, remedy=remedy)


def _open(name: str, text: str, remedy: str = "") -> Proof:
    return Proof(name=name, finding=Finding.OPEN, text=text, remedy=remedy)


def _own_group(worker: Worker, sight: Sight) -> Proof:
    name, group = "own group", sight.own
    others = ", ".join(sorted(sight.neighbours)) or "none"
    if group is not None:
        foreign = [c for c in group.clients if not c.startswith(f"{worker.name}.")]
        if foreign:
            return _broken(
                name,
                f"group {worker.group} has members that are not this worker's: "
                f"{', '.join(sorted(foreign))}",
                "stop the worker and give it a `group` of its own",
            )
        if group.committed and not sight.written:
            return _broken(
                name,
                f"group {worker.group} has offsets, and nothing is in any topic of the worker: the "
                "offsets are somebody else's",
                "give the worker a `group` that nobody had before",
            )
    return _held(name, f"{worker.group} is the worker's alone; other groups of the topic: {others}")


def _ungoverned(sight: Sight, who: str, name: str) -> Proof | None:
    """Where ACLs say nothing of the principal."""
    if sight.seen.authorizer is False:
        return _open(
            name,
            "the broker has no authorizer: it lets anybody do anything. What holds is the topology "
            "alone: the worker writes topics of its own",
            "an authorizer, and the rights of `workers plan --output acls`",
        )
    if sight.seen.acls is None:
        why = "; ".join(sight.seen.unread) or "ACLs could not be read"
        return _open(name, f"ACLs are not known: {why}", "ask as one who may describe the cluster")
    if who in sight.seen.settings.get("super.users", "").split(";"):
        return _broken(
            name, f"{who} is a super user: ACLs do not bind it", "give the worker another principal"
        )
    return None


def _source(worker: Worker, sight: Sight, who: str) -> Proof:
    name, topic = "no right to change the source", sight.source
    if (found := _ungoverned(sight, who, name)) is not None:
        return found
    may = _may(sight, who, Resource.TOPIC, topic, CHANGES)
    if may:
        return _broken(
            name,
            f"{who} may {', '.join(may)} topic {topic}",
            "remove that ACL: the worker needs Describe and Read",
        )
    return _held(name, f"{who} may not {', '.join(CHANGES)} topic {topic}")


def _elsewhere(worker: Worker, sight: Sight, who: str) -> Proof:
    name = "no right on what is not its own"
    if (found := _ungoverned(sight, who, name)) is not None:
        return found
    own = frozenset(worker.written.values())
    wrong = [
        f"{', '.join(may)} topic {topic}"
        for topic in sight.topics
        if topic not in own and topic != sight.source
        and (may := _may(sight, who, Resource.TOPIC, topic, CHANGES))
    ]  # fmt: skip
    wrong += [
        f"{', '.join(may)} group {group}"
        for group in sight.neighbours
        if (may := _may(sight, who, Resource.GROUP, group, ("Read", "Delete")))
    ]
    if wrong:
        return _broken(
            name,
            f"{who} may {'; '.join(wrong)}",
            "remove those ACLs; `workers plan --output acls` prints what the worker needs",
        )
    return _held(name, f"{who} may change no other topic, and commit for no other group")


def _commits(worker: Worker, sight: Sight) -> Proof:
    name = "no commits elsewhere"
    committed = () if sight.own is None else sight.own.committed
    other = sorted(topic for topic in committed if topic != sight.source)
    if other:
        return _broken(
            name,
            f"group {worker.group} has offsets of {', '.join(other)}, which the worker never reads",
            "give the worker a `group` of its own",
        )
    return _held(name, f"group {worker.group} has offsets of no topic but {sight.source}")


def _transactions(topology: Topology, worker: Worker, sight: Sight, who: str) -> Proof:
    name, prefix = "own transactional ids", f"{worker.transactional_id}."
    if worker.delivery is not Delivery.EXACTLY_ONCE:
        return _held(name, "at_least_once: the worker has none")
    if (found := _ungoverned(sight, who, name)) is not None:
        return found
    ours = {who, *(principal(topology.broker, other) for other in topology.workers.values())}
    others = sorted(
        {
            acl.principal
            for acl in sight.seen.acls or ()
            if acl.resource is Resource.TRANSACTIONAL_ID
            and acl.allows
            and acl.operation in ("Write", "All")
            and acl.principal not in ours
            and _overlaps(acl, prefix)
        }
    )
    if others:
        return _broken(
            name,
            f"{', '.join(others)} may use transactional ids that begin with {prefix}",
            "write another `transactional_id`, or narrow those ACLs",
        )
    return _held(name, f"nobody else may use ids that begin with {prefix}")


def _quotas(worker: Worker, sight: Sight, who: str) -> Proof:
    name = "quotas"
    client = f"{worker.name}.{instance_name(worker)}.0"
    user = who.partition(":")[2]
    wanted = (
        "kafka-configs.sh --alter --add-config "
        f"consumer_byte_rate={worker.queues.consumer_bytes},"
        f"producer_byte_rate={worker.queues.producer_bytes} "
        f"--entity-type users --entity-name {user}"
    )
    if sight.quotas is None:
        return _open(name, sight.quotas_unread, f"look with kafka-configs.sh; or set {wanted}")
    binding = [quota for quota in sight.quotas if quota.binds(user, client)]
    if any("consumer_byte_rate" in quota.limits for quota in binding):
        return _held(name, f"reading is limited: {'; '.join(map(str, binding))}")
    return _open(
        name,
        f"nothing limits how fast {client} reads: while it catches up it may take what the "
        "broker's disk and network have",
        f"a beginning, one queue a second: {wanted} (by user: each process has a client id)",
    )


def _may(
    sight: Sight, who: str, resource: Resource, name: str, operations: tuple[str, ...]
) -> list[str]:
    """Which of the operations the principal is allowed, from any host."""
    acls = [acl for acl in sight.seen.acls or () if acl.resource is resource and _is(acl, name)]
    if not acls and sight.seen.settings.get("allow.everyone.if.no.acl.found") == "true":
        return list(operations)
    mine = [acl for acl in acls if acl.principal in (who, "User:*")]
    return [op for op in operations if _allowed(mine, op)]


def _allowed(mine: list[SeenAcl], operation: str) -> bool:
    about = [acl for acl in mine if acl.operation in ("All", operation)]
    denied = any(not acl.allows and acl.host == "*" for acl in about)
    return not denied and any(acl.allows for acl in about)


def _is(acl: SeenAcl, name: str) -> bool:
    return name.startswith(acl.name) if acl.prefixed else acl.name in ("*", name)


def _overlaps(acl: SeenAcl, prefix: str) -> bool:
    if acl.prefixed:
        return prefix.startswith(acl.name) or acl.name.startswith(prefix)
    return acl.name == "*" or acl.name.startswith(prefix)


def changed(before: Sight, after: Sight, own: frozenset[str]) -> Iterator[str]:
    """What is not as it was, of all that is not the worker's own (`own` are its topics)."""
    source = before.source
    checks = {
        f"topic {source} has other partitions or settings": before.seen.topics.get(source)
        != after.seen.topics.get(source),
        "ACLs are others": set(before.seen.acls or ()) != set(after.seen.acls or ()),
        "quotas are others": sorted(map(str, before.quotas or ()))
        != sorted(map(str, after.quotas or ())),
    }
    yield from (text for text, differs in checks.items() if differs)
    if gone := sorted(set(before.topics) - set(after.topics) - own):
        yield f"topics are gone: {', '.join(gone)}"
    for number, end in before.ends.items():
        if after.ends.get(number, -1) < end:
            yield f"partition {number} of {source} ends before where it ended"
    yield from _moved(before, after)


def _moved(before: Sight, after: Sight) -> Iterator[str]:
    for name in before.neighbours:
        if name not in after.neighbours:
            yield f"group {name} is gone"
            continue
        at = after.committed(name)
        back = [str(n) for n, offset in before.committed(name).items() if at.get(n, -1) < offset]
        if back:
            yield f"group {name} went back in partitions {', '.join(back)}"


def undisturbed(before: Sight, after: Sight, own: frozenset[str], what: str) -> Proof:
    """Is everything as it was, but for what its owners did?"""
    name = f"as it was after {what}"
    found = list(changed(before, after, own))
    if found:
        return _broken(name, "; ".join(found), "find out who did it: the worker has no right to")
    count = len(before.neighbours)
    return _held(
        name,
        f"partitions, settings, ACLs and quotas are the same; none of {count} other groups is gone "
        "or went back",
    )
