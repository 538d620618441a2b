"""A gateway on brokers, its callers and its events."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import fastavro
import httpx2
import pytest

from workers.contracts.catalogue import Catalogue
from workers.gateway.callers import hashed
from workers.testing import EmbeddedBroker, GatewayDriver, RealKafka, isolated
from workers.topology import Topology, WorkerGateway
from workers.topology.gateway import Caller, Gateway, IdempotencyTopic
from workers.wiring import pick

AnyBroker = EmbeddedBroker | RealKafka
NAME = "flight-delays"
KEY = "wk_a-key-of-the-tests"
PATH = f"/v1/decisions/{NAME}"
Json = dict[str, Any]


@pytest.fixture(scope="session")
def events(contracts: Catalogue, flights: list[bytes]) -> list[Json]:
    """Real events as JSON, in Avro's physical values."""
    plain = json.loads(contracts.versions("flights-value")[1].schema.text)
    for entry in plain["fields"]:
        if isinstance(entry["type"], dict) and "logicalType" in entry["type"]:
            entry["type"] = entry["type"]["type"]
    return [dict(fastavro.schemaless_reader(io.BytesIO(d), plain, None)) for d in flights[:400]]


def made_topology(
    topology: Topology,
    broker: AnyBroker,
    *,
    settings: Json | None = None,
    worker: Json | None = None,
    partitions: int = 2,
    **gateway: Any,
) -> Topology:
    """The demo's topology with a gateway, on a broker, with topics of its own."""
    asked = {"deadline": "20s", "longest": "25s", **(settings or {})}
    changes = {"gateway": WorkerGateway.model_validate(asked), **(worker or {})}
    moved, _ = isolated(topology, pick(topology, None), broker, partitions=partitions, **changes)
    topic = f"keys.{secrets.token_hex(4)}"
    broker.create_topic(topic, partitions)
    parts = {
        "port": 0,
        "health_port": 0,
        "callers": {"tests": Caller(workers=("*",), keys=(hashed(KEY),))},
        "idempotency": IdempotencyTopic(topic=topic),
        **gateway,
    }
    return moved.model_copy(update={"gateway": Gateway(**parts)})


@pytest.fixture
def gateway_topology(topology: Topology) -> Callable[..., Topology]:
    """Makes one on a broker."""
    return partial(made_topology, topology)


@pytest.fixture
def client() -> Iterator[Callable[[GatewayDriver], httpx2.Client]]:
    """A client of a gateway, with the caller's key."""
    made: list[httpx2.Client] = []

    def make(driver: GatewayDriver) -> httpx2.Client:
        found = httpx2.Client(
            base_url=driver.url, headers={"X-API-Key": KEY}, timeout=30, trust_env=False
        )
        made.append(found)
        return found

    yield make
    for each in made:
        each.close()
