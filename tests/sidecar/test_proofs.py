"""Every way in which a sidecar could disturb its source is found, and nothing else is."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from workers.operate.acls import Resource, SeenAcl, grants
from workers.operate.seen import Seen, SeenTopic
from workers.operate.sidecar.measure import Pace, Window, slowed
from workers.operate.sidecar.proofs import Finding, changed, proofs
from workers.operate.sidecar.quotas import Unasked, _read
from workers.operate.sidecar.sight import Group, Quota, Sight
from workers.topology import Delivery, Mode, Topology, Worker
from workers.wiring import pick

WHO = "User:flight-delays"


def acl(resource: Resource, name: str, operation: str, **changes: Any) -> SeenAcl:
    """An ACL of the worker."""
    plain = {"prefixed": False, "allows": True, "principal": WHO, "host": "*", **changes}
    return SeenAcl(resource=resource, name=name, operation=operation, **plain)


@pytest.fixture
def place(topology: Topology) -> tuple[Topology, Worker]:
    """The demo's worker as a sidecar."""
    worker = pick(topology, None).model_copy(update={"mode": Mode.SIDECAR, "instance": "host"})
    return topology.model_copy(update={"workers": {worker.name: worker}}), worker


def sight(worker: Worker) -> Sight:
    """All as it should be: an authorizer, the worker's rights and no more, a quota, a neighbour."""
    acls = tuple(
        acl(grant.resource, grant.name, operation, prefixed=grant.prefixed)
        for grant in grants(worker)
        for operation in grant.operations
    )
    return Sight(
        seen=Seen(
            brokers=1,
            authorizer=True,
            acls=acls,
            topics={"flights": SeenTopic(partitions=1, replication_factor=1)},
        ),
        source="flights",
        ends={0: 100},
        topics=("flights", "elsewhere", *worker.written.values()),
        own=Group(name=worker.group, clients=(f"{worker.name}.host.0",)),
        neighbours={"billing": Group(name="billing", committed={"flights": {0: 90}})},
        written=True,
        quotas=(Quota({"user": None}, {"consumer_byte_rate": 1e6}),),
    )


def findings(place: tuple[Topology, Worker], found: Sight) -> dict[str, Finding]:
    """By name."""
    return {proof.name: proof.finding for proof in proofs(*place, found)}


def more(found: Sight, *acls: SeenAcl, **settings: str) -> Sight:
    """The same with these ACLs and broker settings too."""
    seen = replace(found.seen, acls=(*(found.seen.acls or ()), *acls), settings=settings)
    return replace(found, seen=seen)


def test_what_disturbs_nothing_is_proven(place: tuple[Topology, Worker]) -> None:
    """Every proof holds."""
    assert set(findings(place, sight(place[1])).values()) == {Finding.HELD}


def own(found: Sight, **changes: Any) -> Sight:
    """The same with another group of the worker's name."""
    return replace(found, own=replace(found.own or Group(name=""), **changes))


SOURCE, ELSEWHERE = "no right to change the source", "no right on what is not its own"
TOPIC, GROUP, IDS = Resource.TOPIC, Resource.GROUP, Resource.TRANSACTIONAL_ID
BROKEN: list[tuple[str, Callable[[Sight], Sight]]] = [
    ("own group", lambda s: own(s, clients=("billing-7",))),
    (
        "own group",
        lambda s: replace(own(s, committed={"flights": {0: 5}}, clients=()), written=False),
    ),
    ("no commits elsewhere", lambda s: own(s, committed={"elsewhere": {0: 5}})),
    (SOURCE, lambda s: more(s, acl(TOPIC, "flights", "Write"))),
    (SOURCE, lambda s: more(s, acl(TOPIC, "flights", "Write", host="10.0.0.7"))),
    (SOURCE, lambda s: more(s, acl(TOPIC, "*", "All"))),
    (SOURCE, lambda s: more(s, acl(TOPIC, "fl", "AlterConfigs", prefixed=True))),
    (SOURCE, lambda s: more(s, acl(TOPIC, "flights", "Delete", principal="User:*"))),
    (SOURCE, lambda s: more(s, **{"super.users": f"User:a;{WHO}"})),
    (ELSEWHERE, lambda s: more(s, acl(TOPIC, "elsewhere", "Write"))),
    (ELSEWHERE, lambda s: more(s, acl(GROUP, "bill", "Read", prefixed=True))),
    (ELSEWHERE, lambda s: more(s, acl(GROUP, "*", "Delete"))),
    (ELSEWHERE, lambda s: more(s, **{"allow.everyone.if.no.acl.found": "true"})),
    (
        "own transactional ids",
        lambda s: more(s, acl(IDS, "flight-delays.host.0", "Write", principal="User:billing")),
    ),
    (
        "own transactional ids",
        lambda s: more(s, acl(IDS, "fl", "All", prefixed=True, principal="User:billing")),
    ),
]


