"""Dead letters found, understood and replayed by the command, on both brokers."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import pytest
from typer.testing import CliRunner, Result

from tests.conftest import ROOT
from tests.traffic import good, ids
from workers.cli import app
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import Header, frame
from workers.testing import Driver, EmbeddedBroker, Reader, RealKafka, Sent, produce
from workers.topology import Topology, Worker, load
from workers.wiring import build_enricher, pick, topics_of

AnyBroker = EmbeddedBroker | RealKafka
SECRET = "N-Ada-1815"  # noqa: S105  content, no password
TRANSFORMS = """
transforms:
  capped: {sql: {departure_delay: "LEAST(departure_delay, 1000)"}}
  broken: {python: "tests.deadletters.test_commands:eaten"}
  renamed: {python: "tests.deadletters.test_commands:renamed"}
"""


def eaten(record: dict[str, Any]) -> dict[str, Any]:
    """Fail, with content in the text."""
    raise ValueError(f"cannot {record}")


def renamed(record: dict[str, Any]) -> dict[str, Any]:
    """Put a delay right."""
    return {**record, "departure_delay": 3}


@dataclass
class Rig:
    """A worker with a ledger, on topics of its own."""

    file: Path
    topology: Topology
    worker: Worker
    servers: str

    def dlq(self, *arguments: str) -> Result:
        """`workers dlq …`."""
        return CliRunner().invoke(app, ["dlq", *arguments, "-t", str(self.file)])

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        """`workers dlq list`, as JSON."""
        done = self.dlq("list", *arguments, "-o", "json")
        assert done.exit_code == 0, done.output
        return [json.loads(line) for line in done.stdout.splitlines()]

    def run(self, sent: list[Sent], dead: int, enriched: int) -> None:
        """The worker until so many of each are there."""
        produce(self.servers, self.worker.input.topic, sent)
        enricher = build_enricher(self.topology, self.worker)
        with (
            Driver(self.topology, self.worker, enricher),
            Reader(self.servers, self.worker.dead_letter.topic) as letters,
            Reader(self.servers, self.worker.output.topic) as events,
        ):
            letters.until(lambda seen: len(seen) >= dead)
            events.until(lambda seen: len(seen) >= enriched)

    def enriched(self, count: int) -> Reader:
        """What the output topic has, once there are so many."""
        with Reader(self.servers, self.worker.output.topic) as events:
            events.until(lambda seen: len(seen) >= count)
            events.read(0.3)
            return events


@pytest.fixture
def rig(embedded: EmbeddedBroker, tmp_path: Path) -> Rig:
    """On the embedded broker."""
    return made(embedded, tmp_path)


@pytest.fixture
def either(broker: AnyBroker, tmp_path: Path) -> Rig:
    """On both brokers, one after the other."""
    return made(broker, tmp_path)


def made(broker: AnyBroker, tmp_path: Path) -> Rig:
    """The demo's worker, exactly once."""
    tag, text = uuid.uuid4().hex[:8], (ROOT / "topology.yaml").read_text()
    for topic in ("flights", "flights.enriched", "flights.decisions"):
        text = text.replace(f"topic: {topic}}}", f"topic: {topic}.{tag}, subject: {topic}-value}}")
    text = text.replace(
        "{topic: flights.dlq}", f"{{topic: dlq.{tag}, ledger: {{topic: ledger.{tag}}}}}"
    )
    embedded = isinstance(broker, EmbeddedBroker)
    session, checked = (1500, "false") if embedded else (6000, "true")
    text = text.replace(
        "first_start: earliest",
        f"first_start: earliest\n    group: g.{tag}\n    transactional_id: t.{tag}\n"
        f"    consumer: {{session.timeout.ms: {session}, heartbeat.interval.ms: 500, "
        f"check.crcs: {checked}}}",
    )
    for name in ("schemas", "models"):
        text = text.replace(f"directory: {name}", f"directory: {ROOT / name}")
    text = text.replace("${KAFKA_BOOTSTRAP_SERVERS:-127.0.0.1:9092}", broker.bootstrap_servers)
    file = tmp_path / "topology.yaml"
    file.write_text(text + TRANSFORMS)
    topology = load(file, {})
    worker = pick(topology, None)
    for topic in topics_of(worker).values():
        broker.create_topic(topic, 4)
    return Rig(file, topology, worker, broker.bootstrap_servers)


