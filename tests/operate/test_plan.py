"""What a plan says of a cluster, without a cluster: wanted and seen are data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.operate.loops import feedback_loop
from workers.contracts.directory import ContractDirectory, read_directory
from workers.errors import ContractError, TopologyError
from workers.operate.plan import Wanted, plan, wanted
from workers.operate.seen import Seen, SeenGroup, SeenTopic
from workers.operate.steps import Doer, Kind, Step, as_data, differs
from workers.operate.subjects import SeenVersion, subjects_of
from workers.operate.topics import made
from workers.topology import Gateway, TopicSettings, Topology, WorkerGateway
from workers.topology.gateway import IdempotencyTopic
from workers.topology.shadow import ShadowTopic

GOOD = {
    "cleanup.policy": "delete",
    "retention.ms": str(7 * 86_400_000),
    "max.message.bytes": "1048588",
}
FLIGHTS = SeenTopic(partitions=6, replication_factor=3, settings=GOOD)
SAFE = {**GOOD, "min.insync.replicas": "2"}
FINE = {
    "flights": FLIGHTS,
    "flights.enriched": SeenTopic(partitions=6, replication_factor=3, settings=SAFE),
    "flights.decisions": SeenTopic(
        partitions=6,
        replication_factor=3,
        settings={**SAFE, "retention.ms": str(90 * 86_400_000)},
    ),
    "flights.dlq": SeenTopic(
        partitions=6,
        replication_factor=3,
        settings={**SAFE, "retention.ms": str(30 * 86_400_000)},
    ),
}


@pytest.fixture(scope="module")
def files() -> ContractDirectory:
    """The repository's contracts."""
    return read_directory(ROOT / "schemas")


def changed(topology: Topology, **changes: Any) -> Topology:
    """The demo's topology with another worker."""
    worker = topology.workers["flight-delays"].model_copy(update=changes)
    return topology.model_copy(update={"workers": {worker.name: worker}})


def output(topology: Topology, **changes: Any) -> Topology:
    """The demo's topology with another output."""
    part = topology.workers["flight-delays"].output.model_copy(update=changes)
    return changed(topology, output=part)


def wants(topology: Topology, files: ContractDirectory) -> Wanted:
    """What all of its workers want."""
    return wanted(topology, topology.workers.values(), files, topology.feedback.values())


def steps(topology: Topology, files: ContractDirectory, seen: Seen, **more: Any) -> list[Step]:
    """The plan."""
    return plan(wants(topology, files), seen, **more)


def cluster(**changes: SeenTopic | None) -> Seen:
    """A cluster as it should be, but for some topics; `enriched` stands for flights.enriched."""
    topics: dict[str, SeenTopic] = dict(FINE)
    for key, topic in changes.items():
        name = "flights" if key == "flights" else f"flights.{key}"
        if topic is None:
            del topics[name]
        else:
            topics[name] = topic
    return Seen(brokers=3, topics=topics)


def enriched(
    settings: Mapping[str, str] | None = None, *, partitions: int = 6, copies: int = 3
) -> SeenTopic:
    """The output as seen, with other settings."""
    return SeenTopic(
        partitions=partitions, replication_factor=copies, settings={**SAFE, **(settings or {})}
    )


def test_a_cluster_as_wanted_has_an_empty_plan(
    topology: Topology, files: ContractDirectory
) -> None:
    """Nothing to do, nothing to say."""
    assert steps(topology, files, cluster()) == []


def looped(topology: Topology, **outcomes: Any) -> Topology:
    """The demo's topology with a feedback loop of its worker."""
    return topology.model_copy(update={"feedback": {"flights": feedback_loop(**outcomes)}})


