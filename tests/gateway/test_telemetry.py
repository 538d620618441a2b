"""What a gateway tells of itself, read from its pages after real requests."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import ROOT
from tests.gateway.conftest import KEY, NAME, PATH, Json
from tests.gateway.test_log import spilling, until
from tests.telemetry.collector import at, attributes, collecting, erring, hanging, refusing
from tests.telemetry.reading import Series, of, read
from workers.gateway.callers import hashed
from workers.telemetry import attributes as known
from workers.telemetry import gateway, names
from workers.telemetry.events import LOG_EVENTS
from workers.testing import EmbeddedBroker, GatewayDriver
from workers.topology import Drift, Topology
from workers.topology.gateway import Caller

Made = Callable[..., Topology]
Client = Callable[[GatewayDriver], httpx2.Client]
REQUESTS = "http_server_request_duration_seconds_count"
CALLER = "wk_another-key-of-the-tests"
MARK = "zq7mark"
"""What a caller sends wherever it can."""
METRICS = (*names.METRICS, *gateway.METRICS)
CLOSED = {
    label: {value for m in METRICS for a in m.attributes if a.label == label for value in a.values}
    for label in (a.label for m in METRICS for a in m.attributes if a.values)
}


@pytest.fixture
def own() -> Iterator[EmbeddedBroker]:
    """A broker that may be taken down."""
    with EmbeddedBroker() as broker:
        yield broker


def told(driver: GatewayDriver) -> Series:
    """Its metrics."""
    answer = httpx2.get(f"{driver.health_url}/metrics", trust_env=False)
    assert answer.status_code == 200
    return read(answer.text)


def test_the_counts_are_those_of_the_requests(
    embedded: EmbeddedBroker, gateway_topology: Made, client: Client, events: list[Json]
) -> None:
    """Decisions, statuses, problems, scores and log records add up to what was answered."""
    topology = gateway_topology(embedded, worker={"drift": Drift()})
    bad = {**events[0], "distance": "far"}
    with GatewayDriver(topology) as driver:
        asking = client(driver)
        single = [asking.post(PATH, json=event).json() for event in events[:30]]
        listed = asking.post(PATH, json=[*events[30:60], bad]).json()["outcomes"]
        assert asking.post(PATH, json=bad).status_code == 422
        assert asking.post(PATH, json=events[0], headers={"X-API-Key": "x"}).status_code == 401
        assert asking.post("/v1/decisions/none", json=events[0]).status_code == 404
        assert asking.get("/v1/models").status_code == 200
        series = told(driver)
        public = asking.get("/metrics").status_code

    decided = Counter(row["enrichment"]["decision"] for row in [*single, *listed[:30]])
    for decision, count in decided.items():
        assert of(series, "workers_decisions_total", worker=NAME, decision=decision) == count
    assert of(series, "workers_decisions_total") == of(series, "workers_score_count") == 60
    assert of(series, REQUESTS, worker=NAME, http_response_status_code="200") == 31
    assert of(series, REQUESTS, worker=NAME, error_type="invalid-event") == 1
    assert of(series, REQUESTS, worker=NAME, error_type="unauthenticated") == 1
    assert of(series, REQUESTS, worker="gateway", error_type="not-found") == 1
    assert of(series, REQUESTS, worker="gateway", http_route="/v1/models") == 1
    assert of(series, "workers_gateway_events_rejected_total", error_type="invalid-event") == 2
    assert of(series, "workers_gateway_log_records_total", result="acknowledged") == 60
    assert of(series, "workers_gateway_log_duration_seconds_count") == 31
    assert of(series, "workers_gateway_batch_size_sum") == 60
    assert of(series, "workers_gateway_batch_duration_seconds_sum") > 0
    assert of(series, "workers_drift_rows", block="enrichment") == 60
    assert of(series, "workers_model_info", worker=NAME, model="flight-delay", version="1") == 1
    assert of(series, "workers_gateway_deadline_seconds", worker=NAME) == 20
    assert of(series, "workers_gateway_queue", worker=NAME) == 0
    assert of(series, "workers_telemetry_faults_total") == 0
    assert {dict(labels)["door"] for _, labels in series} == {"gateway"}
    assert public == 404, "callers have no business with it"


def test_no_label_holds_what_a_caller_sent(
    embedded: EmbeddedBroker, gateway_topology: Made, client: Client, events: list[Json]
) -> None:
    """Path, method, headers, keys, media type, query and body: values are of a closed list, or
    names that the topology or the bundle has."""
    topology = gateway_topology(embedded)
    manifest = json.loads((ROOT / "models" / "flight-delay" / "1" / "manifest.json").read_text())
    hostile: list[tuple[str, str, Json]] = [
        ("POST", PATH, {"headers": {"X-API-Key": MARK}}),
        ("POST", PATH, {"headers": {"Authorization": f"Bearer {MARK}"}}),
        ("POST", PATH, {"headers": {"Content-Type": f"application/{MARK}"}}),
        ("POST", PATH, {"headers": {"Idempotency-Key": MARK, "traceparent": MARK}}),
        ("POST", PATH, {"headers": {"X-Request-Timeout": MARK}}),
        ("POST", f"{PATH}?{MARK}={MARK}", {}),
        ("POST", f"/v1/decisions/{MARK}", {}),
        ("POST", f"{PATH}/{MARK}", {}),
        ("GET", f"/v1/decisions/{MARK}", {}),
        ("GET", f"/{MARK}?{MARK}", {}),
        ("GET", "/v1/models/", {}),
        (MARK.upper(), f"/{MARK}", {}),
        ("DELETE", "/v1/decisions/{id}", {}),
    ]
    with GatewayDriver(topology) as driver:
        asking = client(driver)
        for method, path, more in hostile:
            asking.request(method, path, **{"json": {**events[0], "carrier": MARK}, **more})
        asking.post(PATH, json={MARK: MARK})
        asking.post(PATH, json=events[0], headers={"Idempotency-Key": f"{MARK}-2"})
        text = httpx2.get(f"{driver.health_url}/metrics", trust_env=False).text
        series = told(driver)

    assert MARK not in text.lower()
    assert of(series, "workers_telemetry_faults_total") == 0
    assert of(series, REQUESTS) >= len(hostile)
    named = {
        "worker": {NAME, "gateway"},
        "door": {"gateway"},
        "block": {"enrichment"},
        "decision": {"on_time", "review", "late"},
        "model": {"flight-delay"},
        "version": {"1", "2"},
        "alias": {"", "champion"},
        "event": set(LOG_EVENTS),
        "caller": {"tests"},
        "feature": {feature["name"] for feature in manifest["features"]},
    }
    for _, labels in series:
        for label, value in labels:
            if label in ("le", "build"):
                continue
            assert value in (named.get(label) or CLOSED[label]), (label, value)


def test_callers_over_their_rate_and_keys_are_counted(
    embedded: EmbeddedBroker, gateway_topology: Made, client: Client, events: list[Json]
) -> None:
    """By the caller's name; a key's answers by what became of it."""
    callers = {
        "tests": Caller(workers=("*",), keys=(hashed(KEY),)),
        "slow": Caller(workers=("*",), keys=(hashed(CALLER),), rate="2/day"),
    }
    key = {"Idempotency-Key": "one"}
    with GatewayDriver(gateway_topology(embedded, callers=callers)) as driver:
        asking = client(driver)
        first = asking.post(PATH, json=events[0], headers=key)
        again = asking.post(PATH, json=events[0], headers=key)
        other = asking.post(PATH, json=events[1], headers=key)
        limited = [
            asking.post(PATH, json=e, headers={"X-API-Key": CALLER}).status_code for e in events[:4]
        ]
        series = told(driver)

    assert first.content == again.content
    assert other.status_code == 422
    assert limited == [200, 200, 429, 429]
    assert of(series, "workers_gateway_rate_limited_total", caller="slow") == 2
    keyed = "workers_gateway_idempotency_requests_total"
    assert [of(series, keyed, result=r) for r in ("answered", "replayed", "reused")] == [1, 1, 1]
    assert of(series, "workers_gateway_idempotency_keys") == 1
    assert of(series, "workers_decisions_total") == 3


def test_what_the_deadline_left_to_the_fallback_is_counted(
    embedded: EmbeddedBroker, gateway_topology: Made, client: Client, events: list[Json]
) -> None:
    """By cause, as a stream's; without a score."""
    with GatewayDriver(gateway_topology(embedded)) as driver:
        asking = client(driver)
        answers = [
            asking.post(PATH, json=event, headers={"X-Request-Timeout": "0.001ms"}).json()
            for event in events[:5]
        ]
        series = told(driver)

    assert {answer["cause"] for answer in answers} == {"over_budget"}
    assert of(series, "workers_fallbacks_total", worker=NAME, cause="over_budget") == 5
    assert of(series, "workers_decisions_total") == 5
    assert of(series, "workers_score_count") == 0


