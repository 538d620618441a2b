"""Runs every pattern on an embedded broker and holds their decisions against each other.

python -m examples.patterns
"""

from __future__ import annotations

import asyncio
import io
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fastavro
import httpx2

from examples.flights.produce import flights
from examples.patterns.system import System
from workers.contracts.catalogue import Catalogue
from workers.contracts.directory import read_directory
from workers.proxying import run_proxy
from workers.stream.logs import configure_logging
from workers.testing import Driver, EmbeddedBroker, GatewayDriver, OutRecord, Reader, Sent, produce
from workers.topology import Topology, load
from workers.wiring import build_enricher, topics_of

HERE = Path(__file__).parent
SCHEMAS = HERE.parents[1] / "schemas"
EVENTS = 500


@dataclass(frozen=True, slots=True)
class Said:
    """One flight's score and decision, as one way gave them."""

    way: str
    score: float
    decision: str


def run(events: int = EVENTS) -> list[tuple[str, list[Said]]]:
    """Every way's decision on the first flights: name of the flight, then one entry a way."""
    contracts = read_directory(SCHEMAS).catalogue
    records = [Sent(value, key=key) for key, value in flights(SCHEMAS)[:events]]
    with ExitStack() as stack:
        broker = stack.enter_context(EmbeddedBroker())
        system = stack.enter_context(_system())
        topology = _topology(broker.bootstrap_servers, system)
        for topic in {t for w in topology.workers.values() for t in topics_of(w).values()}:
            broker.create_topic(topic, 1)
        produce(broker.bootstrap_servers, "flights", records)
        for worker in topology.workers.values():
            stack.enter_context(Driver(topology, worker, build_enricher(topology, worker)))
        reader = stack.enter_context(
            Reader(broker.bootstrap_servers, "flights.enriched", "flights.scored")
        )
        read = reader.until(lambda seen: len(seen) >= 2 * events)
        gateway = stack.enter_context(GatewayDriver(topology))
        proxy = stack.enter_context(_proxy(topology))
        enriched = [r for r in read if r.topic == "flights.enriched"][:3]
        beside = [r for r in read if r.topic == "flights.scored"][:3]
        return [
            _compared(contracts, *pair, gateway.url, proxy)
            for pair in zip(enriched, beside, strict=True)
        ]


def _topology(servers: str, system: str) -> Topology:
    ports = [_free_port() for _ in range(2)]
    env = {"KAFKA_BOOTSTRAP_SERVERS": servers, "SYSTEM": system}
    env |= {"GATEWAY_PORT": str(ports[0]), "PROXY_PORT": str(ports[1])}
    return load(HERE / "topology.yaml", env)


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
        Said("worker: flights.enriched", block["score"], block["decision"]),
        Said(
            "sidecar: headers of flights.scored",
            float(beside.header("enrichment.score")),
            beside.header("enrichment.decision"),
        ),
        Said("gateway: answer", answer["score"], answer["decision"]),
        Said(
            "proxy: headers that the system got",
            float(told["x-enrichment-score"]),
            told["x-enrichment-decision"],
        ),
    ]


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
    for name, said in found:
        print(name)
        for each in said:
            print(f"  {each.way:36} {each.score!r:22} {each.decision}")
    same = all(len({(s.score, s.decision) for s in said}) == 1 for _, said in found)
    print(json.dumps({"flights": len(found), "the same by every way": same}))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