def changed(contracts: Catalogue, datum: bytes, **fields: Any) -> bytes:
    """A real event with these fields."""
    schema = contracts.versions("flights-value")[1].schema
    event: Any = fastavro.schemaless_reader(io.BytesIO(datum), schema.parsed, None)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema.parsed, {**event, **fields})
    return out.getvalue()


def late(contracts: Catalogue, datum: bytes) -> bytes:
    """An event whose delay is out of the model's range."""
    return frame(1) + changed(contracts, datum, departure_delay=20_000, tailnum=SECRET)


def test_dead_letters_are_listed_shown_grouped_and_exported(
    rig: Rig, flights: list[bytes], contracts: Catalogue, tmp_path: Path
) -> None:
    """No content unless it is asked for; every byte in the export."""
    sent = [Sent(late(contracts, flights[n]), b"k%d" % n, partition=0) for n in range(5)]
    bad = Sent(frame(1) + b"\xff" + SECRET.encode(), b"key", [("own", b"\xfe")], partition=1)
    rig.run([*sent, bad, *good(flights[:3])], dead=6, enriched=3)

    listed = rig.listed()
    assert sorted(row["code"] for row in listed) == ["malformed", *["range"] * 5]
    assert {row["state"] for row in listed} == {"open"}
    one = [
        json.loads(x)
        for x in rig.dlq("list", "--code", "malformed", "-o", "json").stdout.split("\n")
        if x
    ]
    assert [row["origin"] for row in one] == [f"{rig.worker.input.topic}:1:0"]
    groups = [json.loads(line) for line in rig.dlq("stats", "-o", "json").stdout.splitlines()]
    assert [group["count"] for group in groups] == [5, 1]

    place = next(row["place"] for row in listed if row["code"] == "range")
    masked = rig.dlq("show", place)
    assert masked.exit_code == 0, masked.output
    assert SECRET not in masked.output
    assert json.loads(masked.stdout)["value"]["record"]["tailnum"] == "••• (10 characters)"
    told = json.loads(rig.dlq("show", place, "--unmasked").stdout)
    assert told["value"]["record"]["tailnum"] == SECRET

    file = tmp_path / "out.jsonl"
    assert rig.dlq("export", "--code", "malformed", "--to", str(file)).exit_code == 0
    (line,) = [json.loads(each) for each in file.read_text().splitlines()]
    assert base64.b64decode(line["value"]) == bad.value
    assert line["headers"][0] == ["own", base64.b64encode(b"\xfe").decode()]