def test_the_outcomes_are_somebody_elses_topic(
    topology: Topology, files: ContractDirectory
) -> None:
    """Where they are missing their owner makes them; there is no step that changes them."""
    odd = SeenTopic(partitions=1, replication_factor=1, settings={"retention.ms": "1"})
    missing = steps(looped(topology), files, cluster())
    there = steps(looped(topology), files, cluster(outcomes=odd))

    assert [(s.kind, s.doer, s.target) for s in missing] == [
        (Kind.FAULT, Doer.PERSON, "topic flights.outcomes")
    ]
    assert "owner" in missing[0].remedy
    assert "feedback loop flights" in missing[0].why
    assert there == []
    assert "flights.outcomes" in wants(looped(topology), files).topic_names
    assert "flights.outcomes" not in {
        topic.name for topic in wants(looped(topology), files).written
    }


def test_outcomes_that_another_worker_writes_are_made_as_its_output(
    topology: Topology, files: ContractDirectory
) -> None:
    """Its worker's step creates them, and the loop has nothing to say."""
    enriched = looped(topology, topic="flights.enriched", subject="flights.enriched-value")
    found = steps(enriched, files, Seen(brokers=3, topics={"flights": FLIGHTS}))

    assert {step.kind for step in found} == {Kind.CREATE_TOPIC}


def test_outcomes_of_a_compacted_topic_are_noted(
    topology: Topology, files: ContractDirectory
) -> None:
    """What was known before a correction may be gone before it is collected."""
    settings = {**SAFE, "cleanup.policy": "compact,delete"}
    compacted = SeenTopic(partitions=6, replication_factor=3, settings=settings)
    found = steps(looped(topology), files, cluster(outcomes=compacted))

    assert [(step.kind, step.setting) for step in found] == [(Kind.NOTE, "cleanup.policy")]
    assert not differs(found)


def test_the_contract_of_the_outcomes_is_looked_for(
    topology: Topology, files: ContractDirectory
) -> None:
    """Among the files, and in the registry."""
    fine = cluster(outcomes=FLIGHTS)
    unknown = steps(looped(topology, subject="nothing-value"), files, fine)
    registered = steps(looped(topology), files, fine, registry=Registry(None))

    assert [(step.kind, step.target) for step in unknown] == [(Kind.FAULT, "subject nothing-value")]
    assert "outcomes of feedback loop flights" in unknown[0].why
    versions = [step.target for step in registered if step.kind is Kind.REGISTER_VERSION]
    assert "subject flights.outcomes-value" in versions


def test_a_loop_has_rights_of_its_own_and_a_shared_principal_is_warned_of(
    topology: Topology, files: ContractDirectory
) -> None:
    """Where there is an authorizer: its steps name it; as its worker it has the worker's too."""
    seen = replace(cluster(outcomes=FLIGHTS), acls=(), authorizer=True)
    apart = looped(topology)
    loop = apart.feedback["flights"].model_copy(update={"principal": "User:flight-delays"})
    shared = apart.model_copy(update={"feedback": {"flights": loop}})
    found = steps(apart, files, seen)

    assert [s.target for s in found if s.setting == "User:flights"] == [
        "topic flights.decisions",
        "topic flights.outcomes",
    ]
    assert not any(step.kind is Kind.WARNING for step in found)
    assert [
        (s.target, s.setting) for s in steps(shared, files, seen) if s.kind is Kind.WARNING
    ] == [("feedback loop flights", "principal")]


def test_missing_topics_are_created_like_the_input(
    topology: Topology, files: ContractDirectory
) -> None:
    """As many partitions and copies; retention from subject.yaml; two copies must acknowledge."""
    found = steps(topology, files, Seen(brokers=3, topics={"flights": FLIGHTS}))

    assert {step.kind for step in found} == {Kind.CREATE_TOPIC}
    assert {step.doer for step in found} == {Doer.APPLY}
    specs = {step.topic.name: step.topic for step in found if step.topic}
    assert specs.keys() == {"flights.enriched", "flights.decisions", "flights.dlq"}
    letters = specs["flights.dlq"]
    assert (letters.partitions, letters.replication_factor) == (6, 3)
    assert letters.settings == {
        "cleanup.policy": "delete",
        "max.message.bytes": "1048588",
        "min.insync.replicas": "2",
        "retention.ms": str(30 * 86_400_000),
    }


