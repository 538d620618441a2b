"""The same events get the same decisions, bit for bit, whichever door they come by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import httpx2
import numpy as np
import pyarrow as pa

from tests.gateway.conftest import PATH, Json
from tests.traffic import GOOD, good
from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import Decoder
from workers.contracts.framing import PREFIX
from workers.offline.files import write_container
from workers.offline.score import score_file
from workers.testing import Driver, EmbeddedBroker, GatewayDriver, Reader, produce
from workers.topology import Topology
from workers.topology.gateway import Caller
from workers.wiring import build_enricher, build_path

COUNT = 300
DIFFER = ("decision_id", "scored_at")
"""Where an event came from, and when it was scored."""


def bits(blocks: list[Json]) -> list[Json]:
    """What must be the same; scores as their bits."""
    return [
        {
            name: np.float64(value).tobytes() if name == "score" else value
            for name, value in block.items()
            if name not in DIFFER
        }
        for block in blocks
    ]


def blocks_of(records: list[bytes], contracts: Catalogue) -> list[Json]:
    """Decision records, read."""
    schema = contracts.versions("flights.decisions-value")[2].schema
    table: pa.RecordBatch = Decoder(schema).decode([r[PREFIX:] for r in records]).table
    found: list[Json] = table.to_pylist()
    return found


def offline(topology: Topology, contracts: Catalogue, flights: list[bytes], folder: Path) -> Any:
    """The blocks that `workers score` writes."""
    source, target = folder / "events.avro", folder / "scored.avro"
    schema = contracts.versions("flights-value")[1].schema
    write_container(source, schema, flights)
    with build_path(topology, next(iter(topology.workers.values()))) as path:
        score_file(path, source, target, now=0)
    with target.open("rb") as opened:
        return [event["enrichment"] for event in fastavro.reader(opened)]


def test_every_door_decides_the_same(
    embedded: EmbeddedBroker,
    gateway_topology: Callable[..., Topology],
    client: Callable[[GatewayDriver], httpx2.Client],
    contracts: Catalogue,
    flights: list[bytes],
    events: list[Json],
    tmp_path: Path,
) -> None:
    """The stream, JSON and Avro by HTTP, one by one and in lists, and a file; and what is logged is
    what is answered.
    """
    topology = gateway_topology(embedded, settings={"reasons": "always"}, partitions=1)
    worker = topology.workers["flight-delays"]
    assert worker.decisions is not None
    some = flights[:COUNT]

    with GatewayDriver(topology) as gateway:
        asking = client(gateway)
        many = asking.post(PATH, json=events[:COUNT])
        frames = [GOOD + datum for datum in some]
        packed = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
        avro = asking.post(
            PATH, content=packed, headers={"Content-Type": "application/avro; events=many"}
        )
        one = asking.post(PATH, json=events[0])
        binary = asking.post(PATH, content=frames[1], headers={"Content-Type": "application/avro"})
    with Reader(embedded.bootstrap_servers, worker.decisions.topic) as reader:
        logged = [r.value or b"" for r in reader.until(lambda r: len(r) >= 2 * COUNT + 2)]
    moved = worker.model_copy(update={"gateway": None})
    produce(embedded.bootstrap_servers, worker.input.topic, good(some))
    with Driver(topology, moved, build_enricher(topology, moved)) as driver:
        driver.until(lambda: driver.journal.counts.enriched >= COUNT)
    with Reader(embedded.bootstrap_servers, worker.decisions.topic) as reader:
        streamed = [r.value or b"" for r in reader.until(lambda r: len(r) >= 3 * COUNT + 2)]
    streamed = streamed[2 * COUNT + 2 :]

    by_json = [outcome["enrichment"] for outcome in many.json()["outcomes"]]
    expected = bits(blocks_of(streamed, contracts))
    assert len(expected) == COUNT
    assert bits(by_json) == expected
    assert bits([outcome["enrichment"] for outcome in avro.json()["outcomes"]]) == expected
    assert bits([one.json()["enrichment"], binary.json()["enrichment"]]) == expected[:2]
    assert bits(offline(topology, contracts, some, tmp_path)) == expected
    assert bits(blocks_of(logged, contracts))[:COUNT] == expected
    ids = [block["decision_id"] for block in blocks_of(logged, contracts)]
    assert ids[:COUNT] == [block["decision_id"] for block in by_json]
    assert len(set(ids)) == 2 * COUNT + 2


def test_a_record_s_key_is_a_field_of_its_event(
    embedded: EmbeddedBroker,
    gateway_topology: Callable[..., Topology],
    client: Callable[[GatewayDriver], httpx2.Client],
    flights: list[bytes],
    events: list[Json],
) -> None:
    """As JSON and as Avro, so that a canary takes the same ones by every door."""
    topology = gateway_topology(embedded, settings={"key": "flight_id"})
    worker = topology.workers["flight-delays"]
    assert worker.decisions is not None
    with GatewayDriver(topology) as gateway:
        asking = client(gateway)
        assert asking.post(PATH, json=events[0]).status_code == 200
        media = {"Content-Type": "application/avro"}
        assert asking.post(PATH, content=GOOD + flights[1], headers=media).status_code == 200
    with Reader(embedded.bootstrap_servers, worker.decisions.topic) as reader:
        keys = {record.key for record in reader.until(lambda read: len(read) >= 2)}

    assert keys == {event["flight_id"].encode() for event in events[:2]}


def test_a_unix_socket_is_a_door_too(
    embedded: EmbeddedBroker,
    gateway_topology: Callable[..., Topology],
    events: list[Json],
    tmp_path: Path,
) -> None:
    """For a process beside it, without credentials; one that was left behind is no hindrance."""
    place = tmp_path / "gateway.sock"
    quiet = {"beside": Caller(workers=("*",))}
    topology = gateway_topology(embedded, socket=place, callers=quiet, anonymous="beside")
    for _ in range(2):
        with GatewayDriver(topology):
            transport = httpx2.HTTPTransport(uds=str(place))
            with httpx2.Client(transport=transport, base_url="http://gateway") as asking:
                assert asking.post(PATH, json=events[0]).status_code == 200
    assert place.is_socket()
