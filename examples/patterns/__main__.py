"""Runs every pattern on an embedded broker: their decisions are held against each other, and what
became of the flights makes the next model.

python -m examples.patterns
"""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fastavro
import httpx2
import polars as pl

from examples.flights.encode import encode
from examples.patterns.outcomes import Learned, departures, judge, landed, learn
from examples.patterns.system import System
from workers.contracts.catalogue import Catalogue
from workers.contracts.directory import read_directory
from workers.feedback.gate import Verdict
from workers.proxying import run_proxy
from workers.stream.logs import configure_logging
from workers.testing import Driver, EmbeddedBroker, GatewayDriver, OutRecord, Reader, Sent, produce
from workers.topology import Topology, load
from workers.wiring import build_enricher, topics_of

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCHEMAS = ROOT / "schemas"
EVENTS = 6000
"""About a week of departures."""


@dataclass(frozen=True, slots=True)
class Said:
    """One flight's score and decision, as one way gave them."""

    way: str
    decision_id: str
    score: float
    decision: str


@dataclass(frozen=True, slots=True)
class Found:
    """Every way's decisions on some flights, by the flight's name; what the loop made of all of
    them, and what it says of that.
    """

    said: dict[str, list[Said]]
    learned: Learned
    verdict: Verdict


def run(events: int = EVENTS) -> Found:
    """All patterns at once over the first departures of the month that the repository ships."""
    contracts = read_directory(SCHEMAS).catalogue
    flights = departures(events)
    # The later ones come when the next version is there, which must not have seen them.
    before, after = flights[: events * 3 // 4], flights[events * 3 // 4 :]
    with ExitStack() as stack:
        broker = stack.enter_context(EmbeddedBroker())
        system = stack.enter_context(_system())
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        topology = _topology(broker.bootstrap_servers, system, place)
        for topic in {t for w in topology.workers.values() for t in topics_of(w).values()}:
            broker.create_topic(topic, 1)
        broker.create_topic(topology.feedback["flights"].outcomes.topic, 1)
        produce(broker.bootstrap_servers, "flights", _records(contracts, before))
        for worker in topology.workers.values():
            stack.enter_context(Driver(topology, worker, build_enricher(topology, worker)))
        reader = stack.enter_context(
            Reader(broker.bootstrap_servers, "flights.enriched", "flights.scored")
        )
        read = reader.until(lambda seen: len(seen) >= 2 * len(before))
        gateway = stack.enter_context(GatewayDriver(topology))
        proxy = stack.enter_context(_proxy(topology))
        enriched = [r for r in read if r.topic == "flights.enriched"][:3]
        beside = [r for r in read if r.topic == "flights.scored"][:3]
        said = dict(
            _compared(contracts, *pair, gateway.url, proxy)
            for pair in zip(enriched, beside, strict=True)
        )
        asked = [(name, each.decision_id) for name, ways in said.items() for each in ways[2:]]
        landed(topology, before, asked)
        learned = learn(topology)
        produce(broker.bootstrap_servers, "flights", _records(contracts, after))
        reader.until(lambda seen: len(seen) >= 2 * events)
        landed(topology, after, [])
        return Found(said, learned, judge(topology, learned.version))


def _records(contracts: Catalogue, flights: pl.DataFrame) -> list[Sent]:
    contract = contracts.versions("flights-value")[1]
    datums = encode(flights, contract.schema.text)
    keys = flights["tailnum"].fill_null("unknown").to_list()
    times = flights["departed_at"].dt.epoch("ms").to_list()
    return [
        Sent(contract.frame + datum, key.encode(), timestamp=at)
        for datum, key, at in zip(datums, keys, times, strict=True)
    ]


def _topology(servers: str, system: str, place: Path) -> Topology:
    ports = [_free_port() for _ in range(2)]
    # The loop writes a version: into a copy.
    shutil.copytree(ROOT / "models", place / "models")
    env = {"KAFKA_BOOTSTRAP_SERVERS": servers, "SYSTEM": system}
    env |= {"GATEWAY_PORT": str(ports[0]), "PROXY_PORT": str(ports[1])}
    env |= {"MODELS": str(place / "models"), "LAKE": str(place / "lake")}
    topology = load(HERE / "topology.yaml", env)
    # librdkafka's own cluster writes no checksums of ends of transactions.
    workers = {
        name: worker.model_copy(update={"consumer": {"check.crcs": False}})
        for name, worker in topology.workers.items()
    }
    return topology.model_copy(update={"workers": workers})


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        port: int = opened.getsockname()[1]
        return port


@contextmanager
def _system() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), System) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def _proxy(topology: Topology) -> Iterator[str]:
    ready, started = threading.Event(), dict[str, Any]()

    async def main() -> None:
        started["loop"], started["stop"] = asyncio.get_running_loop(), asyncio.Event()

        def listening(opened: socket.socket) -> None:
            started["port"] = opened.getsockname()[1]
            ready.set()

        await run_proxy(topology, started["stop"], listening)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    ready.wait(60)
    yield f"http://127.0.0.1:{started['port']}"
    started["loop"].call_soon_threadsafe(started["stop"].set)
    thread.join()


def _compared(
    contracts: Catalogue, enriched: OutRecord, beside: OutRecord, gateway: str, proxy: str
) -> tuple[str, list[Said]]:
    event = _read(contracts, enriched.value or b"")
    block = event["enrichment"]
    media = {"Content-Type": "application/avro"}
    with httpx2.Client(timeout=30, trust_env=False, headers=media) as client:
        path = f"{gateway}/v1/decisions/flight-delays"
        answer = client.post(path, content=beside.value).json()["enrichment"]
        told = client.post(f"{proxy}/bookings", content=beside.value).json()["told"]
    return event["flight_id"], [
        Said("worker: flights.enriched", *_of(block)),
        Said(
            "sidecar: headers of flights.scored",
            beside.header("enrichment.decision_id"),
            float(beside.header("enrichment.score")),
            beside.header("enrichment.decision"),
        ),
        Said("gateway: answer", *_of(answer)),
        Said(
            "proxy: headers that the system got",
            told["x-enrichment-decision-id"],
            float(told["x-enrichment-score"]),
            told["x-enrichment-decision"],
        ),
    ]


def _of(block: dict[str, Any]) -> tuple[str, float, str]:
    return block["decision_id"], block["score"], block["decision"]


def _read(contracts: Catalogue, value: bytes) -> dict[str, Any]:
    found = contracts.find(int.from_bytes(value[1:5], "big"))
    if found is None:
        raise LookupError("a schema id that no contract has")
    read: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), found.schema.parsed, None)
    return dict(read)


def main() -> int:
    """Print them; 0 if every way said the same, bit for bit."""
    configure_logging()
    found = run()
    for name, said in found.said.items():
        print(name)
        for each in said:
            print(f"  {each.way:36} {each.score!r:22} {each.decision}")
    learned = found.learned
    print(
        f"{learned.decisions:,} decisions, {learned.known:,} with an outcome, log loss "
        f"{learned.log_loss:.4f}; version {learned.version} is made of them"
    )
    print(found.verdict)
    same = all(len({(s.score, s.decision) for s in said}) == 1 for said in found.said.values())
    print(json.dumps({"flights": len(found.said), "the same by every way": same}))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