def test_the_comparisons_of_a_shadow_are_a_topic_and_a_subject(
    topology: Topology, files: ContractDirectory
) -> None:
    """Created like the others, kept as its subject.yaml says; its contract is looked for."""
    said = {"topic": "flights.comparisons", "subject": "flights.comparisons-value"}
    worker = next(iter(topology.workers.values()))
    shadowed = worker.model_copy(update={"shadow": ShadowTopic.model_validate(said)})
    wanted = topology.model_copy(update={"workers": {worker.name: shadowed}})

    (made,) = [step.topic for step in steps(wanted, files, cluster())]

    assert made is not None
    assert made.name == "flights.comparisons"
    assert made.settings["retention.ms"] == str(14 * 86_400_000)
    assert subjects_of(shadowed)["comparisons"] == "flights.comparisons-value"


def test_what_is_made_needs_no_second_plan(topology: Topology, files: ContractDirectory) -> None:
    """A topic made as the plan says leaves nothing to do about it."""
    empty = Seen(brokers=3, topics={"flights": FLIGHTS})
    found = [step.topic for step in steps(topology, files, empty) if step.topic]
    there = {
        new.name: SeenTopic(
            partitions=new.partitions,
            replication_factor=new.replication_factor,
            settings=new.settings,
        )
        for new in found
    }

    assert steps(topology, files, Seen(brokers=3, topics={"flights": FLIGHTS, **there})) == []


def test_a_missing_input_is_a_fault_with_a_remedy(
    topology: Topology, files: ContractDirectory
) -> None:
    """Its owner makes it; what would be sized after it waits."""
    found = steps(topology, files, Seen(brokers=3))

    assert {step.kind for step in found} == {Kind.FAULT}
    assert {step.doer for step in found} == {Doer.PERSON}
    assert found[0].target == "topic flights"
    assert "owner" in found[0].remedy
    assert "flights, which is not there" in found[1].why


def test_an_output_with_a_stated_size_does_not_wait_for_the_input(
    topology: Topology, files: ContractDirectory
) -> None:
    """`settings` say how large it is."""
    sized = output(topology, settings=TopicSettings(partitions=12, replication_factor=2))
    spec = made(wants(sized, files).topics["flights.enriched"], {}, Seen(brokers=3))

    assert spec is None
    found = steps(sized, files, Seen(brokers=3))
    created = [step.topic for step in found if step.topic]
    assert [(new.name, new.partitions, new.replication_factor) for new in created] == [
        ("flights.enriched", 12, 2)
    ]


def test_a_worker_may_read_what_another_will_write(
    topology: Topology, files: ContractDirectory
) -> None:
    """The second worker's input is not missing: it is made as the first one's output."""
    first = topology.workers["flight-delays"]
    second = first.model_copy(
        update={
            "name": "second",
            "group": "second",
            "transactional_id": "second",
            "input": first.input.model_copy(update={"topic": "flights.enriched"}),
            "output": first.output.model_copy(update={"topic": "flights.twice"}),
            "decisions": None,
        }
    )
    both = topology.model_copy(update={"workers": {"flight-delays": first, "second": second}})
    found = steps(both, files, Seen(brokers=3, topics={"flights": FLIGHTS}))

    assert {step.kind for step in found} == {Kind.CREATE_TOPIC}
    assert {s.topic.partitions for s in found if s.topic} == {6}


def test_workers_that_share_a_topic_must_agree(
    topology: Topology, files: ContractDirectory
) -> None:
    """Two numbers of partitions for one dead-letter topic: both workers are named."""
    first = topology.workers["flight-delays"]
    letters = first.dead_letter.model_copy(update={"settings": TopicSettings(partitions=3)})
    one = first.model_copy(update={"dead_letter": letters})
    more = letters.model_copy(update={"settings": TopicSettings(partitions=4)})
    two = first.model_copy(update={"name": "second", "dead_letter": more})
    both = topology.model_copy(update={"workers": {"flight-delays": one, "second": two}})

    with pytest.raises(TopologyError, match=r"delays and second .* flights.dlq .*partitions"):
        wants(both, files)


