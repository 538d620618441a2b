"""`workers plan` and `workers apply` against Apache Kafka."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    ConfigResource,
    ResourceType,
)
from ruamel.yaml import YAML

from tests.cli.test_cli import workers
from tests.conftest import ROOT
from tests.operate.test_strimzi import SCHEMAS
from tests.traffic import good
from workers.enrich.path import Enricher
from workers.testing import Driver, Reader, RealKafka, produce
from workers.topology import Topology, Worker, load
from workers.wiring import pick

pytestmark = pytest.mark.kafka


@dataclass(frozen=True)
class Place:
    """A topology of a test's own, on a real broker; `tag` ends the names of its topics."""

    kafka: RealKafka
    file: Path
    tag: str

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command, on this topology."""
        return workers(*words, "--topology", str(self.file))

    def plan(self) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and steps, without those that ask for nothing."""
        done = self.run("plan", "--output", "json")
        found = json.loads(done.stdout)["steps"]
        return done.returncode, [step for step in found if step["doer"]]

    def settings(self, topic: str) -> dict[str, str]:
        """All settings of a topic."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        found = self.kafka.admin.describe_configs([resource])[resource].result(30)
        return {name: entry.value for name, entry in found.items()}

    def partitions(self) -> dict[str, int]:
        """Partitions of every topic of this place."""
        topics = self.kafka.admin.list_topics(timeout=30).topics
        return {n: len(t.partitions) for n, t in topics.items() if n.endswith(self.tag)}


TEXT = """\
version: 1
broker: {{bootstrap_servers: "{servers}"}}
contracts: {{directory: {root}/schemas}}
models: {{directory: {root}/models}}
workers:
  flight-delays:
    input: {{topic: in.{tag}, subject: flights-value}}
    output:
      topic: out.{tag}
      subject: flights.enriched-value
      settings: {{retention: {kept}{more}}}
    dead_letter: {{topic: dlq.{tag}, settings: {{retention: 30d}}}}
    group: {tag}
    transactional_id: {tag}
    model: {{name: flight-delay, version: "1"}}
    first_start: earliest
