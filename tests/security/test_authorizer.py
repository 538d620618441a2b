"""The ACLs that `workers plan` prints, given to a real authorizer: enough to run with, no more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.test_cli import workers
from tests.security.place import PASSWORD, Place, give, needed
from tests.traffic import good
from workers.enrich.path import Enricher
from workers.errors import ClientHalt, Halt
from workers.stream.ranges import Edge
from workers.testing import Driver, OutRecord, Reader, Sent, produce
from workers.topology import Topology, Worker, load
from workers.wiring import build_range_reader, check_broker, pick

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
GRANTS = {
    "--topic flights ": "TOPIC_AUTHORIZATION_FAILED",
    "--topic flights.enriched ": "TOPIC_AUTHORIZATION_FAILED",
    "--topic flights.decisions ": "TOPIC_AUTHORIZATION_FAILED",
    "--topic flights.dlq ": "TOPIC_AUTHORIZATION_FAILED",
    "--group flight-delays ": "GROUP_AUTHORIZATION_FAILED",
    "--transactional-id flight-delays. ": "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
}
"""What each of the printed commands is about, and what the broker says without it."""
QUICK = """\
stopped_partition_retry: 1s
consumer: {session.timeout.ms: 3000, heartbeat.interval.ms: 500}
"""


@pytest.fixture
def ann(place: Place, tmp_path: Path) -> tuple[Topology, Worker]:
    """The topology as the worker has it: a password over TLS."""
    file = place.topology(tmp_path / "ann.yaml", "password", place.scram(), more=QUICK)
    topology = load(file, {"PASSWORD": PASSWORD})
    return topology, pick(topology, None)


def without(commands: list[str], word: str) -> list[str]:
    """All of them but that one."""
    kept = [line for line in commands if word not in f"{line} "]
    assert len(kept) == len(commands) - 1
    return kept


def test_the_plan_sees_what_is_missing_and_what_is_given(place: Place, admin: Path) -> None:
    """Six commands, no more: after them nothing is left to do."""
    give(place.admin, [])
    before = workers("plan", "--output", "json", "--topology", str(admin))
    commands = [step["remedy"] for step in json.loads(before.stdout)["steps"]]

    give(place.admin, commands)
    after = workers("plan", "--output", "json", "--topology", str(admin))

    assert before.returncode == 9
    script = workers("plan", "--output", "acls", "--topology", str(admin)).stdout
    assert commands == [line for line in script.splitlines() if not line.startswith("#")]
    assert commands == needed(load(admin, {}))
    assert len(commands) == len(GRANTS)
    assert (after.returncode, json.loads(after.stdout)["steps"]) == (0, [])


@pytest.mark.parametrize("word", GRANTS)
def test_a_right_that_is_taken_away_stops_what_needs_it_and_costs_nothing(
    place: Place,
    admin: Path,
    ann: tuple[Topology, Worker],
    enricher: Enricher,
    flights: list[bytes],
    word: str,
) -> None:
    """Under a running worker: it halts, or the partition stops, each by name; then all goes on."""
    topology, worker = ann
    commands = needed(load(admin, {}))
    give(place.admin, commands)
    tag = word.strip("- .").replace(" ", "-").encode()
    with Reader(place.admin, "flights.enriched", "flights.dlq") as reader:
        driver = Driver(topology, worker, enricher).start()
        produce(place.admin, "flights", tagged(flights, tag, 0))
        reader.until(lambda seen: len(of(seen, tag)) >= 40)

        give(place.admin, without(commands, word))
        produce(place.admin, "flights", tagged(flights, tag, 40))
        halted = ended_or_stopped(driver, GRANTS[word])
        give(place.admin, commands)
        if halted:
            driver = Driver(topology, worker, enricher).start()
        reader.until(lambda seen: len(of(seen, tag)) >= 80)
        driver.stop()
        reader.read(1.0)

    assert sorted(of(reader.records, tag)) == list(range(80))


def tagged(flights: list[bytes], tag: bytes, start: int) -> list[Sent]:
    """Forty records, one of them a pill, that say whose they are."""
    records = [*good(flights[:39]), Sent(b"cut", key=b"cut")]
    return [
        Sent(each.value, key=each.key, headers=[("run", b"%s:%d" % (tag, start + number))])
        for number, each in enumerate(records)
    ]


def of(seen: Sequence[OutRecord], tag: bytes) -> list[int]:
    """The numbers of that run's records, in both topics."""
    found = (record.header("run").rpartition(":") for record in seen)
    return [int(number) for run, _, number in found if run == tag.decode()]