def test_too_few_partitions_are_added_only_when_allowed(
    topology: Topology, files: ContractDirectory
) -> None:
    """Because keys move, which the step says."""
    stated = output(topology, settings=TopicSettings(partitions=6))
    found = steps(stated, files, cluster(enriched=enriched(partitions=4)))

    assert [(s.kind, s.doer, s.current, s.wanted) for s in found] == [
        (Kind.ADD_PARTITIONS, Doer.APPLY_PARTITIONS, "4", "6")
    ]
    assert "key" in found[0].risk


def test_the_inputs_partition_numbers_need_as_many_partitions(
    topology: Topology, files: ContractDirectory
) -> None:
    """`partitioning: same`, nothing stated: the input decides. By key fewer will do."""
    few = cluster(enriched=enriched(partitions=4))
    same = topology.workers["flight-delays"].output.partitioning.__class__("same")

    assert steps(output(topology, partitioning=same), files, few)[0].kind is Kind.ADD_PARTITIONS
    assert [step.kind for step in steps(topology, files, few)] == [Kind.NOTE]


def test_partitions_are_never_taken_away(topology: Topology, files: ContractDirectory) -> None:
    """Kafka cannot: it is a person's to decide."""
    stated = output(topology, settings=TopicSettings(partitions=2))
    found = steps(stated, files, cluster())

    assert [(step.kind, step.doer) for step in found] == [(Kind.FAULT, Doer.PERSON)]


@pytest.mark.parametrize(
    ("name", "value", "doer"),
    [
        ("max.message.bytes", "500000", Doer.APPLY),
        ("min.insync.replicas", "1", Doer.APPLY),
        ("retention.ms", "3600000", Doer.APPLY),
        # What is kept longer now would be removed.
        ("retention.ms", "-1", Doer.APPLY_REMOVAL),
        ("cleanup.policy", "compact", Doer.APPLY_REMOVAL),
    ],
)
def test_a_drifted_setting_is_brought_back(
    topology: Topology, files: ContractDirectory, name: str, value: str, doer: Doer
) -> None:
    """One step that changes this setting and no other; removing records is asked for by name."""
    found = steps(topology, files, cluster(enriched=enriched({name: value})))

    assert [(s.kind, s.doer, s.setting, s.current) for s in found] == [
        (Kind.CHANGE_SETTING, doer, name, value)
    ]
    assert found[0].topic is not None
    assert found[0].topic.settings.keys() == {name}
    assert bool(found[0].risk) == (doer is Doer.APPLY_REMOVAL)


@pytest.mark.parametrize(
    "settings", [{"max.message.bytes": "9999999"}, {"min.insync.replicas": "3"}]
)
def test_more_than_is_needed_is_left_alone(
    topology: Topology, files: ContractDirectory, settings: dict[str, str]
) -> None:
    """Where a floor is wanted a larger value is somebody's decision."""
    assert steps(topology, files, cluster(enriched=enriched(settings))) == []


def test_a_topic_holds_a_batch_not_only_a_record(
    topology: Topology, files: ContractDirectory
) -> None:
    """Small records share a batch of the size that large dead letters allow."""
    small = output(topology, max_message_bytes=100_000)
    found = steps(small, files, cluster(enriched=enriched({"max.message.bytes": "200000"})))

    change = next(step for step in found if step.kind is Kind.CHANGE_SETTING)
    assert change.wanted == "1001024"


def test_a_stated_retention_wins_over_subject_yaml(
    topology: Topology, files: ContractDirectory
) -> None:
    """And says where it comes from."""
    compacted = output(topology, settings=TopicSettings(retention="compact"))
    found = steps(compacted, files, cluster())

    assert [(s.setting, s.wanted, s.why) for s in found] == [
        ("cleanup.policy", "compact", "the topology says so")
    ]


def test_copies_are_moved_by_hand(topology: Topology, files: ContractDirectory) -> None:
    """A stated number that differs is a fault; one copy on several brokers is a warning."""
    stated = output(topology, settings=TopicSettings(replication_factor=3))
    seen = cluster(enriched=enriched(copies=1))

    assert steps(stated, files, seen)[0].doer is Doer.PERSON
    assert [step.kind for step in steps(topology, files, seen)] == [Kind.WARNING]
    assert not differs(steps(topology, files, seen))


