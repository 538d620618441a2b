"""`workers offsets` and `workers lag` against Apache Kafka."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.traffic import good
from workers.cli import app
from workers.enrich.path import Enricher
from workers.errors import Halt
from workers.operate.offsets import Move, Place, moves
from workers.testing import Driver, Reader, RealKafka, Sent, isolated
from workers.topology import Topology, Worker
from workers.wiring import pick

HOUR = 3_600_000
NOON = int(datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC).timestamp() * 1000)


def test_a_plan_says_what_is_done_again_and_what_is_skipped() -> None:
    """Of records that are there: what retention removed is neither."""
    found = [Place(0, 50, 0, 100), Place(1, 50, 60, 100), Place(2, None, 10, 30), Place(3, 7, 0, 9)]
    plan = moves(found, {0: 20, 1: 70, 2: 30, 3: 7})
    assert plan == (Move(0, 50, 20, 0, 100), Move(1, 50, 70, 60, 100), Move(2, None, 30, 10, 30))
    assert [(move.again, move.skipped) for move in plan] == [(30, 0), (0, 10), (0, 20)]
    assert [place.lag for place in found] == [50, 40, None, 2]


@dataclass(frozen=True)
class Stand:
    """A worker's topology on a real broker."""

    file: Path
    topology: Topology
    worker: Worker
    servers: str

    def run(self, *words: str) -> tuple[int, Any]:
        """Exit code, and the JSON that is printed."""
        done = CliRunner().invoke(app, [*words, "-t", str(self.file), "--output", "json"])
        code = done.exit_code
        if isinstance(done.exception, Halt):
            # As `main` ends the process.
            code = int(done.exception.exit_code)
        return code, json.loads(done.stdout) if done.stdout else done.stderr

    def reset(self, *words: str) -> tuple[int, dict[int, tuple[Any, ...]]]:
        """Exit code, and the plan by partition: from, to, again, skipped."""
        code, said = self.run("offsets", "reset", self.worker.name, *words)
        if not isinstance(said, dict):
            return code, {}
        listed = {
            move["partition"]: (move["before"], move["after"], move["again"], move["skipped"])
            for move in said["moves"]
        }
        return code, listed

    def committed(self) -> dict[int, int | None]:
        """Where the group stands."""
        said = self.run("offsets", "show", self.worker.name)[1]
        return {part["partition"]: part["committed"] for part in said["partitions"]}


@pytest.fixture(scope="module")
def stand(kafka: RealKafka, topology: Topology, tmp_path_factory: pytest.TempPathFactory) -> Stand:
    """Two partitions."""
    own, worker = isolated(topology, pick(topology, None), kafka, partitions=2)
    file = tmp_path_factory.mktemp("stand") / "topology.yaml"
    file.write_text(f"""
version: 1
broker: {{bootstrap_servers: "{kafka.bootstrap_servers}"}}
contracts: {{directory: {ROOT / "schemas"}}}
models: {{directory: {ROOT / "models"}}}
workers:
  {worker.name}:
    input: {{topic: {worker.input.topic}, subject: flights-value}}
    output: {{topic: {worker.output.topic}, subject: flights.enriched-value}}
    dead_letter: {{topic: {worker.dead_letter.topic}}}
    model: {{name: flight-delay, version: "1"}}
    group: {worker.group}
    first_start: earliest
""")
    return Stand(file, own, worker, kafka.bootstrap_servers)


def in_transactions(stand: Stand, batches: Sequence[Sequence[Sent]]) -> None:
    """Each batch in a transaction of its own: behind it is a marker."""
    producer = Producer(
        {"bootstrap.servers": stand.servers, "transactional.id": f"{stand.worker.group}.test"}
    )
    producer.init_transactions(30)
    for batch in batches:
        producer.begin_transaction()
        for sent in batch:
            producer.produce(
                stand.worker.input.topic,
                sent.value,
                sent.key,
                partition=sent.partition,
                timestamp=sent.timestamp,
            )
        producer.commit_transaction(30)


@pytest.mark.kafka
def test_a_group_is_moved_by_plan(stand: Stand, enricher: Enricher, flights: list[bytes]) -> None:
    """To a time, an offset, an edge; refused while it runs; what it does again it does again."""
    name = stand.worker.name
    rows = good(flights[:20])
    sent = [
        Sent(row.value, row.key, partition=0, timestamp=NOON + n * HOUR)
        for n, row in enumerate(rows)
    ]
    # Offsets 0 to 9 and a marker, 11 to 20 and a marker.
    in_transactions(stand, [sent[:10], sent[10:]])
    assert stand.committed() == {0: None, 1: None}

    with (
        Driver(stand.topology, stand.worker, enricher) as driver,
        Reader(stand.servers, stand.worker.output.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= 20)
        driver.until(lambda: driver.board.snapshot.lag == 0)
        # Nothing behind the last record but a marker.
        view = driver.board.snapshot.partitions[0]
        assert (view.position, view.end) == (21, 22)
        code, said = stand.run("lag", name)
        assert (code, said["lag"]) == (0, 0)
        assert stand.reset("--to", "earliest")[0] == 7
        assert stand.reset("--to", "earliest", "--yes")[0] == 7
    assert stand.committed() == {0: 21, 1: 0}

    # Not of the second transaction: to Kafka a marker is a record of the time it was written.
    time = ("--to-time", "2026-01-01T17:00:00Z")
    assert stand.reset(*time) == (9, {0: (21, 5, 16, 0)})
    assert stand.committed() == {0: 21, 1: 0}
    assert stand.reset(*time, "--yes") == (0, {0: (21, 5, 16, 0)})
    assert stand.committed() == {0: 5, 1: 0}
    assert stand.reset(*time) == (0, {})
    told = stand.run("lag", name)[1]["partitions"][0]
    assert (told["lag"], told["oldest"]) == (17, NOON + 5 * HOUR)

    assert stand.reset("--to", "earliest", "--yes") == (0, {0: (5, 0, 5, 0)})
    assert stand.reset("--to", "latest", "--yes") == (0, {0: (0, 22, 0, 22)})
    assert stand.reset("--to-time", "2036-01-01T00:00:00Z") == (0, {})
    assert stand.reset("--to-offset", "0:11", "--yes") == (0, {0: (22, 11, 11, 0)})

    with (
        Driver(stand.topology, stand.worker, enricher) as driver,
        Reader(stand.servers, stand.worker.output.topic) as reader,
    ):
        reader.until(lambda seen: len(seen) >= 30)
        driver.until(lambda: driver.board.snapshot.lag == 0)
    assert len(reader.records) == 30


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--to-offset", "0:9999"], 7),
        (["--to-offset", "7:0"], 7),
        (["--to-offset", "x:0"], 2),
        (["--to-offset", "0:1", "--to-offset", "0:2"], 2),
        (["--to-offset", "0:1", "--to", "latest"], 2),
        (["--to", "12"], 2),
        (["--to", "yesterday"], 2),
        (["--to-time", "2026-01-01T00:00:00"], 2),
        (["--to-time", "latest"], 2),
        ([], 2),
    ],
)
def test_what_cannot_be_meant_moves_nothing(stand: Stand, words: list[str], code: int) -> None:
    before = stand.committed()
    assert stand.reset(*words, "--yes")[0] == code
    assert stand.committed() == before