def ended_or_stopped(driver: Driver, why: str) -> bool:
    """Has the worker ended? Either way it says why."""
    try:
        driver.until(lambda: bool(driver.loop.stopped_partitions) or driver.ended, 20)
        driver.check()
    except Halt as halt:
        assert why in str(halt)  # noqa: PT017  either may come
        return True
    assert why in str(driver.loop.stopped_partitions)
    return False


def test_each_of_the_acls_is_needed_to_start(
    place: Place, admin: Path, ann: tuple[Topology, Worker], enricher: Enricher
) -> None:
    """Without one of them the worker does not start, and says which."""
    topology, worker = ann
    commands = needed(load(admin, {}))
    for word, code in GRANTS.items():
        give(place.admin, without(commands, word))
        if word.startswith("--topic"):
            with pytest.raises(ClientHalt, match=rf"missing on the cluster.*{word[8:].strip()}"):
                check_broker(topology.broker, worker)
        else:
            with pytest.raises(Halt, match=code):
                Driver(topology, worker, enricher).start().wait()


def test_scoring_a_range_needs_no_right_but_to_read_the_topic(
    place: Place, admin: Path, ann: tuple[Topology, Worker], flights: list[bytes]
) -> None:
    """None on a group; without that one it ends and says so, now and while it reads."""
    topology, worker = ann
    give(
        place.admin, [line for line in needed(load(admin, {})) if "--topic flights " in f"{line} "]
    )
    produce(place.admin, "flights", good(flights[:300]))

    reader, partitions = build_range_reader(topology, worker, "flights")
    try:
        spans = reader.spans(partitions, Edge.EARLIEST, Edge.LATEST)
        read = sum(map(len, reader.read(spans)))
        give(place.admin, [])
        with pytest.raises(ClientHalt, match="TOPIC_AUTHORIZATION_FAILED"):
            list(reader.read(spans))
        with pytest.raises(ClientHalt, match="no topic flights, or does not show it to us"):
            build_range_reader(topology, worker, "flights")
    finally:
        reader.close()
    assert read == sum(map(len, spans)) >= 300


def test_who_may_not_look_is_told_what_was_not_checked(
    place: Place, admin: Path, tmp_path: Path
) -> None:
    """The worker's own principal cannot read settings and ACLs: neither passed nor differing."""
    give(place.admin, needed(load(admin, {})))
    file = place.topology(tmp_path / "ann.yaml", "password", place.scram())
    done = workers("plan", "--output", "json", "--topology", str(file), PASSWORD=PASSWORD)

    steps = json.loads(done.stdout)["steps"]
    assert done.returncode == 9
    assert {step["kind"] for step in steps} == {"fault", "warning"}
    assert any("ACLs: Describe on the cluster" in step["why"] for step in steps)
    assert any("settings of topic flights.enriched" in step["why"] for step in steps)
    assert PASSWORD not in done.stdout + done.stderr


def test_the_doctor_says_why_a_broker_lets_nobody_in(
    place: Place, admin: Path, tmp_path: Path
) -> None:
    """A wrong password is a fault with the client's own words; missing rights are named."""
    give(place.admin, needed(load(admin, {})))
    file = place.topology(tmp_path / "ann.yaml", "password", place.scram())
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