def test_what_passes_today_is_replayed_once(
    either: Rig, flights: list[bytes], contracts: Catalogue
) -> None:
    """To the worker's outputs, with the decision id, key and timestamp of the first try."""
    rig = either
    sent = [
        Sent(late(contracts, flights[n]), b"k%d" % n, [("own", b"1")], 1_700_000_000_000 + n, 0)
        for n in range(5)
    ]
    rig.run([*sent, *good(flights[:3])], dead=5, enriched=3)

    said = rig.dlq("replay", "--why", "try", "--yes")
    assert "0 replayed; 5 fail still" in said.stdout, said.output
    dry = rig.dlq("replay", "--why", "capped", "--transform", "capped")
    assert "5 would pass; 0 fail still" in dry.stdout
    assert "Nothing was published" in dry.stdout
    assert len(rig.enriched(3).records) == 3

    done = rig.dlq("replay", "--why", "capped", "--transform", "capped", "--rate", "500", "--yes")
    assert "5 replayed; 0 fail still" in done.stdout, done.output
    assert "Order per key is not kept" in done.stdout
    again = rig.dlq("replay", "--why", "again", "--transform", "capped", "--yes")
    assert "5 left out: replayed before" in again.stdout

    found = rig.enriched(8).records
    names = ids(found, contracts)
    assert len(names) == len(set(names)) == 8
    replayed = [
        record
        for record in found
        if record.key and record.key.startswith(b"k") and not record.key.startswith(b"key-")
    ]
    stem = f"{rig.worker.known_as}:{rig.worker.input.topic}:0:"
    assert sorted(ids(replayed, contracts)) == [f"{stem}{n}" for n in range(5)]
    assert {record.timestamp[1] for record in replayed} == {1_700_000_000_000 + n for n in range(5)}
    assert all(record.headers == [("own", b"1")] for record in replayed)
    listed = [
        json.loads(x) for x in rig.dlq("list", "--settled", "-o", "json").stdout.split("\n") if x
    ]
    assert {(row["state"], row["attempts"]) for row in listed} == {("replayed", 2)}
    assert not rig.listed()


def test_a_letter_is_tried_so_often_and_no_more(
    rig: Rig, flights: list[bytes], contracts: Catalogue
) -> None:
    """Until somebody opens it again; who and why is kept."""
    rig.run([Sent(late(contracts, flights[0]), b"k")], dead=1, enriched=0)

    for _ in range(2):
        rig.dlq("replay", "--why", "hope", "--attempts", "2", "--yes")
    third = rig.dlq("replay", "--why", "hope", "--attempts", "2", "--yes")
    assert "1 left out: tried 2 times" in third.stdout
    rig.dlq("resolve", "--reopen", "--why", "not settled, so nothing to reopen", "--yes")

    assert (
        "1 resolved" in rig.dlq("resolve", "--why", "nothing to do", "--who", "ada", "--yes").stdout
    )
    (row,) = [
        json.loads(x) for x in rig.dlq("list", "--settled", "-o", "json").stdout.split("\n") if x
    ]
    assert row["state"] == "resolved"
    history = json.loads(rig.dlq("show", row["place"]).stdout)["history"]
    assert [each["done"] for each in history] == ["failed", "failed", "resolved"]
    assert (history[-1]["who"], history[-1]["why"]) == ("ada", "nothing to do")
    assert "1 reopened" in rig.dlq("resolve", "--reopen", "--why", "after all", "--yes").stdout
    assert "1 fail still" in rig.dlq("replay", "--why", "hope", "--yes").stdout


@pytest.mark.parametrize(("name", "passes"), [("renamed", 1), ("broken", 0)])
def test_a_python_transform_repairs_or_is_said_to_fail(
    name: str, passes: int, rig: Rig, flights: list[bytes], contracts: Catalogue
) -> None:
    """Its error's text, which may hold content, is not repeated."""
    rig.run([Sent(late(contracts, flights[0]), b"k")], dead=1, enriched=0)

    said = rig.dlq("replay", "--why", "w", "--transform", name)

    assert f"{passes} would pass" in said.stdout, said.output
    assert SECRET not in said.output
    if not passes:
        assert "1 the transform fails: ValueError" in said.stdout


def test_forged_letters_are_not_replayed(rig: Rig, flights: list[bytes]) -> None:
    """Of another worker, of another topic, of nowhere: listed, left out."""
    value = frame(1) + flights[0]

    def forged(worker: str, topic: str) -> list[tuple[str, bytes | None]]:
        named = {"topic": topic, "partition": "0", "offset": "5"}
        said = [(f"__connect.errors.{n}", v.encode()) for n, v in named.items()]
        return [*said, ("__workers.worker", worker.encode())]

    mine, topic = rig.worker.name, rig.worker.input.topic
    produce(
        rig.servers,
        rig.worker.dead_letter.topic,
        [
            Sent(value, b"k", forged("other", topic)),
            Sent(value, b"k", forged(mine, "elsewhere")),
            Sent(value, b"k", []),
        ],
    )

    said = rig.dlq("replay", "--why", "w", "--yes")

    assert "0 replayed; 0 fail still" in said.stdout, said.output
    assert "2 left out: not this worker's" in said.stdout
    assert "1 left out: of another input topic" in said.stdout


