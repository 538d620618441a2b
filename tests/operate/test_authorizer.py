"""The ACLs that `workers plan` prints, given to a real authorizer, are enough to run with."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.cli.test_cli import workers
from tests.conftest import ROOT
from tests.traffic import good
from workers.enrich.path import Enricher
from workers.errors import ClientHalt, Halt
from workers.stream.ranges import Edge
from workers.testing import Driver, Reader, RealKafka, Sent, produce
from workers.testing.kafka import LocalProcess
from workers.topology import FirstStart, Topology, Worker, load
from workers.wiring import build_range_reader, check_broker, pick

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
PASSWORD = "only-for-this-test"  # noqa: S105  of a broker that lives as long as the test
SECURED = """\
  security:
    protocol: SASL_PLAINTEXT
    sasl: {mechanism: PLAIN, username: ann, password: "${PASSWORD}"}
"""
TEXT = """\
version: 1
broker:
  bootstrap_servers: {servers}
{security}
contracts: {{directory: {root}/schemas}}
models: {{directory: {root}/models}}
workers:
  flight-delays:
    input: {{topic: flights}}
    output: {{topic: flights.enriched, settings: {{retention: forever}}}}
    dead_letter: {{topic: flights.dlq, settings: {{retention: forever}}}}
    decisions: {{topic: flights.decisions, settings: {{retention: forever}}}}
    model: {{name: flight-delay, version: "1"}}
    principal: User:ann
    instance: host-1
    first_start: earliest