def test_more_copies_than_brokers_are_not_tried(
    topology: Topology, files: ContractDirectory
) -> None:
    """The broker would refuse each of them."""
    found = steps(topology, files, Seen(brokers=1, topics={"flights": FLIGHTS}))

    assert {(step.kind, step.doer) for step in found} == {(Kind.FAULT, Doer.PERSON)}
    assert "there are 1 brokers" in found[0].why


def test_idle_replicas_are_warned_of(topology: Topology, files: ContractDirectory) -> None:
    """More processes than partitions: how many stand idle."""
    found = steps(changed(topology, replicas=8), files, cluster())

    assert [step.kind for step in found] == [Kind.WARNING]
    assert "2 of 8 processes will stand idle" in found[0].why
    assert steps(changed(topology, replicas=6), files, cluster()) == []


def test_an_input_larger_than_the_limits_is_noted(
    topology: Topology, files: ContractDirectory
) -> None:
    """Records that the worker will not pass, and dead letters that go out without their value."""
    large = SeenTopic(
        partitions=6, replication_factor=3, settings={**GOOD, "max.message.bytes": "5000000"}
    )
    found = steps(topology, files, cluster(flights=large))

    assert {step.kind for step in found} == {Kind.NOTE}
    assert ["dead_letter.max_message_bytes" in step.why for step in found] == [False, False, True]
    assert not differs(found)


def test_the_brokers_own_time_is_noted(topology: Topology, files: ContractDirectory) -> None:
    """On the output the event's timestamp is lost."""
    found = steps(
        topology, files, cluster(enriched=enriched({"message.timestamp.type": "LogAppendTime"}))
    )

    assert [(step.kind, step.setting) for step in found] == [(Kind.NOTE, "message.timestamp.type")]


@pytest.mark.parametrize(
    ("setting", "limit"),
    [
        ("transaction.max.timeout.ms", "30000"),
        ("group.max.session.timeout.ms", "10000"),
        ("group.min.session.timeout.ms", "20000"),
    ],
)
def test_limits_of_the_brokers_that_refuse_the_worker_are_faults(
    topology: Topology, files: ContractDirectory, setting: str, limit: str
) -> None:
    """The worker could not start."""
    seen = Seen(brokers=3, topics=FINE, settings={setting: limit})

    assert [(s.kind, s.setting, s.current) for s in steps(topology, files, seen)] == [
        (Kind.FAULT, setting, limit)
    ]


@pytest.mark.parametrize(
    ("group", "kind"),
    [
        (SeenGroup(protocol="consumer", members=2, assignor="uniform"), Kind.WARNING),
        (SeenGroup(protocol="classic", members=2, assignor="range"), Kind.FAULT),
        (SeenGroup(protocol="classic", members=0, overtaken={1: 40}), Kind.FAULT),
    ],
)
def test_a_group_that_the_worker_cannot_simply_join(
    topology: Topology, files: ContractDirectory, group: SeenGroup, kind: Kind
) -> None:
    """Another protocol, another assignor, or offsets that retention overtook."""
    seen = Seen(brokers=3, topics=FINE, groups={"flight-delays": group})

    assert [step.kind for step in steps(topology, files, seen)] == [kind]


def test_the_workers_own_group_is_fine(topology: Topology, files: ContractDirectory) -> None:
    """Members of the same protocol and assignor."""
    own = SeenGroup(protocol="classic", members=2, assignor="cooperative-sticky")
    seen = Seen(brokers=3, topics=FINE, groups={"flight-delays": own})

    assert steps(topology, files, seen) == []


