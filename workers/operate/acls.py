"""The ACLs that who connects needs, no more; which a cluster lacks; kafka-acls commands.

Kafka's authorizer takes Read and Write to imply Describe (StandardAuthorizerData.java). Producing
idempotently needs no IdempotentWrite on the cluster since Kafka 2.8: Write on any topic will do
(KIP-679).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from workers.topology import Broker, Delivery, Feedback, Sequencing, Worker


class Resource(StrEnum):
    """What an ACL is about, as kafka-acls' options name it."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Operations on a resource that a worker needs. `prefixed`: on every name that begins so."""

    resource: Resource
    name: str
    operations: tuple[str, ...]
    why: str
    prefixed: bool = False

    def __str__(self) -> str:
        """For people: `topic flights`."""
        return f"{self.resource.value} {self.name}{'*' if self.prefixed else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAcl:
    """An ACL of the cluster; operation as `Read`, `resource` None for kinds that we never need."""

    resource: Resource | None
    name: str
    prefixed: bool
    operation: str
    allows: bool
    principal: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who comes to the brokers, and what it needs of them. `what` it is, as `worker flights`."""

    what: str
    principal: str
    grants: tuple[Grant, ...]


def principal(broker: Broker, of: Worker | Feedback) -> str:
    """Who a worker or a feedback loop is to the authorizer, as far as the topology says."""
    if of.principal:
        return of.principal
    sasl = broker.security.sasl
    return f"User:{sasl.username if sasl and sasl.username else of.name}"


def worker_identity(broker: Broker, worker: Worker) -> Identity:
    """A worker's processes."""
    who = principal(broker, worker)
    return Identity(what=f"worker {worker.name}", principal=who, grants=grants(worker))


def loop_identity(broker: Broker, loop: Feedback, worker: Worker) -> Identity:
    """What runs `workers feedback collect` or `run`; `worker` is the loop's."""
    needed = loop_grants(loop, worker)
    what = f"feedback loop {loop.name}"
    return Identity(what=what, principal=principal(broker, loop), grants=needed)


def grants(worker: Worker) -> tuple[Grant, ...]:
    """What the worker needs to run: to read, to write, to commit."""
    read, write = ("Describe", "Read"), ("Describe", "Write")
    both = ("Describe", "Read", "Write")
    followed = _followed(worker)
    topics = {worker.output.topic: "output", worker.dead_letter.topic: "dead letters"}
    if worker.decisions is not None:
        topics[worker.decisions.topic] = "decisions"
    if worker.shadow is not None:
        topics[worker.shadow.topic] = "comparisons"
    if worker.dead_letter.ledger is not None:
        topics[worker.dead_letter.ledger.topic] = "what was done about dead letters"
    if worker.retry_topic is not None:
        topics[worker.retry_topic.topic] = "records that are tried again"
    found = [
        Grant(resource=Resource.TOPIC, name=worker.input.topic, operations=read, why="input"),
        *(
            Grant(
                resource=Resource.TOPIC,
                name=topic,
                operations=both if topic in followed else write,
                why=role,
            )
            for topic, role in topics.items()
        ),
        Grant(resource=Resource.GROUP, name=worker.group, operations=read, why="consumer group"),
    ]
    if worker.delivery is Delivery.EXACTLY_ONCE:
        # The rest of the id is replica and process slot, see `stream.clients.transactional_id`.
        found.append(
            Grant(
                resource=Resource.TRANSACTIONAL_ID,
                name=f"{worker.transactional_id}.",
                operations=write,
                why="transactions of every replica",
                prefixed=True,
            )
        )
    return tuple(found)


def loop_grants(loop: Feedback, worker: Worker) -> tuple[Grant, ...]:
    """What collecting needs: to read. Nobody commits, so there is no group."""
    topics = {loop.outcomes.topic: "outcomes"}
    if worker.decisions is not None:
        topics = {worker.decisions.topic: "decisions", **topics}
    if worker.shadow is not None:
        topics[worker.shadow.topic] = "comparisons"
    return tuple(
        Grant(resource=Resource.TOPIC, name=topic, operations=("Describe", "Read"), why=role)
        for topic, role in topics.items()
    )


def by_principal(identities: Iterable[Identity]) -> tuple[Identity, ...]:
    """One entry a principal, with all that any of its identities needs."""
    found: dict[str, Identity] = {}
    for one in identities:
        other = found.get(one.principal)
        found[one.principal] = one if other is None else _both(other, one)
    return tuple(found.values())


def _both(one: Identity, other: Identity) -> Identity:
    needed = {(grant.resource, grant.name, grant.prefixed): grant for grant in one.grants}
    for grant in other.grants:
        key = (grant.resource, grant.name, grant.prefixed)
        there = needed.setdefault(key, grant)
        operations = tuple(sorted({*there.operations, *grant.operations}))
        needed[key] = replace(there, operations=operations)
    return replace(one, what=f"{one.what}, {other.what}", grants=tuple(needed.values()))


def _followed(worker: Worker) -> frozenset[str]:
    """Topics that it writes and reads: where keys keep their order, its failures are in them."""
    ledger = worker.dead_letter.ledger
    if worker.sequence is Sequencing.NONE or ledger is None:
        return frozenset()
    return frozenset({worker.dead_letter.topic, ledger.topic})


def lacking(grant: Grant, who: str, acls: Iterable[SeenAcl]) -> tuple[str, ...]:
    """Which of the grant's operations the cluster does not allow, or denies."""
    about = [acl for acl in acls if acl.principal in (who, "User:*") and _covers(acl, grant)]
    denied = [acl for acl in acls if acl.principal in (who, "User:*") and _touches(acl, grant)]
    return tuple(
        operation
        for operation in grant.operations
        if not any(acl.allows and acl.host == "*" and _gives(acl, operation) for acl in about)
        or any(not acl.allows and acl.operation in ("All", operation) for acl in denied)
    )


def _gives(acl: SeenAcl, operation: str) -> bool:
    implied = operation == "Describe" and acl.operation in ("Read", "Write", "Delete", "Alter")
    return implied or acl.operation in ("All", operation)


def _covers(acl: SeenAcl, grant: Grant) -> bool:
    """Does it apply to all of the grant's resource?"""
    if acl.resource is not grant.resource:
        return False
    if acl.prefixed:
        return grant.name.startswith(acl.name)
    return acl.name == "*" or (acl.name == grant.name and not grant.prefixed)


def _touches(acl: SeenAcl, grant: Grant) -> bool:
    """Does it apply to any part of the grant's resource?"""
    part = grant.prefixed and acl.name.startswith(grant.name)
    return _covers(acl, grant) or (acl.resource is grant.resource and part)


def command(broker: Broker, who: str, grant: Grant) -> str:
    """The kafka-acls command that gives it."""
    words = ["kafka-acls.sh", "--bootstrap-server", broker.bootstrap_servers]
    if broker.security.protocol != "PLAINTEXT":
        words += ["--command-config", "admin.properties"]
    words += ["--add", "--allow-principal", who]
    for operation in grant.operations:
        words += ["--operation", operation]
    words += [f"--{grant.resource.value}", grant.name]
    if grant.prefixed:
        words += ["--resource-pattern-type", "prefixed"]
    return shlex.join(words)


def commands(broker: Broker, identities: Iterable[Identity]) -> str:
    """A shell script that gives each what it needs."""
    lines = []
    for one in identities:
        lines.append(f"# {one.what} as {one.principal}")
        for grant in one.grants:
            lines += [f"# {grant.why}", command(broker, one.principal, grant)]
    return "\n".join(lines) + "\n"
