"""The sample consumer, run as a process on what a real worker wrote."""

from __future__ import annotations

import contextlib
import io
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fastavro
import pytest

from examples.subscriber.consume import schema_text
from examples.subscriber.flights_enriched import SCHEMA, read, schema_id
from tests.conftest import ROOT
from tests.traffic import good
from workers.contracts.catalogue import Catalogue
from workers.enrich.batch import Batch
from workers.enrich.path import Enricher
from workers.testing import (
    Driver,
    EmbeddedBroker,
    OutRecord,
    Reader,
    RealKafka,
    Sent,
    isolated,
    produce,
)
from workers.topology import Topology
from workers.wiring import pick

EVENTS = 200


@contextlib.contextmanager
def registry(contracts: Catalogue) -> Iterator[str]:
    """A server that answers as a registry does for schemas by id; its URL."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = contracts.find(int(self.path.removeprefix("/schemas/ids/")))
            assert found is not None
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"schema": found.schema.text}).encode())

        def log_message(self, *_: object) -> None:
            """Be silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def enriched_twice(
    broker: EmbeddedBroker | RealKafka,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
) -> tuple[str, list[OutRecord]]:
    """A topic on which a worker wrote events, some of which came again, then one event more."""
    top, worker = isolated(topology, pick(topology, None), broker, partitions=1)
    topic, servers = worker.output.topic, broker.bootstrap_servers
    produce(servers, worker.input.topic, good(flights[:EVENTS]))
    with Driver(top, worker, enricher) as driver, Reader(servers, topic) as reader:
        reader.until(lambda seen: len(seen) >= EVENTS)
        again = [Sent(record.value, key=record.key) for record in reader.records[::7]]
        produce(servers, topic, [*again, Sent(None, key=b"gone")])
        produce(servers, worker.input.topic, good(flights[EVENTS : EVENTS + 1]))
        reader.until(lambda seen: len(seen) >= EVENTS + len(again) + 2)
        driver.stop()
        return topic, [*reader.records[:EVENTS], reader.records[-1]]


def consumed(servers: str, topic: str, schemas: str, count: int) -> list[str]:
    """What the sample prints; it is interrupted after so many lines."""
    command = [sys.executable, "-m", "examples.subscriber.consume", servers, topic, schemas]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(count)]
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    return [line.strip() for line in [*lines, *rest.splitlines()]]


def test_the_sample_consumer_prints_each_decision_once(
    broker: EmbeddedBroker | RealKafka,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
) -> None:
    """Duplicates are dropped, a tombstone is passed over."""
    topic, records = enriched_twice(broker, topology, enricher, flights)
    servers = broker.bootstrap_servers
    expected = []
    for record in records:
        assert record.value is not None
        event = read(record.value, SCHEMA)
        expected.append(f"{event.flight_id} {event.enrichment.decision} {event.enrichment.score}")

    from_files = consumed(servers, topic, str(ROOT / "schemas"), EVENTS + 1)
    assert from_files == expected
    assert len(set(expected)) == EVENTS + 1


def test_schemas_come_from_files_or_from_a_registry(contracts: Catalogue) -> None:
    """The third argument is a folder or a URL."""
    with registry(contracts) as url:
        from_registry = schema_text(url, 101)

    assert json.loads(from_registry) == json.loads(schema_text(str(ROOT / "schemas"), 101))


def test_the_generated_classes_read_what_the_worker_writes(
    enricher: Enricher, flights: list[bytes], contracts: Catalogue
) -> None:
    """Every field of real enriched events as fastavro has it, and back to the same bytes."""
    rows = 50
    records = good(flights[:rows])
    batch = Batch(
        topic="flights",
        now=1_700_000_000_000,
        keys=[record.key for record in records],
        values=[record.value for record in records],
        headers=[None] * rows,
        partitions=[0] * rows,
        offsets=list(range(rows)),
        timestamps=[(1, 0)] * rows,
    )
    parsed = fastavro.parse_schema(json.loads(SCHEMA))

    enriched = enricher.enrich(batch).enriched

    assert len(enriched) == rows
    for value in enriched.values():
        assert value is not None
        written = contracts.find(schema_id(value))
        assert written is not None
        event = read(value, written.schema.text)
        assert event.model_dump() == fastavro.schemaless_reader(io.BytesIO(value[5:]), parsed)
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, event.model_dump())
        assert out.getvalue() == value[5:]


@pytest.mark.parametrize("name", ["consume.py", "flights_enriched.py"])
def test_the_sample_needs_no_module_of_ours(name: str) -> None:
    """A subscriber copies two files."""
    text = (ROOT / "examples" / "subscriber" / name).read_text()

    assert not re.search(r"^\s*(from|import) workers", text, re.MULTILINE)
