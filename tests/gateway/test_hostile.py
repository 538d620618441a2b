"""What clients do that mean harm, or know no better: answered, bounded, nobody else's trouble."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from tests.gateway.conftest import KEY, PATH, Json, made_topology
from tests.traffic import GOOD
from workers.testing import EmbeddedBroker, GatewayDriver
from workers.topology import Topology
from workers.topology.gateway import RequestLimits

LIMITS = RequestLimits.model_validate(
    {"body": "64KiB", "head": "8KiB", "events": 50, "connections": 40, "receive": "2s"}
)
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n"
JSON_HEAD = HEAD + "Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def gateway(embedded: EmbeddedBroker, topology: Topology) -> Iterator[GatewayDriver]:
    """One for all of these: none of them may harm it."""
    made = made_topology(topology, embedded, limits=LIMITS)
    with GatewayDriver(made) as driver:
        yield driver


@pytest.fixture
def asking(
    gateway: GatewayDriver, client: Callable[[GatewayDriver], httpx2.Client]
) -> httpx2.Client:
    """Somebody who means well."""
    return client(gateway)


def connected(gateway: GatewayDriver) -> socket.socket:
    """A plain connection."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    found = socket.create_connection((host, int(port)), timeout=20)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def answered(opened: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    found = bytearray()
    with suppress(ConnectionError):
        while part := opened.recv(65536):
            found += part
    return bytes(found)


def test_slow_requests_are_ended_and_others_served(
    gateway: GatewayDriver, asking: httpx2.Client, events: list[Json]
) -> None:
    """A head or a body that trickles, or a connection that says nothing."""
    starts = [b"", HEAD.encode(), JSON_HEAD.encode() + b"Content-Length: 1000\r\n\r\n{"]
    opened = [connected(gateway) for _ in range(18)]
    for number, each in enumerate(opened):
        each.sendall(starts[number % 3])
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.2):
            for each in opened:
                with suppress(OSError):
                    each.sendall(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        statuses = [asking.post(PATH, json=events[0]).status_code for _ in range(5)]
        ends = [answered(each) for each in opened]
    finally:
        stop.set()
        thread.join()
        for each in opened:
            each.close()

    assert statuses == [200] * 5
    # Bytes that begin no request are told so at once. A reset may overtake the answer where the
    # client still writes.
    assert all(end == b"" or end[9:12] in (b"408", b"400") for end in ends)
    assert any(end[9:12] == b"408" for end in ends)


def test_one_connection_too_many_is_told_so(
    gateway: GatewayDriver, events: list[Json], asking: httpx2.Client
) -> None:
    """And those that are there go on."""
    asking.post(PATH, json=events[0])
    opened = [connected(gateway) for _ in range(LIMITS.connections + 10)]
    refused = [answered(each) for each in opened[-5:]]
    still = asking.post(PATH, json=events[0])
    for each in opened:
        each.close()

    assert all(end.startswith(b"HTTP/1.1 503") and b"retry-after" in end for end in refused)
    assert still.status_code == 200
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with connected(gateway) as again:
            again.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            if answered(again).startswith(b"HTTP/1.1 200"):
                return
    pytest.fail("the places were not given back")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (JSON_HEAD + "Content-Length: 10000000000\r\n\r\n{", 413),
        (JSON_HEAD + "Content-Length: 70000\r\n\r\n" + "x" * 70_000, 413),
        (
            JSON_HEAD
            + "Transfer-Encoding: chunked\r\n\r\n"
            + ("2000\r\n" + "x" * 8192 + "\r\n") * 9,
            413,
        ),
        (HEAD + "X-Long: " + "x" * 300_000 + "\r\n\r\n", 431),
        (HEAD + "".join(f"X-{n}: y\r\n" for n in range(30_000)) + "\r\n", 431),
        ("GET / HTTP/1.1\r\nHost: x\r\n\x00: y\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00" * 20, 400),
        (JSON_HEAD + "Content-Length: -1\r\n\r\n", 400),
        (JSON_HEAD + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (JSON_HEAD + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
    ids=range(10),
)
def test_what_is_too_much_or_no_http_is_refused(
    gateway: GatewayDriver, sent: str, status: int, asking: httpx2.Client, events: list[Json]
) -> None:
    """Before it is read to its end."""
    with connected(gateway) as opened:
        with suppress(ConnectionError):
            opened.sendall(sent.encode("latin-1"))
        end = answered(opened)

    assert end == b"" or end.startswith(f"HTTP/1.1 {status}".encode()), end[:100]
    assert asking.post(PATH, json=events[0]).status_code == 200


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "not-json"),
        (b"{", "not-json"),
        (b"\xff\xfe{}", "not-json"),
        (b"[" * 30_000, "not-json"),
        (b'{"a":' * 9_000, "not-json"),
        (b'{"flight_id":"a","flight_id":"b"}', "not-json"),
        (b'{"flight": NaN}', "not-json"),
        (b'{"flight": ' + b"9" * 5000 + b"}", "not-json"),
        (b"null", "invalid-event"),
        (b'"text"', "invalid-event"),
        (b"{}", "invalid-event"),
        (b"[" + b"{}," * 50 + b"{}]", "too-large"),
    ],
    ids=range(12),
)
def test_bodies_that_are_no_events(asking: httpx2.Client, body: bytes, kind: str) -> None:
    """Each is told what it is."""
    answer = asking.post(PATH, content=body, headers={"Content-Type": "application/json"})

    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == f"urn:workers:problem:{kind}"
    assert document["status"] == answer.status_code


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({"X-Request-Timeout": "soon"}, "", 400),
        ({"X-Request-Timeout": "-1s"}, "", 400),
        ({"X-Request-Timeout": "0s"}, "", 400),
        ({"Idempotency-Key": ""}, "", 400),
        ({"Idempotency-Key": "x" * 256}, "", 400),
        ({"Content-Type": "text/plain"}, "", 415),
        ({"Content-Type": "application/avro"}, "", 400),
        ({}, "?version=9", 400),
        ({}, "?reasons=maybe", 400),
        ({}, "?reasons=true&reasons=false", 400),
        ({}, "?" + "&".join(f"a{n}=1" for n in range(50)), 400),
    ],
    ids=range(11),
)
def test_headers_and_parameters_that_cannot_be_used(
    asking: httpx2.Client, events: list[Json], headers: dict[str, str], query: str, status: int
) -> None:
    """Nothing is guessed."""
    answer = asking.post(PATH + query, json=events[0], headers=headers)

    assert answer.status_code == status
    assert answer.json()["status"] == status


