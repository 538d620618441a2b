"""`workers sidecar` on Apache Kafka, beside a consumer that was there first."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.cli.test_cli import workers
from tests.conftest import ROOT
from tests.traffic import good
from workers.errors import ExitCode
from workers.operate.look import connect
from workers.operate.sidecar.measure import Watch
from workers.testing import RealKafka, Sender, produce
from workers.testing.kafka import jars
from workers.topology import load

pytestmark = pytest.mark.kafka
TEXT = """\
version: 1
broker: {{bootstrap_servers: "{servers}"}}
contracts: {{directory: {root}/schemas}}
models: {{directory: {root}/models}}
health: null
workers:
  beside:
    mode: sidecar
    input: {{topic: flights.{tag}, subject: flights-value}}
    output: {{topic: scored.{tag}, shape: headers}}
    dead_letter: {{topic: scored.{tag}.dlq}}
    decisions: {{topic: decided.{tag}, subject: flights.decisions-value}}
    model: {{name: flight-delay, version: "1"}}
    group: beside.{tag}
    transactional_id: beside.{tag}
    instance: host
    first_start: earliest
"""


@dataclass
class Original:
    """The system that was there: one produces, one consumes and commits."""

    kafka: RealKafka
    topic: str
    group: str
    records: list[Any]
    read: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._send, self._consume)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def _send(self) -> None:
        sender = Sender(self.kafka.bootstrap_servers)
        while not self._stop.wait(0.05):
            for sent in self.records[:20]:
                sender.send(self.topic, sent)
            sender.flush()

    def _consume(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self.kafka.bootstrap_servers,
                "group.id": self.group,
                "client.id": "billing-1",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        consumer.subscribe([self.topic])
        while not self._stop.is_set():
            got = [m for m in consumer.consume(500, 0.1) if m.error() is None]
            if got:
                consumer.commit(asynchronous=False)
                self.read += len(got)
        consumer.close()

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


@dataclass(frozen=True)
class Place:
    """A sidecar's topology of a test's own, and the system that it stands beside."""

    kafka: RealKafka
    file: Path
    tag: str

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Exit code, and what was said as JSON."""
        done = self.plain(*words, "--output", "json")
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, found

    def plain(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command for people."""
        verb, *rest = words
        return workers("sidecar", verb, "beside", *rest, "--topology", str(self.file))

    def committed(self, group: str, topic: str) -> None:
        """Offsets of a group, as somebody else commits them."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": group})
        consumer.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
        consumer.close()


@pytest.fixture
def place(kafka: RealKafka, tmp_path: Path, flights: list[bytes]) -> Place:
    """The source with some records; the worker's topics made by `workers apply`."""
    tag = uuid.uuid4().hex[:8]
    file = tmp_path / "topology.yaml"
    file.write_text(TEXT.format(servers=kafka.bootstrap_servers, root=ROOT, tag=tag))
    kafka.create_topic(f"flights.{tag}", 2)
    produce(kafka.bootstrap_servers, f"flights.{tag}", good(flights[:100]))
    workers("apply", "--yes", "--topology", str(file))
    return Place(kafka, file, tag)


def by_name(found: dict[str, Any]) -> dict[str, str]:
    """What was found of each proof."""
    return {proof["name"]: proof["finding"] for proof in found["proofs"]}


def test_before_during_and_after_and_gone(place: Place, flights: list[bytes]) -> None:
    """The original reads on in every window; removed, nothing but the worker's own is gone."""
    source = f"flights.{place.tag}"
    with Original(place.kafka, source, f"billing.{place.tag}", good(flights[:100])) as original:
        code, found = place.run("check", "--measure", "2")
        before_removal = original.read
        topics = set(place.kafka.admin.list_topics(timeout=30).topics)
        refused = place.plain("remove")
        gone, removal = place.run("remove", "--yes")
    after = set(place.kafka.admin.list_topics(timeout=30).topics)

    assert (code, found["broken"]) == (ExitCode.OK, False)
    assert [window["name"] for window in found["windows"]] == ["before", "during", "after"]
    for window in found["windows"]:
        (pace,) = window["neighbours"]
        assert pace["group"] == f"billing.{place.tag}"
        assert pace["per_second"] > 0
        assert window["arrived"] > 0
        assert window["arrival"]
        assert window["answers"]
    names = by_name(found)
    assert names["own group"] == names["no commits elsewhere"] == "held"
    assert names["no right to change the source"] == "not proven"
    assert names["as it was after the worker"] == "held"
    assert refused.returncode == ExitCode.DIFFERS
    assert "Nothing was deleted" in refused.stdout
    assert (gone, by_name(removal)) == (ExitCode.OK, {"as it was after the removal": "held"})
    assert topics - after == {
        f"scored.{place.tag}",
        f"scored.{place.tag}.dlq",
        f"decided.{place.tag}",
    }
    assert original.read >= before_removal > 0