def test_a_log_that_is_down_is_told(
    own: EmbeddedBroker, gateway_topology: Made, client: Client, events: list[Json], tmp_path: Path
) -> None:
    """With how much waits on disk, on its pages for metrics and for readiness; and when it ends."""
    topology = gateway_topology(own, log=spilling(tmp_path))
    with GatewayDriver(topology) as driver:
        asking = client(driver)
        asking.post(PATH, json=events[0])
        own.set_down()
        for event in events[1:6]:
            assert asking.post(PATH, json=event).status_code == 200
        down = told(driver)
        ready = httpx2.get(f"{driver.health_url}/readyz", trust_env=False)
        own.set_up()
        until(lambda: of(told(driver), "workers_gateway_log_records_total", result="replayed") == 5)
        until(lambda: of(told(driver), "workers_gateway_log_down") == 0)
        up = told(driver)

    assert of(down, "workers_gateway_log_down", worker="gateway") == 1
    assert of(down, "workers_gateway_log_records_total", result="spilled") == 5
    assert (
        0 < of(down, "workers_gateway_spill_bytes") < of(down, "workers_gateway_spill_limit_bytes")
    )
    assert ready.status_code == 200
    reasons = ready.json()["reasons"]
    assert {(reason["code"], reason["blocks"]) for reason in reasons} == {
        ("log_down", False),
        ("spill_waits", False),
    }
    assert of(up, "workers_gateway_spill_bytes") == 0
    assert of(up, "workers_log_events_total", event="gateway.log_down") == 1