"""


@pytest.fixture(scope="module")
def secured() -> Iterator[LocalProcess]:
    """A broker with an authorizer, and a user that may do nothing yet."""
    server = LocalProcess(users={"ann": PASSWORD})
    with RealKafka(server) as kafka:
        kafka.create_topic("flights", 2)
        yield server


@pytest.fixture
def admin(secured: LocalProcess, tmp_path: Path) -> Path:
    """The topology as the super user has it, its topics made."""
    file = write(tmp_path / "admin.yaml", secured.bootstrap_servers, "")
    workers("apply", "--yes", "--topology", str(file))
    return file


@pytest.fixture
def ann(secured: LocalProcess, tmp_path: Path) -> tuple[Topology, Worker]:
    """The topology as the worker has it."""
    topology = load(
        write(tmp_path / "ann.yaml", secured.secured_servers, SECURED), {"PASSWORD": PASSWORD}
    )
    return topology, pick(topology, None)


def write(file: Path, servers: str, security: str) -> Path:
    """Write a topology."""
    file.write_text(TEXT.format(servers=servers, security=security, root=ROOT))
    return file


def binding(line: str) -> list[AclBinding]:
    """What kafka-acls makes of a printed command: one binding an operation."""
    words = shlex.split(line)
    assert words[0] == "kafka-acls.sh"
    options = list(itertools.pairwise(words))
    found = {name: value for name, value in options if name.startswith("--")}
    name, kind = next(
        (found[f"--{kind.name.lower().replace('_', '-')}"], kind)
        for kind in (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID)
        if f"--{kind.name.lower().replace('_', '-')}" in found
    )
    prefixed = found.get("--resource-pattern-type") == "prefixed"
    return [
        AclBinding(
            kind,
            name,
            ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL,
            found["--allow-principal"],
            "*",
            AclOperation[operation.upper()],
            AclPermissionType.ALLOW,
        )
        for option, operation in options
        if option == "--operation"
    ]


def give(servers: str, lines: list[str]) -> None:
    """Run the commands, and no others: what ann had before is taken away."""
    client = AdminClient({"bootstrap.servers": servers})
    every = AclBindingFilter(
        ResourceType.ANY,
        None,  # type: ignore[arg-type]
        ResourcePatternType.ANY,
        "User:ann",
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    client.delete_acls([every])[every].result(30)
    bindings = [made for line in lines for made in binding(line)]
    for future in client.create_acls(bindings).values() if bindings else ():
        future.result(30)


def printed(file: Path) -> list[str]:
    """The commands that `workers plan --output acls` prints."""
    done = workers("plan", "--output", "acls", "--topology", str(file))
    return [line for line in done.stdout.splitlines() if not line.startswith("#")]


def test_the_printed_acls_suffice(
    secured: LocalProcess,
    admin: Path,
    ann: tuple[Topology, Worker],
    enricher: Enricher,
    flights: list[bytes],
) -> None:
    """Missing, then given: the plan sees both, and a worker runs exactly once with them alone."""
    topology, worker = ann
    servers = secured.bootstrap_servers
    give(servers, [])
    before = workers("plan", "--output", "json", "--topology", str(admin))
    commands = [step["remedy"] for step in json.loads(before.stdout)["steps"]]

    give(servers, commands)
    after = workers("plan", "--output", "json", "--topology", str(admin))

    assert before.returncode == 9
    assert commands == printed(admin)
    assert len(commands) == 6
    assert (after.returncode, json.loads(after.stdout)["steps"]) == (0, [])
    check_broker(topology.broker, worker)
    produce(servers, "flights", [*good(flights[:300]), Sent(b"cut")])
    with (
        Driver(topology, worker, enricher) as driver,
        Reader(servers, "flights.enriched") as reader,
        Reader(servers, "flights.decisions") as decisions,
        Reader(servers, "flights.dlq") as letters,
    ):
        reader.until(lambda seen: len(seen) >= 300)
        decisions.until(lambda seen: len(seen) >= 300)
        letters.until(lambda seen: len(seen) >= 1)
        driver.check()


def test_each_of_the_acls_is_needed(
    secured: LocalProcess, admin: Path, ann: tuple[Topology, Worker], enricher: Enricher
) -> None:
    """Without the transactional id, or the group, the worker stops and says so."""
    topology, worker = ann
    commands = printed(admin)
    for word, code in (
        ("--transactional-id", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
        ("--group", "GROUP_AUTHORIZATION_FAILED"),
    ):
        give(secured.bootstrap_servers, [line for line in commands if word not in line])
        with pytest.raises(Halt, match=code):
            Driver(topology, worker, enricher).start().wait()
    for word in ("--topic flights ", "--topic flights.enriched", "--topic flights.dlq"):
        kept = [line for line in commands if word not in f"{line} "]
        give(secured.bootstrap_servers, kept)
        with pytest.raises(ClientHalt, match="missing on the cluster"):
            check_broker(topology.broker, worker)


def test_a_right_that_is_taken_away_stops_what_needs_it_until_it_is_given_back(
    secured: LocalProcess,
    admin: Path,
    ann: tuple[Topology, Worker],
    enricher: Enricher,
    flights: list[bytes],
) -> None:
    """A dead letter that may not be written: its partition stops and says so, the other goes on."""
    topology, plain = ann
    own = {"group": "taken-away", "first_start": FirstStart.LATEST}
    worker = plain.model_copy(update={**own, "stopped_partition_retry": 1.0})
    servers = secured.bootstrap_servers
    commands = [
        line.replace("--group flight-delays", "--group taken-away") for line in printed(admin)
    ]
    give(servers, commands)
    with (
        Driver(topology, worker, enricher) as driver,
        Reader(servers, "flights.enriched") as reader,
        Reader(servers, "flights.dlq") as letters,
    ):
        driver.until(lambda: len(driver.loop.partitions) == 2)
        reader.read(1.0)
        letters.read(0.5)
        before, dead = len(reader.records), len(letters.records)
        give(servers, [line for line in commands if "--topic flights.dlq" not in line])
        produce(servers, "flights", [Sent(b"cut", partition=0)])
        produce(servers, "flights", [replace(r, partition=1) for r in good(flights[:50])])
        driver.until(lambda: 0 in driver.loop.stopped_partitions)
        assert "TOPIC_AUTHORIZATION_FAILED" in driver.loop.stopped_partitions[0]
        reader.until(lambda seen: len(seen) >= before + 50)
        letters.read(0.5)
        assert len(letters.records) == dead
        give(servers, commands)
        letters.until(lambda seen: len(seen) >= dead + 1)
        assert letters.records[-1].value == b"cut"


def test_scoring_a_range_needs_no_right_but_to_read_the_topic(
    secured: LocalProcess, admin: Path, ann: tuple[Topology, Worker], flights: list[bytes]
) -> None:
    """None on a group; without that one it ends and says so, now and while it reads."""
    topology, worker = ann
    servers = secured.bootstrap_servers
    give(servers, [line for line in printed(admin) if "--topic flights " in f"{line} "])
    produce(servers, "flights", good(flights[:300]))

    reader, partitions = build_range_reader(topology, worker, "flights")
    try:
        spans = reader.spans(partitions, Edge.EARLIEST, Edge.LATEST)
        read = sum(map(len, reader.read(spans)))
        give(servers, [])
        with pytest.raises(ClientHalt, match="TOPIC_AUTHORIZATION_FAILED"):
            list(reader.read(spans))
        with pytest.raises(ClientHalt, match="no topic flights, or does not show it to us"):
            build_range_reader(topology, worker, "flights")
    finally:
        reader.close()
    assert read == sum(map(len, spans)) >= 300


def test_who_may_not_look_is_told_what_was_not_checked(
    secured: LocalProcess, admin: Path, tmp_path: Path
) -> None:
    """The worker's own principal cannot read settings and ACLs: neither passed nor differing."""
    give(secured.bootstrap_servers, printed(admin))
    file = write(tmp_path / "ann.yaml", secured.secured_servers, SECURED)
    done = workers("plan", "--output", "json", "--topology", str(file), PASSWORD=PASSWORD)

    steps = json.loads(done.stdout)["steps"]
    assert done.returncode == 9
    assert {step["kind"] for step in steps} == {"fault", "warning"}
    assert any("ACLs: Describe on the cluster" in step["why"] for step in steps)
    assert any("settings of topic flights.enriched" in step["why"] for step in steps)
    assert PASSWORD not in done.stdout + done.stderr


def test_the_doctor_says_why_a_broker_lets_nobody_in(
    secured: LocalProcess, admin: Path, tmp_path: Path
) -> None:
    """A wrong password is a fault with the client's own words; missing rights are named."""
    give(secured.bootstrap_servers, printed(admin))
    file = write(tmp_path / "ann.yaml", secured.secured_servers, SECURED)
    file.write_text(file.read_text().replace("\n  security", "\n  connect_timeout: 5s\n  security"))
    words = ("doctor", "--output", "json", "--topology", str(file))
    wrong = workers(*words, PASSWORD="wrong")  # noqa: S106  so that it is none
    right = workers(*words, PASSWORD=PASSWORD)

    found = {each["check"]: each for each in json.loads(wrong.stdout)["findings"]}
    assert (wrong.returncode, found["brokers"]["severity"]) == (9, "fault")
    assert "uthentication failed" in found["brokers"]["what"]
    assert "wrong" not in wrong.stdout
    told = json.loads(right.stdout)["findings"]
    assert [each["severity"] for each in told if each["check"] == "brokers"] == ["ok"]
    assert any("could not be read" in each["what"] for each in told if each["check"] == "acls")