def test_what_ended_a_process_is_replayed_only_by_its_name(rig: Rig, flights: list[bytes]) -> None:
    """It would end the replay too: whoever asks for it knows."""
    headers = {
        "__connect.errors.topic": rig.worker.input.topic,
        "__connect.errors.partition": "0",
        "__connect.errors.offset": "5",
        "__workers.worker": rig.worker.name,
        "__workers.verdict": "crash",
        "__workers.code": "process_ended",
    }
    said: list[Header] = [(name, text.encode()) for name, text in headers.items()]
    letter = Sent(frame(1) + flights[0], b"k", said)
    produce(rig.servers, rig.worker.dead_letter.topic, [letter])

    every = rig.dlq("replay", "--why", "all of them")
    named = rig.dlq("replay", "--why", "that one", "--verdict", "crash")

    assert "1 left out: it ended a process" in every.stdout, every.output
    assert "1 would pass" in named.stdout, named.output


def test_a_probe_says_each_stage(rig: Rig, flights: list[bytes], contracts: Catalogue) -> None:
    """Of a dead letter and of a record of the input; nothing is written anywhere."""
    rig.run(
        [
            Sent(late(contracts, flights[0]), b"k", partition=0),
            Sent(frame(1) + flights[1], partition=2),
        ],
        dead=1,
        enriched=1,
    )
    (row,) = rig.listed()

    failed = rig.dlq("probe", row["place"])
    passed = rig.dlq("probe", f"{rig.worker.input.topic}[2]@0", "--unmasked")
    missing = rig.dlq("probe", f"{rig.worker.input.topic}[2]@5")

    assert failed.exit_code == 9
    stages = [line[:4].strip() for line in failed.stdout.splitlines()]
    assert stages == ["ok", "ok", "ok", "FAIL", "FAIL"]
    assert "verdict: feature range" in failed.stdout
    assert SECRET not in failed.output
    assert passed.exit_code == 0, passed.output
    assert re.search(r"score of flight-delay 1: 0\.\d+, \w+$", passed.stdout, re.MULTILINE)
    assert missing.exit_code != 0
    assert len(rig.enriched(1).records) == 1


@pytest.mark.kafka
def test_a_replay_that_is_killed_is_taken_up_where_it_was(
    kafka: RealKafka, flights: list[bytes], contracts: Catalogue, tmp_path: Path
) -> None:
    """Three times killed, then let through: each once."""
    found = made(kafka, tmp_path)
    count = 1500
    sent = [Sent(late(contracts, flights[n]), b"k%d" % n) for n in range(count)]
    worker = found.worker.model_copy(update={"breaker": None})
    found.worker = worker
    found.run(sent, dead=count, enriched=0)
    command = [
        sys.executable,
        "-m",
        "workers",
        "dlq",
        "replay",
        "--why",
        "w",
        "--transform",
        "capped",
        "--rate",
        "400",
        "--yes",
        "-t",
        str(found.file),
    ]
    process: Any = {"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}

    with Reader(found.servers, worker.output.topic) as events:
        for killed in range(3):
            child = subprocess.Popen(command, stderr=subprocess.PIPE, **process)
            before = len(events.records)
            deadline = time.monotonic() + 60
            while len(events.records) <= before and time.monotonic() < deadline:
                events.read(0.05)
            child.send_signal(signal.SIGKILL)
            _, said = child.communicate()
            assert len(events.records) > before, (killed, said.decode())
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, **process
        )
        assert done.returncode == 0, done.stderr
        events.until(lambda seen: len(seen) >= count)
        events.read(1.0)

    assert len(events.records) == len(set(ids(events.records, contracts))) == count