def test_a_connection_that_comes_to_nothing_is_counted(
    embedded: EmbeddedBroker, gateway_topology: Made
) -> None:
    """Here, for its head is too long."""
    with GatewayDriver(gateway_topology(embedded)) as driver:
        host, port = driver.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nx: " + b"a" * 40_000)
            assert b" 431 " in connection.recv(4096)
        series = told(driver)

    assert of(series, "workers_gateway_connections_refused_total", reason="long") == 1


def test_pages_answer_probes_and_name_reasons(
    embedded: EmbeddedBroker, gateway_topology: Made
) -> None:
    """Alive and ready while it serves; nothing else is there."""
    with GatewayDriver(gateway_topology(embedded)) as driver:
        answers = {
            path: httpx2.get(f"{driver.health_url}{path}", trust_env=False)
            for path in ("/livez", "/readyz", "/v1/models")
        }

    assert answers["/livez"].json() == {"alive": True, "why": ""}
    assert answers["/readyz"].json() == {"ready": True, "reasons": []}
    assert answers["/v1/models"].status_code == 404


def test_a_port_that_is_taken_harms_nothing(
    embedded: EmbeddedBroker, gateway_topology: Made, client: Client, events: list[Json]
) -> None:
    """Decisions go on without the pages."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        topology = gateway_topology(embedded, health_port=taken.getsockname()[1])
        with GatewayDriver(topology) as driver:
            status = client(driver).post(PATH, json=events[0]).status_code

    assert status == 200
    assert driver.health_url == ""


def test_a_collector_has_the_numbers_of_the_page(
    embedded: EmbeddedBroker, gateway_topology: Made, client: Client, events: list[Json]
) -> None:
    """By one resource, the gateway's; each point says of which worker it is."""
    with collecting() as taken:
        topology = at(gateway_topology(embedded), taken.address, interval="1h")
        with GatewayDriver(topology) as driver:
            for event in events[:10]:
                client(driver).post(PATH, json=event)

    points = taken.metrics["workers.decisions"].sum.data_points
    assert sum(point.as_double or point.as_int for point in points) == 10
    assert {attributes(p)["worker"] for p in points} == {NAME}
    requests = taken.metrics["http.server.request.duration"].histogram.data_points
    assert sum(point.count for point in requests) == 10
    assert {attributes(point)["door"] for point in requests} == {"gateway"}
    assert taken.senders[-1]["service.name"] == "gateway"
    assert taken.spans == []


@pytest.mark.parametrize("collector", [refusing, hanging, erring])
def test_no_collector_stops_a_gateway_nor_its_end(
    collector: Callable[[], AbstractContextManager[str]],
    embedded: EmbeddedBroker,
    gateway_topology: Made,
    client: Client,
    events: list[Json],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dead, deaf or broken: every event is decided, and the gateway ends."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    failed: dict[str, Any] = {"signal": "metrics", "result": "failed"}
    with collector() as address:
        topology = at(gateway_topology(embedded), address, interval="10ms")
        with GatewayDriver(topology) as driver:
            asking = client(driver)
            statuses = {asking.post(PATH, json=event).status_code for event in events[:20]}
            until(lambda: of(told(driver), "workers_telemetry_exports_total", **failed) >= 1)

    assert statuses == {200}


def test_every_attribute_is_closed_or_of_the_topology() -> None:
    """Who adds one with free values has to say here whose names they are."""
    free = {a.label for m in gateway.METRICS for a in m.attributes if not a.values}

    assert free == {known.CALLER.label}