@pytest.mark.parametrize(("name", "change"), BROKEN, ids=map(str, range(len(BROKEN))))
def test_each_violation_is_found(
    place: tuple[Topology, Worker], name: str, change: Callable[[Sight], Sight]
) -> None:
    """By the proof whose business it is."""
    assert findings(place, change(sight(place[1])))[name] is Finding.BROKEN


def test_a_right_that_is_denied_is_none(place: tuple[Topology, Worker]) -> None:
    """A denial for every host stands over what is allowed."""
    allowed = acl(TOPIC, "flights", "Write", host="10.0.0.7")
    found = more(sight(place[1]), allowed, acl(TOPIC, "flights", "Write", allows=False))

    assert findings(place, found)[SOURCE] is Finding.HELD


def test_what_the_cluster_does_not_tell_is_not_proven(place: tuple[Topology, Worker]) -> None:
    """No authorizer, no ACLs, no quotas: said, and not taken for a proof."""
    found = sight(place[1])
    for seen in (
        replace(found.seen, authorizer=False, acls=None),
        replace(found.seen, authorizer=None, acls=None, unread=("ACLs: no",)),
    ):
        got = findings(place, replace(found, seen=seen, quotas=None, quotas_unread="over SSL"))
        assert [name for name, finding in got.items() if finding is Finding.OPEN] == [
            SOURCE,
            ELSEWHERE,
            "own transactional ids",
            "quotas",
        ]
    assert findings(place, replace(found, quotas=()))["quotas"] is Finding.OPEN


def test_at_least_once_has_no_transactional_ids(place: tuple[Topology, Worker]) -> None:
    """So nobody can share one."""
    topology, plain = place
    worker = plain.model_copy(update={"delivery": Delivery.AT_LEAST_ONCE})
    shared = acl(IDS, "*", "All", principal="User:billing")

    found = findings((topology, worker), more(sight(plain), shared))

    assert found["own transactional ids"] is Finding.HELD


BOUND = [
    ({"user": "ann"}, True),
    ({"user": None, "client-id": "w.host.0"}, True),
    ({"client-id": None}, True),
    ({"user": "bob"}, False),
    ({"user": "ann", "client-id": "other"}, False),
    ({"ip": "10.0.0.7"}, False),
]


@pytest.mark.parametrize(("entity", "binds"), BOUND, ids=map(str, range(len(BOUND))))
def test_a_quota_binds_whom_it_names(entity: Mapping[str, str | None], binds: bool) -> None:
    """A user, a client id, both, or everybody."""
    assert Quota(entity, {"consumer_byte_rate": 1.0}).binds("ann", "w.host.0") is binds


def test_an_answer_that_is_none_is_said(place: tuple[Topology, Worker]) -> None:
    """Cut short, or a refusal."""
    with pytest.raises(Unasked, match="answer that is none"):
        _read(b"\x00")
    with pytest.raises(Unasked, match="CLUSTER_AUTHORIZATION_FAILED"):
        _read(struct.pack(">ihhi", 0, 31, -1, 0))


CHANGED: list[tuple[str, Callable[[Sight], Sight]]] = [
    ("settings", lambda s: replace(s, seen=replace(s.seen, topics={}))),
    ("ACLs", lambda s: more(s, acl(TOPIC, "flights", "Write"))),
    ("quotas", lambda s: replace(s, quotas=())),
    ("topics are gone: elsewhere", lambda s: replace(s, topics=("flights",))),
    ("partition 0 of flights ends before", lambda s: replace(s, ends={0: 99})),
    ("group billing is gone", lambda s: replace(s, neighbours={})),
    (
        "group billing went back in partitions 0",
        lambda s: replace(
            s, neighbours={"billing": Group(name="billing", committed={"flights": {0: 89}})}
        ),
    ),
]


@pytest.mark.parametrize(("said", "change"), CHANGED, ids=map(str, range(len(CHANGED))))
def test_what_is_not_as_it_was_is_found(
    place: tuple[Topology, Worker], said: str, change: Callable[[Sight], Sight]
) -> None:
    """Settings, ACLs, quotas, topics, records, offsets; what its owners go on doing is none."""
    before, mine = sight(place[1]), frozenset(place[1].written.values())
    later = replace(before, ends={0: 120}, own=None, topics=("flights", "elsewhere", "new"))

    assert not list(changed(before, later, mine))
    assert any(said in text for text in changed(before, change(later), mine))


def test_others_are_slower_where_they_fall_behind() -> None:
    """Fewer records alone are no sign: fewer may have come."""

    def watched(rate: float, *lags: int) -> Window:
        return Window("", "", 1.0, 0, (Pace("billing", rate, *lags),), None, None)

    before = watched(100.0, 0, 5, 10)

    assert slowed(before, watched(60.0, 5, 90, 95), 0.2) == ["billing"]
    assert slowed(before, watched(60.0, 5, 5, 9), 0.2) == []
    assert slowed(before, watched(85.0, 5, 90, 95), 0.2) == []