def test_every_record_that_arrives_is_timed(place: Place, flights: list[bytes]) -> None:
    """Many at once too: those at their end, of an hour ago, are the slowest."""
    topology, source = load(place.file, {}), f"flights.{place.tag}"
    worker = topology.workers["beside"]
    watch = Watch(connect(topology.broker, "test"), topology.broker, worker, ())
    now, hour = int(time.time() * 1000), 3_600_000
    stamps = [now] * 38_000 + [now - hour] * 2_000
    (one,) = good(flights[:1])
    records = [replace(one, partition=0, timestamp=stamp) for stamp in stamps]
    looks = iter([(), records])

    def burst_after_the_first_look() -> None:
        produce(place.kafka.bootstrap_servers, source, next(looks, ()))

    window = watch.window("burst", 2, burst_after_the_first_look)

    assert window.arrived == len(stamps)
    assert window.arrival is not None
    assert window.arrival[0] < hour <= window.arrival[1]


def test_what_is_not_proven_breaks_a_strict_check(place: Place) -> None:
    """This broker has no authorizer, and says so in words."""
    done = place.plain("check")
    strict = place.plain("check", "--strict")

    assert (done.returncode, strict.returncode) == (ExitCode.OK, ExitCode.DIFFERS)
    assert "no authorizer" in done.stdout
    assert "kafka-configs.sh" in done.stdout


def test_somebody_else_in_its_group_is_found(place: Place, flights: list[bytes]) -> None:
    """The original under the worker's group; and the removal of that group is refused."""
    with Original(
        place.kafka, f"flights.{place.tag}", f"beside.{place.tag}", good(flights[:100])
    ) as original:
        for _ in range(600):
            if original.read:
                break
            threading.Event().wait(0.1)
        code, found = place.run("check")
        removal = place.plain("remove", "--yes")

    assert (code, by_name(found)["own group"]) == (ExitCode.DIFFERS, "broken")
    assert "billing-1" in json.dumps(found["proofs"])
    assert (removal.returncode, "stop the worker first" in removal.stderr) == (7, True)


def test_commits_elsewhere_are_found(place: Place) -> None:
    """Offsets of another topic under the worker's group are somebody's; it is not deleted."""
    place.kafka.create_topic(f"other.{place.tag}", 1)
    place.committed(f"beside.{place.tag}", f"other.{place.tag}")

    code, found = place.run("check")
    removal = place.plain("remove", "--yes")

    assert (code, by_name(found)["no commits elsewhere"]) == (ExitCode.DIFFERS, "broken")
    assert removal.returncode == 7
    assert "is not deleted" in removal.stderr


def test_a_quota_is_seen(place: Place, tmp_path: Path) -> None:
    """As kafka-configs sets it, by the command that the check prints."""
    _, without = place.run("check")
    (remedy,) = [p["remedy"] for p in without["proofs"] if p["name"] == "quotas"]
    words = remedy[remedy.index("--alter") :].partition(" (")[0].split()
    servers = ["--bootstrap-server", place.kafka.bootstrap_servers]
    run = ["java", "-cp", f"{jars()}/*", "kafka.admin.ConfigCommand", *servers]
    subprocess.run([*run, *words], check=True, capture_output=True, timeout=120)
    try:
        _, found = place.run("check")
    finally:
        limits = "consumer_byte_rate,producer_byte_rate"
        who = words[words.index("--entity-type") :]
        subprocess.run(
            [*run, "--alter", "--delete-config", limits, *who], check=True, capture_output=True
        )

    assert by_name(without)["quotas"] == "not proven"
    assert by_name(found)["quotas"] == "held"


def test_a_worker_that_is_no_sidecar_is_told(tmp_path: Path) -> None:
    """Exit code 3, and what to write."""
    done = workers("sidecar", "check", "flight-delays", "--topology", str(ROOT / "topology.yaml"))

    assert (done.returncode, "mode: sidecar" in done.stderr) == (ExitCode.TOPOLOGY, True)
