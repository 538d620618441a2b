"""A feedback loop with its printed rights on a real authorizer: enough to collect, and no more."""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from fastavro import schemaless_writer

from tests.cli.test_cli import workers
from tests.enrich.test_path import batch
from tests.security.place import COLLECTOR, LOOP, PASSWORD, USER, Place, give, needed
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.enrich.path import Enricher
from workers.errors import ClientHalt
from workers.feedback.collect import CollectedState, Collector
from workers.feedback.lake.commits import Log
from workers.feedback.lake.place import open_place
from workers.feedback.opening import Loop, open_loop, sources
from workers.stream.clients import Config, common
from workers.stream.clock import SystemClock
from workers.testing import Sent, produce
from workers.topology import load
from workers.topology.feedback import Lake
from workers.wiring import build_range_reader

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
GRANTS = ("flights.decisions", "flights.outcomes")
"""Topics of the printed commands."""


@pytest.fixture(scope="module")
def commands(
    place: Place, contracts: Catalogue, enricher: Enricher, flights: Sequence[bytes]
) -> list[str]:
    """What is printed for the loop; its topics have records."""
    place.kafka.create_topic("flights.outcomes", 2)
    scored = enricher.enrich(batch([frame(1) + datum for datum in flights[:40]]))
    produce(place.admin, "flights.decisions", [Sent(made[0]) for made in scored.decisions.values()])
    schema = contracts.versions("flights.outcomes-value")[1].schema
    arrival = {"decision_id": "a", "arrival_delay": 42, "landed_at": 1_700_000_900_000}
    stream = io.BytesIO()
    schemaless_writer(stream, schema.parsed, arrival)
    produce(place.admin, "flights.outcomes", [Sent(frame(251) + stream.getvalue())] * 7)

    file = written(place, place.folder / "looped.yaml", "{}", "")
    script = workers("plan", "--output", "acls", "--topology", str(file)).stdout
    _, _, mine = script.partition(f"# feedback loop flights as User:{COLLECTOR}\n")
    found = [line for line in mine.splitlines() if not line.startswith("#")]
    assert len(needed(load(file, {}))) == len(found) + 6
    return found


def written(place: Place, file: Path, security: str, listener: str = "password") -> Path:
    """A topology with a loop."""
    place.topology(file, listener, security)
    file.write_text(file.read_text() + LOOP.format(who=COLLECTOR))
    return file


def loop_as(place: Place, folder: Path, user: str) -> Loop:
    """The loop, run by somebody, with an empty lake."""
    file = written(place, folder / f"{user}.yaml", place.scram(user=user))
    found = open_loop(load(file, {"PASSWORD": PASSWORD}), None)
    lake = open_place(Lake(directory=folder / uuid.uuid4().hex))
    return Loop(found.topology, found.feedback, found.worker, found.model, Log(lake, "flights"))


def collect(loop: Loop) -> CollectedState:
    """What is there."""
    clock = SystemClock()
    with sources(loop, clock) as opened:
        return Collector(loop.feedback, loop.log, clock).collect(opened)


def test_the_printed_rights_collect_and_the_plan_is_content(
    place: Place, tmp_path: Path, commands: list[str]
) -> None:
    """Two commands for the loop, beside the worker's; after them no right is missing."""
    give(place.admin, commands)
    rows = collect(loop_as(place, tmp_path, COLLECTOR)).rows
    file = place.folder / "looped.yaml"
    lacking = workers("plan", "--output", "json", "--topology", str(file)).stdout
    give(place.admin, needed(load(file, {})))
    content = workers("plan", "--output", "json", "--topology", str(file))

    assert rows["outcomes"] == 7
    assert rows["decisions"] >= 40
    assert len(commands) == len(GRANTS)
    assert f"User:{COLLECTOR}" not in lacking
    assert f"User:{USER}" in lacking
    assert (content.returncode, '"steps": []' in content.stdout) == (0, True)


@pytest.mark.parametrize("topic", GRANTS)
def test_each_of_them_is_needed(
    place: Place, tmp_path: Path, commands: list[str], topic: str
) -> None:
    """Without it the collector names the topic and collects nothing of it."""
    give(place.admin, [line for line in commands if f"--topic {topic} " not in f"{line} "])
    loop = loop_as(place, tmp_path, COLLECTOR)

    with pytest.raises(ClientHalt, match=f"no topic {topic}, or does not show it to us"):
        collect(loop)
    assert loop.log.newest().number == 0


def test_the_loop_may_do_nothing_else(place: Place, tmp_path: Path, commands: list[str]) -> None:
    """Not read events, not write what it reads, not join the worker's group, not create."""
    give(place.admin, commands)
    loop = loop_as(place, tmp_path, COLLECTOR)
    client = common(loop.topology.broker, "lou")

    with pytest.raises(ClientHalt, match="no topic flights, or does not show it to us"):
        build_range_reader(loop.topology, loop.worker, "flights")
    for topic in GRANTS:
        assert "TOPIC_AUTHORIZATION_FAILED" in refused_writing(client, topic)
    assert "GROUP_AUTHORIZATION_FAILED" in refused_joining(client, loop.worker.group, GRANTS[0])
    admin = AdminClient(client)
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        admin.create_topics([NewTopic("other", 1, 1)])["other"].result(20)


def refused_writing(client: Config, topic: str) -> str:
    """What the broker says to a record."""
    said: list[str] = []
    producer = Producer({**client, "message.timeout.ms": 20_000})
    producer.produce(topic, b"x", on_delivery=lambda error, _: said.append(str(error)))
    producer.flush(30)
    return said[0]


def refused_joining(client: Config, group: str, topic: str) -> str:
    """What the broker says to a member of the worker's group."""
    consumer = Consumer({**client, "group.id": group})
    try:
        consumer.subscribe([topic])
        errors = (each.error() for each in iter(lambda: consumer.poll(20), None))
        return next((str(error) for error in errors if error is not None), "")
    finally:
        consumer.close()


def test_the_worker_may_not_read_what_its_loop_reads(
    place: Place, tmp_path: Path, commands: list[str]
) -> None:
    """Its own rights let it write decisions, and no more."""
    file = place.folder / "looped.yaml"
    give(place.admin, [line for line in needed(load(file, {})) if line not in commands])

    with pytest.raises(ClientHalt, match=r"flights\.(decisions|outcomes)"):
        collect(loop_as(place, tmp_path, USER))