def test_a_list_has_an_outcome_for_each_event(asking: httpx2.Client, events: list[Json]) -> None:
    """A bad one harms no neighbour, and says where it is wrong."""
    bad = {**events[1], "departure_delay": "late", "distnace": 5}
    far = {**events[2], "departure_delay": 2_000_000}

    outcomes = asking.post(PATH, json=[events[0], bad, far, None, events[3]]).json()["outcomes"]

    assert [outcome["status"] for outcome in outcomes] == [
        "decided", "rejected", "rejected", "rejected", "decided",
    ]  # fmt: skip
    errors = {error["pointer"]: error["remedy"] for error in outcomes[1]["problem"]["errors"]}
    assert errors["#/distnace"] == "did you mean distance?"
    assert "integer" in errors["#/departure_delay"]
    assert outcomes[2]["problem"]["code"] == "range"
    ids = [outcomes[place]["enrichment"]["decision_id"] for place in (0, 4)]
    assert [name.split(":")[2] for name in ids] == ["0", "4"]


@pytest.mark.parametrize(
    "value", [GOOD, b"\0\0\0\0\x63" + b"x", b"\0" * 5, b"\0\xff\xff\xff\xff" + b"x" * 20]
)
def test_avro_that_is_no_event(asking: httpx2.Client, value: bytes) -> None:
    """Cut short, or of a schema that is not this worker's."""
    media = {"Content-Type": "application/avro"}
    answer = asking.post(PATH, content=value, headers=media)
    for _ in range(100):
        if answer.status_code != 503:
            break
        assert answer.json()["type"] == "urn:workers:problem:schema-pending"
        time.sleep(0.05)
        answer = asking.post(PATH, content=value, headers=media)

    assert answer.status_code == 422
    assert answer.json()["code"] in ("malformed", "unknown_schema")


def test_a_deadline_that_cannot_be_kept_gets_the_fallback(
    asking: httpx2.Client, events: list[Json]
) -> None:
    """200, degraded, with its cause; a decision like any other, which can be looked up."""
    found = asking.post(PATH, json=events[0], headers={"X-Request-Timeout": "0.001ms"})

    assert found.status_code == 200
    document = found.json()
    assert (document["degraded"], document["cause"]) == (True, "over_budget")
    block = document["enrichment"]
    assert (block["decision"], block["fallback"], block["score"]) == ("review", True, None)
    again = asking.get(f"/v1/decisions/{block['decision_id']}")
    assert again.json() == {"decision": block}


def test_decisions_are_looked_up(asking: httpx2.Client, events: list[Json]) -> None:
    """The newest, by their callers' workers."""
    made = asking.post(PATH, json=events[:3]).json()["outcomes"]
    for outcome in made:
        block: Any = outcome["enrichment"]
        found = asking.get(f"/v1/decisions/{block['decision_id']}")
        assert found.json() == {"decision": block}
    for missing in ("flight-delays:@http:0:1", "other:@http:0:1", "x"):
        answer = asking.get(f"/v1/decisions/{missing}")
        assert answer.status_code == 404
        assert answer.json()["type"] == "urn:workers:problem:not-found"
    assert asking.delete("/v1/decisions/x").status_code == 405
    assert asking.post("/v1/decisions/other", json={}).status_code == 404
    assert asking.get("/nothing").json()["type"] == "urn:workers:problem:not-found"