"""


@pytest.fixture
def place(kafka: RealKafka, tmp_path: Path) -> Place:
    """Input of three partitions, nothing else."""
    found = Place(kafka, tmp_path / "topology.yaml", tmp_path.name.replace("_", "-"))
    write(found)
    kafka.create_topic(f"in.{found.tag}", 3)
    return found


def write(place: Place, *, kept: str = "7d", more: str = "") -> None:
    """Write the topology: how long the output is kept, and more of its settings."""
    servers = place.kafka.bootstrap_servers
    text = TEXT.format(servers=servers, root=ROOT, tag=place.tag, kept=kept, more=more)
    place.file.write_text(text)


def prepared(place: Place) -> tuple[Topology, Worker]:
    """The worker on topics that `apply` made.

    Its output is kept for ever: retention goes by timestamps, and these events are of 2013.
    """
    write(place, kept="forever")
    place.run("apply", "--yes")
    topology = load(place.file, {})
    return topology, pick(topology, None)


def test_plan_apply_plan_ends_with_nothing_to_do(place: Place) -> None:
    """What is missing is created, with the input's size; the second plan and apply do nothing."""
    code, steps = place.plan()

    assert code == 9
    assert [(s["kind"], s["doer"]) for s in steps] == [("create topic", "apply")] * 2
    done = place.run("apply", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("done: create topic") == 2
    assert place.partitions() == {f"{n}.{place.tag}": 3 for n in ("in", "out", "dlq")}
    assert place.settings(f"dlq.{place.tag}")["retention.ms"] == str(30 * 86_400_000)
    assert place.plan() == (0, [])
    again = place.run("apply", "--yes")
    assert (again.returncode, "done:" in again.stdout) == (0, False)


def test_without_yes_nothing_is_changed(place: Place) -> None:
    """The plan is shown, and what would do it."""
    done = place.run("apply")

    assert done.returncode == 9
    assert "Nothing was changed: 2 steps wait for `workers apply --yes`" in done.stdout
    assert place.partitions() == {f"in.{place.tag}": 3}


def test_what_the_cluster_says_becomes_objects_and_values(place: Place) -> None:
    """Strimzi's objects and the chart's values have the size that the input has there."""
    _, worker = prepared(place)
    objects = list(YAML(typ="safe").load_all(place.run("plan", "--output", "strimzi").stdout))
    values = YAML(typ="safe").load(place.run("plan", "--output", "helm").stdout)

    for entry in objects:
        jsonschema.validate(entry, SCHEMAS[entry["kind"]])
    topics = {o["spec"]["topicName"]: o["spec"] for o in objects if o["kind"] == "KafkaTopic"}
    assert {name: spec["partitions"] for name, spec in topics.items()} == {
        worker.output.topic: 3,
        worker.dead_letter.topic: 3,
    }
    assert (values["worker"], values["partitions"], values["keda"]["topic"]) == (
        worker.name,
        3,
        worker.input.topic,
    )
    place.kafka.delete_topic(worker.input.topic)
    refused = place.run("plan", "--output", "helm")
    assert (refused.returncode, "replicas follow its partitions" in refused.stderr) == (7, True)


def test_a_missing_input_is_never_created(place: Place) -> None:
    """It is said, with what to do, and nothing is made."""
    place.kafka.delete_topic(f"in.{place.tag}")
    code, steps = place.plan()

    assert code == 9
    assert {step["kind"] for step in steps} == {"fault"}
    assert "have its owner create it" in steps[0]["remedy"]
    assert place.run("apply", "--yes", "--allow-partitions").returncode == 9
    assert place.partitions() == {}


def test_drifted_settings_are_brought_back_and_no_others(place: Place) -> None:
    """Only what the topology wants: another setting, and the input, stay as people made them."""
    place.run("apply", "--yes")
    out = f"out.{place.tag}"
    place.kafka.set_topic(
        out, retention_ms="60000", max_message_bytes="2000", segment_bytes="1048576"
    )
    place.kafka.set_topic(f"in.{place.tag}", retention_ms="60000")

    code, steps = place.plan()
    done = place.run("apply", "--yes")

    assert code == 9
    assert {(s["setting"], s["current"]) for s in steps} == {
        ("retention.ms", "60000"),
        ("max.message.bytes", "2000"),
    }
    assert done.returncode == 0, done.stdout + done.stderr
    now = place.settings(out)
    assert now["retention.ms"] == str(7 * 86_400_000)
    assert int(now["max.message.bytes"]) > 1_000_000
    assert now["segment.bytes"] == "1048576"
    assert place.settings(f"in.{place.tag}")["retention.ms"] == "60000"


def test_records_are_removed_only_when_allowed(place: Place) -> None:
    """A shorter retention than the topic has takes `--allow-removal`."""
    place.run("apply", "--yes")
    out = f"out.{place.tag}"
    place.kafka.set_topic(out, retention_ms="-1")

    assert place.run("apply", "--yes").returncode == 9
    assert place.settings(out)["retention.ms"] == "-1"
    assert place.run("apply", "--yes", "--allow-removal").returncode == 0
    assert place.settings(out)["retention.ms"] == str(7 * 86_400_000)


def test_partitions_are_added_only_when_allowed(place: Place) -> None:
    """Because the keys move; the plan says so."""
    place.run("apply", "--yes")
    write(place, more=", partitions: 5")

    code, steps = place.plan()
    refused = place.run("apply", "--yes")

    assert code == 9
    assert [(s["current"], s["wanted"], s["doer"]) for s in steps] == [
        ("3", "5", "apply --allow-partitions")
    ]
    assert "key" in steps[0]["risk"]
    assert refused.returncode == 9
    assert place.partitions()[f"out.{place.tag}"] == 3
    assert place.run("apply", "--yes", "--allow-partitions").returncode == 0
    assert place.partitions() == {
        f"in.{place.tag}": 3,
        f"out.{place.tag}": 5,
        f"dlq.{place.tag}": 3,
    }


def test_a_worker_runs_on_what_apply_made(
    place: Place, enricher: Enricher, flights: list[bytes]
) -> None:
    """And its group, once there, is one that the plan has nothing against."""
    topology, worker = prepared(place)
    produce(place.kafka.bootstrap_servers, f"in.{place.tag}", good(flights[:500]))
    with (
        Driver(topology, worker, enricher),
        Reader(place.kafka.bootstrap_servers, f"out.{place.tag}") as reader,
    ):
        reader.until(lambda seen: len(seen) >= 500)
        running = place.plan()

    assert running == (0, [])
    assert place.plan() == (0, [])


def test_offsets_that_retention_overtook_are_a_fault(
    place: Place, enricher: Enricher, flights: list[bytes]
) -> None:
    """Before the worker starts again and stops those partitions."""
    topology, worker = prepared(place)
    source = f"in.{place.tag}"
    produce(place.kafka.bootstrap_servers, source, good(flights[:300]))
    with (
        Driver(topology, worker, enricher),
        Reader(place.kafka.bootstrap_servers, f"out.{place.tag}") as reader,
    ):
        reader.until(lambda seen: len(seen) >= 300)
    produce(place.kafka.bootstrap_servers, source, good(flights[300:1200]))
    for partition in range(3):
        place.kafka.delete_records(source, partition, -1)

    code, steps = place.plan()

    assert code == 9
    assert [step["setting"] for step in steps] == ["committed offsets"]
    assert "retention removed 900 records" in steps[0]["why"]


def test_no_broker_exits_6(tmp_path: Path) -> None:
    """As everywhere."""
    text = TEXT.format(servers="127.0.0.1:1", root=ROOT, tag="t", kept="7d", more="")
    file = tmp_path / "topology.yaml"
    file.write_text(text.replace('"127.0.0.1:1"}', '"127.0.0.1:1", connect_timeout: 1s}'))

    assert workers("plan", "--topology", str(file)).returncode == 6
