"""One cluster of three brokers for all fault tests, healed before each; and a seed."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.rig import Scene
from workers.enrich.path import Enricher
from workers.stream import pending, publish
from workers.testing.cluster import Cluster
from workers.topology import Topology


@pytest.fixture(scope="session")
def brokers() -> Iterator[Cluster]:
    """Three brokers behind proxies. Where they cannot be had the tests fail."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(brokers: Cluster) -> Iterator[Cluster]:
    """They are well, and hold nothing of the test before."""
    brokers.heal()
    yield brokers
    brokers.heal()
    brokers.delete_all_topics()


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """What chance begins with: the same every time, unless SEED says otherwise."""
    own = zlib.crc32(request.node.name.encode())
    found = int(os.environ.get("SEED", own))
    # Shown when the test fails.
    print(f"SEED={found} repeats this")
    return found


@pytest.fixture
def scene(
    cluster: Cluster,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Scene]:
    """Makes a scene; arguments are fields of the worker. Calls that hang are given up sooner."""
    monkeypatch.setattr(publish, "SLICE", 1.0)
    monkeypatch.setattr(pending, "HANG", 5.0)

    def make(**changes: Any) -> Scene:
        return Scene(cluster, topology, enricher, flights, **changes)

    return make