def test_what_could_not_be_read_is_said(topology: Topology, files: ContractDirectory) -> None:
    """A check that was not made is no check that was passed."""
    hidden = SeenTopic(partitions=6, replication_factor=3, settings=None)
    topics = {**FINE, "flights.enriched": hidden}
    seen = Seen(brokers=3, topics=topics, unread=("settings of topic flights.enriched: X",))
    found = steps(topology, files, seen)

    assert [step.kind for step in found] == [Kind.FAULT, Kind.WARNING]
    assert "flights.enriched: X" in found[1].why
    assert all("DescribeConfigs" in step.remedy for step in found)


def test_json_has_the_same_keys_in_every_step(topology: Topology, files: ContractDirectory) -> None:
    """Scripts need not ask whether a key is there."""
    data = as_data(steps(topology, files, Seen(brokers=1, authorizer=False)))

    assert len(data) > 1
    assert {frozenset(step) for step in data} == {frozenset(data[0])}
    assert {"kind", "doer", "target", "current", "wanted"} <= data[0].keys()


class Registry:
    """A registry with these versions under every subject."""

    def __init__(self, mode: str | None, *versions: SeenVersion) -> None:
        self._mode, self._versions = mode, versions

    def versions(self, subject: str) -> Sequence[SeenVersion]:
        """Those of the output."""
        return self._versions if subject == "flights.enriched-value" else ()

    def mode(self, subject: str) -> str | None:
        """That of the output."""
        return self._mode if subject == "flights.enriched-value" else None


def test_the_registry_is_held_to_the_files(topology: Topology, files: ContractDirectory) -> None:
    """Versions it lacks, ids that differ, its mode, and versions that only it has."""
    ours = files.catalogue.versions("flights.enriched-value")[1].schema.fingerprint
    same = SeenVersion(version=1, id=7, fingerprint=ours)
    foreign = SeenVersion(version=3, id=8, fingerprint="f" * 64)
    registry = Registry("BACKWARD", same, foreign)

    found = steps(topology, files, cluster(), registry=registry)

    assert [(step.kind, step.target) for step in found] == [
        (Kind.FAULT, "subject flights.enriched-value"),
        (Kind.REGISTER_VERSION, "subject flights-value"),
        (Kind.SET_COMPATIBILITY, "subject flights.enriched-value"),
        (Kind.REGISTER_VERSION, "subject flights.enriched-value"),
        *[(Kind.REGISTER_VERSION, "subject flights.decisions-value")] * 3,
        (Kind.NOTE, "subject flights.enriched-value"),
    ]
    assert "id: 7" in found[0].remedy
    assert (found[2].current, found[2].wanted) == ("BACKWARD", "FULL_TRANSITIVE")


def test_a_subject_without_files_is_a_fault(topology: Topology, files: ContractDirectory) -> None:
    """It names the files to write."""
    found = steps(output(topology, subject="nothing-value"), files, cluster())

    assert [(step.kind, step.target) for step in found] == [(Kind.FAULT, "subject nothing-value")]
    assert "schemas/nothing-value/subject.yaml" in found[0].remedy


def test_a_retention_of_subject_yaml_that_is_none_names_the_file(
    topology: Topology, files: ContractDirectory
) -> None:
    """The topic could not be set to it."""
    folder, about = next(iter(files.files.items()))
    wrong = replace(files, files={folder: about.model_copy(update={"retention": "a while"})})

    with pytest.raises(ContractError, match=r"subject.yaml: retention: not a retention"):
        wants(topology, wrong)


def test_the_keys_of_a_gateway_are_a_topic(topology: Topology, files: ContractDirectory) -> None:
    """Kept by age alone, and as long as a key is remembered."""
    kept = IdempotencyTopic.model_validate({"topic": "keys", "window": "1h", "claim": "1m"})
    served = changed(topology, gateway=WorkerGateway()).model_copy(
        update={"gateway": Gateway(idempotency=kept)}
    )

    (step,) = steps(served, files, cluster())

    assert step.kind is Kind.CREATE_TOPIC
    assert step.target == "topic keys"
    assert step.topic is not None
    assert step.topic.settings["cleanup.policy"] == "delete"
    assert step.topic.settings["retention.ms"] == str(61 * 60_000)
    assert step.topic.partitions == 6
