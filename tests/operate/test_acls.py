"""What a worker needs of an authorizer: no more, and said so that it can be given."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from tests.operate.loops import feedback_loop
from workers.operate.acls import (
    Grant,
    Resource,
    SeenAcl,
    by_principal,
    command,
    commands,
    grants,
    lacking,
    loop_identity,
    principal,
    worker_identity,
)
from workers.operate.checks import acl_steps
from workers.operate.seen import Seen
from workers.operate.steps import Doer, Kind
from workers.stream.clients import transactional_id
from workers.topology import Broker, Delivery, Feedback, Sequencing, Topology, Worker
from workers.topology.shadow import ShadowTopic
from workers.topology.worker import LedgerTopic

WHO = "User:flight-delays"
OUTPUT = Grant(
    resource=Resource.TOPIC, name="flights.enriched", operations=("Describe", "Write"), why="output"
)
SLOTS = Grant(
    resource=Resource.TRANSACTIONAL_ID,
    name="flight-delays.",
    operations=("Describe", "Write"),
    why="transactions",
    prefixed=True,
)


@pytest.fixture
def worker(topology: Topology) -> Worker:
    """The demo's."""
    return topology.workers["flight-delays"]


def acl(name: str, operation: str, **changes: Any) -> SeenAcl:
    """An ACL on a topic that allows the worker something from every host."""
    plain: dict[str, Any] = {
        "resource": Resource.TOPIC,
        "prefixed": False,
        "allows": True,
        "principal": WHO,
        "host": "*",
    }
    return SeenAcl(name=name, operation=operation, **{**plain, **changes})


def test_a_worker_gets_what_it_needs_and_no_more(worker: Worker) -> None:
    """It reads its input, writes its outputs, commits for its group; nothing on the cluster."""
    needed = {(str(grant), *grant.operations) for grant in grants(worker)}

    assert needed == {
        ("topic flights", "Describe", "Read"),
        ("topic flights.enriched", "Describe", "Write"),
        ("topic flights.decisions", "Describe", "Write"),
        ("topic flights.dlq", "Describe", "Write"),
        ("group flight-delays", "Describe", "Read"),
        ("transactional-id flight-delays.*", "Describe", "Write"),
    }


def test_a_shadow_needs_to_write_its_comparisons(worker: Worker) -> None:
    """And nothing else."""
    shadow = ShadowTopic(topic="flights.comparisons")
    more = set(grants(worker.model_copy(update={"shadow": shadow}))) - set(grants(worker))

    assert [(str(grant), grant.operations) for grant in more] == [
        ("topic flights.comparisons", ("Describe", "Write"))
    ]


@pytest.fixture
def loop() -> Feedback:
    """A loop of the demo's worker."""
    return feedback_loop()


def test_a_loop_reads_and_nothing_else(worker: Worker, loop: Feedback) -> None:
    """No group, no write, nothing of the worker's input and outputs."""
    shadowed = worker.model_copy(update={"shadow": ShadowTopic(topic="flights.comparisons")})
    one = loop_identity(Broker(bootstrap_servers="b:1"), loop, shadowed)

    assert (one.what, one.principal) == ("feedback loop flights", "User:flights")
    assert {(str(grant), *grant.operations) for grant in one.grants} == {
        ("topic flights.decisions", "Describe", "Read"),
        ("topic flights.outcomes", "Describe", "Read"),
        ("topic flights.comparisons", "Describe", "Read"),
    }


def test_rights_are_printed_for_each_and_made_one_a_principal(
    worker: Worker, loop: Feedback
) -> None:
    """Apart in the script; a Kubernetes object replaces another of its name, so there it is one."""
    broker = Broker(bootstrap_servers="b:1")
    apart = [worker_identity(broker, worker), loop_identity(broker, loop, worker)]
    shared = loop.model_copy(update={"principal": WHO})
    (one,) = by_principal([apart[0], loop_identity(broker, shared, worker)])
    script = commands(broker, apart).splitlines()

    assert [line for line in script if line.startswith("# ") and " as " in line] == [
        f"# worker flight-delays as {WHO}",
        "# feedback loop flights as User:flights",
    ]
    assert sum("--allow-principal User:flights " in line for line in script) == 2
    assert len(by_principal(apart)) == 2
    assert (one.what, one.principal) == ("worker flight-delays, feedback loop flights", WHO)
    needed = {(str(grant), *grant.operations) for grant in one.grants}
    assert ("topic flights.decisions", "Describe", "Read", "Write") in needed
    assert ("topic flights.outcomes", "Describe", "Read") in needed
    assert len(needed) == len(grants(worker)) + 1


def test_who_keeps_the_order_of_keys_reads_what_failed(worker: Worker) -> None:
    """The dead letters and what was done about them."""
    ledger = LedgerTopic(topic="flights.dlq.ledger")
    letters = worker.dead_letter.model_copy(update={"ledger": ledger})
    plain = worker.model_copy(update={"dead_letter": letters})
    ordered = plain.model_copy(update={"sequence": Sequencing.KEY})
    more = set(grants(ordered)) - set(grants(plain))

    assert {(str(grant), grant.operations) for grant in more} == {
        ("topic flights.dlq", ("Describe", "Read", "Write")),
        ("topic flights.dlq.ledger", ("Describe", "Read", "Write")),
    }


