"""The transparent proxy before a real server: the decision comes in headers, or a cause does."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import ROOT
from tests.gateway.conftest import KEY, Json, events, made_topology
from tests.telemetry.reading import of, read
from workers.gateway.asking import Names
from workers.proxying import run_proxy
from workers.testing import EmbeddedBroker, GatewayDriver
from workers.testing.kafka import free_port
from workers.topology import Topology
from workers.topology.gateway import Gateway
from workers.topology.proxy import Proxy, Side

__all__ = ["events"]
STATUS, CAUSE = "x-enrichment-status", "x-enrichment-cause"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """The system's address."""
    command = [sys.executable, "-m", "tests.sidecar.upstream"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


@pytest.fixture(scope="module")
def gateway(
    topology: Topology, embedded: EmbeddedBroker
) -> Iterator[tuple[Topology, GatewayDriver]]:
    """A decision gateway, scoring."""
    made = made_topology(topology, embedded)
    with GatewayDriver(made) as driver:
        yield made, driver


@contextmanager
def proxied(topology: Topology, upstream: str, **changes: Any) -> Iterator[tuple[str, Json]]:
    """A proxy's address; what it counted is there when it has ended."""
    settings = Proxy.model_validate(
        {
            "worker": "flight-delays",
            "port": 0,
            "health_port": 0,
            "upstream": upstream,
            "key": KEY,
            **changes,
        }
    )
    made = topology.model_copy(update={"proxy": settings})
    ready, started = threading.Event(), dict[str, Any]()

    async def main() -> None:
        started["loop"], started["stop"] = asyncio.get_running_loop(), asyncio.Event()

        def listening(opened: socket.socket) -> None:
            started["name"] = opened.getsockname()
            ready.set()

        started["app"] = await run_proxy(made, started["stop"], listening)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(30)
    name = started["name"]
    found = started.setdefault("counts", {})
    try:
        yield name if isinstance(name, str) else f"http://127.0.0.1:{name[1]}", found
    finally:
        started["loop"].call_soon_threadsafe(started["stop"].set)
        thread.join(30)
        assert not thread.is_alive()
        found.update(started["app"].counts)


@contextmanager
def hanging() -> Iterator[str]:
    """A gateway that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield f"http://127.0.0.1:{opened.getsockname()[1]}"


def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return f"http://127.0.0.1:{opened.getsockname()[1]}"


@pytest.fixture
def client() -> Iterator[httpx2.Client]:
    """A client as any."""
    with httpx2.Client(timeout=60, trust_env=False) as found:
        yield found


def until(fine: Callable[[], bool]) -> None:
    """Ask again and again, for a minute at most."""
    for _ in range(1200):
        if fine():
            return
        threading.Event().wait(0.05)
    raise TimeoutError("it never came true")


def headers_at(answer: httpx2.Response) -> dict[str, str]:
    """What the system was sent; what is there twice is joined."""
    found: dict[str, str] = {}
    for name, value in answer.json()["headers"]:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def test_a_decision_comes_in_the_headers(
    gateway: tuple[Topology, GatewayDriver],
    upstream: str,
    events: list[Json],
    client: httpx2.Client,
) -> None:
    """The one that the gateway makes and logs; the body is byte for byte what was sent."""
    made, driver = gateway
    body = json.dumps(events[0], indent=3).encode()
    with proxied(made, upstream, gateway=driver.url, budget="10s", add=["request", "response"]) as (
        url,
        _,
    ):
        answer = client.post(f"{url}/a%2Fb/../c?x=1&x=%20", content=body, headers=JSON)
        seen = headers_at(answer)
        asked = client.get(
            f"{driver.url}/v1/decisions/{seen['x-enrichment-decision-id']}",
            headers={"X-API-Key": KEY},
        )

    assert answer.status_code == 200
    assert answer.json()["sha256"] == hashlib.sha256(body).hexdigest()
    assert answer.json()["query"] == "x=1&x=%20"
    assert seen[STATUS] == answer.headers[STATUS] == "decided"
    block = asked.json()["decision"]
    assert float(seen["x-enrichment-score"]) == block["score"]
    assert seen["x-enrichment-decision"] == block["decision"]
    assert answer.headers["x-enrichment-decision"] == block["decision"]
    assert seen["x-enrichment-fallback"] == "false"
    assert seen["x-enrichment-scored-at"].endswith("Z")
    assert "x-enrichment-rule" not in seen
    assert CAUSE not in seen
    assert "x-api-key" not in seen


def test_what_looks_like_a_decision_and_is_none_does_not_pass(
    upstream: str, topology: Topology, client: httpx2.Client
) -> None:
    """Neither of an event nor of another request; hop-by-hop headers do not, the others do."""
    forged = {
        "X-Enrichment-Decision": "on_time",
        "x_enrichment_decision": "on_time",
        "Connection": "keep-alive, X-Hop",
        "X-Hop": "1",
        "TE": "trailers",
        "X-Own": "1",
        "X-Forwarded-For": "10.0.0.9",
    }
    with proxied(topology, upstream, gateway=nobody()) as (url, _):
        event = client.post(f"{url}/echo", content=b"{}", headers={**JSON, **forged})
        other = client.get(f"{url}/echo", headers=forged)

    for answer in (event, other):
        seen = headers_at(answer)
        assert "on_time" not in seen.values()
        assert not {"x-hop", "te", "upgrade"} & seen.keys()
        assert (seen["x-own"], seen["x-forwarded-for"]) == ("1", "10.0.0.9, 127.0.0.1")
        assert seen["host"] == url.removeprefix("http://")
        assert "user-agent" in seen
    assert headers_at(event)[CAUSE] == "unavailable"
    assert STATUS not in headers_at(other)


def test_what_it_did_is_at_its_own_port(
    gateway: tuple[Topology, GatewayDriver],
    upstream: str,
    events: list[Json],
    client: httpx2.Client,
) -> None:
    """Requests by result, what they waited, what the system did not answer; nothing of callers."""
    made, driver = gateway
    good, port = json.dumps(events[0]).encode(), free_port()
    settings: dict[str, Any] = {"gateway": driver.url, "budget": "10s", "health_port": port}
    with proxied(made, upstream, **settings) as (url, _):
        for path in ("zq7mark", "echo", "echo"):
            client.post(f"{url}/{path}", content=good, headers=JSON)
        client.post(f"{url}/echo", content=b"no JSON", headers=JSON)
        client.get(f"{url}/zq7mark", headers={"zq7mark": "zq7mark"})
        text = client.get(f"http://127.0.0.1:{port}/metrics").text
        ready = client.get(f"http://127.0.0.1:{port}/readyz").json()
    with proxied(made, nobody(), **settings) as (url, _):
        assert client.post(f"{url}/echo", content=good, headers=JSON).status_code == 502
        failed = read(client.get(f"http://127.0.0.1:{port}/metrics").text)

    series = read(text)
    requests = "workers_proxy_requests_total"
    assert of(series, requests, worker="flight-delays", door="proxy", result="decided") == 3
    assert of(series, requests, result="rejected") == 1
    assert of(series, requests, result="no_event") == 1
    assert of(series, "workers_proxy_added_duration_seconds_count") == 4
    assert of(series, "workers_build_info", worker="proxy") == 1
    assert of(series, "workers_telemetry_faults_total") == 0
    assert of(failed, "workers_proxy_upstream_failed_total") == 1
    assert "zq7mark" not in text
    assert ready == {"ready": True, "reasons": []}


def test_it_fails_open(
    gateway: tuple[Topology, GatewayDriver],
    upstream: str,
    events: list[Json],
    client: httpx2.Client,
) -> None:
    """Down, hanging, a body that does not fit, a list, too long: the system's answer, a cause."""
    made, driver = gateway
    good = json.dumps(events[0]).encode()
    with hanging() as silent:
        cases: list[tuple[str, bytes, dict[str, Any]]] = [
            ("unavailable", good, {"gateway": nobody()}),
            ("timeout", good, {"gateway": silent}),
            ("rejected", b'{"no": "flight"}', {"gateway": driver.url, "budget": "10s"}),
            ("rejected", b"no JSON", {"gateway": driver.url, "budget": "10s"}),
            ("refused", good, {"gateway": driver.url, "budget": "10s", "key": "wk_wrong"}),
            ("several", b" [" + good + b"]", {"gateway": driver.url}),
            ("too_large", good, {"gateway": driver.url, "max_body": "100B"}),
        ]
        for cause, body, changes in cases:
            with proxied(made, upstream, **changes) as (url, _):
                answer = client.post(f"{url}/echo", content=body, headers=JSON)
            seen = headers_at(answer)
            assert (seen[STATUS], seen[CAUSE]) == ("none", cause)
            assert answer.json()["sha256"] == hashlib.sha256(body).hexdigest()


def test_a_gateway_that_hangs_is_left_alone_for_a_while(
    upstream: str, topology: Topology, events: list[Json], client: httpx2.Client
) -> None:
    """After some that waited for nothing the next ones do not wait."""
    body = json.dumps(events[0]).encode()
    with (
        hanging() as silent,
        proxied(topology, upstream, gateway=silent, budget="20ms") as (
            url,
            _,
        ),
    ):
        causes = [
            headers_at(client.post(f"{url}/echo", content=body, headers=JSON))[CAUSE]
            for _ in range(7)
        ]

    assert causes[:5] == ["timeout"] * 5
    assert "paused" in causes[5:]


def test_answers_are_the_systems_own(
    upstream: str, topology: Topology, client: httpx2.Client
) -> None:
    """Status, headers there twice, encoded bodies, redirects, no body: as without the proxy."""
    with proxied(topology, upstream, gateway=nobody()) as (url, _):
        for path in ("/teapot", "/zipped", "/moved", "/nothing", "/connection"):
            for method in ("GET", "HEAD", "POST"):
                direct = client.request(method, upstream + path)
                through = client.request(method, url + path)
                assert through.status_code == direct.status_code
                assert through.content == direct.content
                hop = {"date", "keep-alive", "transfer-encoding"}
                ours, theirs = (
                    [h for h in each.headers.multi_items() if h[0] not in hop]
                    for each in (through, direct)
                )
                assert ours == theirs
                assert len(through.headers.get_list("date")) == 1


def test_streams_pass_as_they_come(
    upstream: str, topology: Topology, client: httpx2.Client
) -> None:
    """The system has a part before the next is sent, of an event too; the client has its answer's.

    Nothing holds the whole of either.
    """
    for media in ("text/plain", "application/json"):
        head = f"POST /upload HTTP/1.1\r\nhost: x\r\ncontent-type: {media}\r\n"
        with (
            proxied(topology, upstream, gateway=nobody(), budget="20ms") as (url, _),
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as opened,
        ):
            opened.settimeout(30)
            opened.sendall(f"{head}transfer-encoding: chunked\r\n\r\n3\r\none\r\n".encode())
            until(lambda: client.get(f"{upstream}/seen").content == b"one")
            opened.sendall(b"3\r\ntwo\r\n0\r\n\r\n")
            got = b""
            while b"onetwo" not in got:
                got += opened.recv(4096)
    with (
        proxied(topology, upstream, gateway=nobody()) as (url, _),
        client.stream("GET", f"{url}/drip") as answer,
    ):
        parts = answer.iter_raw()
        assert next(parts) == b"one"
        client.get(f"{upstream}/go")
        assert b"".join(parts) == b"two"
    big = bytes(range(256)) * 8192
    with proxied(topology, upstream, gateway=nobody()) as (url, _):
        answer = client.post(f"{url}/echo", content=big, headers=JSON)
    assert (answer.json()["bytes"], answer.json()["sha256"]) == (
        len(big),
        hashlib.sha256(big).hexdigest(),
    )


def test_a_system_that_is_down_is_said(topology: Topology, client: httpx2.Client) -> None:
    """502, and whose fault it is."""
    with proxied(topology, nobody(), gateway=nobody()) as (url, counts):
        answer = client.post(f"{url}/echo", content=b"{}", headers=JSON)

    assert (answer.status_code, answer.headers["content-type"]) == (
        502,
        "application/problem+json",
    )
    assert counts == {"unavailable": 1, "upstream_failed": 1}


def test_for_the_response_alone_nothing_waits(
    upstream: str, topology: Topology, client: httpx2.Client, events: list[Json]
) -> None:
    """A gateway that hangs for the whole of a long budget: the answer comes and says late."""
    with (
        hanging() as silent,
        proxied(topology, upstream, gateway=silent, budget="10s", add=[Side.RESPONSE.value]) as (
            url,
            counts,
        ),
    ):
        body = json.dumps(events[0]).encode()
        answer = client.post(f"{url}/echo", content=body, headers=JSON)

    assert (answer.headers[STATUS], answer.headers[CAUSE]) == ("none", "late")
    assert STATUS not in headers_at(answer)
    assert counts == {"late": 1}


def test_sockets_on_every_side(
    topology: Topology, upstream: str, events: list[Json], embedded: EmbeddedBroker, tmp_path: Path
) -> None:
    """The gateway in the same pod: its Unix socket, and the proxy's own."""
    callers = {"pod": {"workers": ["*"]}}
    plain = made_topology(topology, embedded)
    pod = Gateway.model_validate(
        {"socket": tmp_path / "g.sock", "callers": callers, "anonymous": "pod"}
    )
    made = plain.model_copy(update={"gateway": pod})
    with (
        GatewayDriver(made),
        proxied(made, upstream, socket=tmp_path / "p.sock", key=None, budget="10s") as (path, _),
        httpx2.Client(transport=httpx2.HTTPTransport(uds=path), timeout=30) as client,
    ):
        answer = client.post("http://any/echo", content=json.dumps(events[1]), headers=JSON)

    assert headers_at(answer)[STATUS] == "decided"
    assert "x-forwarded-for" not in headers_at(answer)


def test_names_cannot_be_smuggled() -> None:
    """Text that would break a header is encoded; every block has its prefix."""
    names = Names(["enrichment", "fraud_risk"])

    found = dict(
        names.decided(
            {
                "enrichment": {"decision": "a\r\nx-evil: 1", "score": 0.1, "reasons": []},
                "fraud_risk": {"decision": "späť"},
                "degraded": True,
                "cause": "over_budget",
            }
        )
    )

    assert found[b"x-enrichment-decision"] == b"a%0D%0Ax-evil: 1"
    assert found[b"x-fraud-risk-decision"] == b"sp%C3%A4%C5%A5"
    assert found[b"x-enrichment-cause"] == b"over_budget"
    assert b"x-enrichment-reasons" not in found
    assert names.ours(b"X-Fraud_Risk-Score")
    assert not names.ours(b"x-enrichmentx")


def test_the_command_runs_until_it_is_told_to_end(tmp_path: Path, upstream: str) -> None:
    """It prints where it listens, needs no broker, and ends with 0 on SIGTERM."""
    text = (ROOT / "topology.yaml").read_text().replace(": schemas", f": {ROOT}/schemas")
    text = text.replace("directory: models", f"directory: {ROOT}/models")
    proxy = f"proxy: {{worker: flight-delays, port: 0, upstream: {upstream}, gateway: {nobody()}}}"
    file = tmp_path / "topology.yaml"
    file.write_text(f"{text}{proxy}\n")
    command = [sys.executable, "-m", "workers", "sidecar", "proxy", "--topology", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        answer = httpx2.post(f"http://{address}/echo", content=b"{}", headers=JSON, timeout=30)
        process.terminate()
        code = process.wait(60)

    assert (headers_at(answer)[STATUS], code) == ("none", 0)
