"""What a request took is free when it is answered, and not when the collector comes by."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import httpx2
import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tests.gateway.conftest import PATH, Json, made_topology
from workers.testing import EmbeddedBroker, GatewayDriver
from workers.topology import Topology

REQUESTS = 30


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Cycles stay."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("wrong", [False, True])
def test_requests_leave_no_cycles(
    embedded: EmbeddedBroker,
    topology: Topology,
    client: Callable[[GatewayDriver], httpx2.Client],
    events: list[Json],
    *,
    wrong: bool,
) -> None:
    """A hundred thousand objects of a few thousand requests would be a pause for all the others."""
    with GatewayDriver(made_topology(topology, embedded)) as gateway:
        asking = client(gateway)
        path = f"{PATH}?version=none" if wrong else PATH
        answers = [asking.post(path, json=event).status_code for event in events[:REQUESTS]]
        # The connection's last one is still there.
        left = sum(type(found) is RequestResponseCycle for found in gc.get_objects())

    assert answers == [400 if wrong else 200] * REQUESTS
    assert left <= 2