def test_the_transactional_ids_of_all_replicas_are_covered(worker: Worker) -> None:
    """The prefix that is allowed is the one that the clients use; at least once needs none."""
    grant = next(g for g in grants(worker) if g.resource is Resource.TRANSACTIONAL_ID)
    simple = worker.model_copy(update={"delivery": Delivery.AT_LEAST_ONCE})

    assert grant.prefixed
    assert transactional_id(worker, 3).startswith(grant.name)
    assert Resource.TRANSACTIONAL_ID not in {g.resource for g in grants(simple)}


@pytest.mark.parametrize(
    ("acls", "missing"),
    [
        ([], ("Describe", "Write")),
        ([acl("flights.enriched", "Write")], ()),
        ([acl("flights.enriched", "Describe")], ("Write",)),
        ([acl("flights.enriched", "All")], ()),
        ([acl("flights.", "Write", prefixed=True)], ()),
        ([acl("*", "Write")], ()),
        ([acl("*", "Write", principal="User:*")], ()),
        ([acl("flights.enriched", "Write", principal="User:other")], ("Describe", "Write")),
        ([acl("flights.enriched", "Write", host="10.0.0.1")], ("Describe", "Write")),
        ([acl("flights.enriched", "Write", resource=Resource.GROUP)], ("Describe", "Write")),
        ([acl("*", "All"), acl("flights.", "Write", prefixed=True, allows=False)], ("Write",)),
    ],
)
def test_what_the_cluster_allows_is_judged_as_the_authorizer_does(
    acls: list[SeenAcl], missing: tuple[str, ...]
) -> None:
    """Write implies Describe; prefixes and wildcards count; a denial wins."""
    assert lacking(OUTPUT, WHO, acls) == missing


@pytest.mark.parametrize(
    ("name", "prefixed", "allows", "missing"),
    [
        ("flight-delays.", False, True, ("Describe", "Write")),
        ("flight-", True, True, ()),
        ("flight-delays.", True, True, ()),
        ("flight-delays.host-1.", True, True, ("Describe", "Write")),
        ("flight-delays.host-1.0", False, False, ("Describe", "Write")),
    ],
)
def test_a_prefix_must_be_allowed_as_a_whole(
    name: str, prefixed: bool, allows: bool, missing: tuple[str, ...]
) -> None:
    """The id of one replica is not enough; the denial of one is too much."""
    kind = Resource.TRANSACTIONAL_ID
    seen = [acl(name, "All", prefixed=prefixed, allows=allows, resource=kind)]

    assert lacking(SLOTS, WHO, seen) == missing


def test_a_missing_acl_is_a_step_for_a_person_with_its_command(
    topology: Topology, worker: Worker
) -> None:
    """`apply` gives no rights; without an authorizer, or for a super user, none are missing."""
    every = [
        acl(grant.name, operation, resource=grant.resource, prefixed=grant.prefixed)
        for grant in grants(worker)
        for operation in grant.operations
    ]
    seen = Seen(brokers=1, acls=tuple(entry for entry in every if entry.resource != "group"))
    who = worker_identity(topology.broker, worker)
    found = list(acl_steps(topology.broker, who, seen))

    assert [(s.kind, s.doer, s.target) for s in found] == [
        (Kind.ADD_ACL, Doer.PERSON, "group flight-delays")
    ]
    assert found[0].remedy.startswith("kafka-acls.sh --bootstrap-server ")
    assert list(acl_steps(topology.broker, who, Seen(brokers=1, acls=tuple(every)))) == []
    assert list(acl_steps(topology.broker, who, Seen(brokers=1, authorizer=False))) == []
    root = Seen(brokers=1, acls=(), settings={"super.users": f"User:admin;{WHO}"})
    assert [s.kind for s in acl_steps(topology.broker, who, root)] == [Kind.NOTE]


def test_a_command_survives_the_shell(topology: Topology) -> None:
    """Names with spaces, as certificates have them, are quoted."""
    who = "User:CN=flight delays,O=Example"
    words = shlex.split(command(topology.broker, who, SLOTS))

    assert words[words.index("--allow-principal") + 1] == who
    assert words[-4:] == [
        "--transactional-id", "flight-delays.", "--resource-pattern-type", "prefixed",
    ]  # fmt: skip


def test_the_principal_is_the_sasl_user_unless_it_is_written(worker: Worker) -> None:
    """Else the worker's name."""
    plain = Broker(bootstrap_servers="b:1")
    security = {
        "protocol": "SASL_PLAINTEXT",
        "sasl": {"mechanism": "PLAIN", "username": "ann", "password": "secret"},
    }
    sasl = Broker.model_validate({"bootstrap_servers": "b:1", "security": security})
    named = worker.model_copy(update={"principal": "User:CN=x"})

    assert principal(plain, worker) == WHO
    assert principal(sasl, worker) == "User:ann"
    assert principal(sasl, named) == "User:CN=x"
    assert "--command-config admin.properties" in command(sasl, WHO, OUTPUT)
    assert "secret" not in command(sasl, WHO, OUTPUT)
