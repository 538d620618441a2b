"""Hostile HTTP against the real server, while a real worker runs beside it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest

from tests.traffic import good
from workers.enrich.path import Enricher
from workers.operate.health.pages import Pages
from workers.operate.health.server import Limits, Server
from workers.stream.clock import SystemClock
from workers.stream.snapshot import Board
from workers.testing import Driver, EmbeddedBroker, Reader, isolated, produce
from workers.topology import Topology
from workers.wiring import pick

RECORDS = 300


@pytest.fixture(scope="module")
def driver(
    topology: Topology, enricher: Enricher, embedded: EmbeddedBroker
) -> Iterator[tuple[Driver, str, str]]:
    """A running worker, its input and its output."""
    own, worker = isolated(topology, pick(topology, None), embedded)
    with Driver(own, worker, enricher) as running:
        running.until(lambda: running.board.snapshot.assigned)
        yield running, worker.input.topic, worker.output.topic


@pytest.fixture
def server(driver: tuple[Driver, str, str]) -> Iterator[Server]:
    """The real one, on a free port."""
    with closing(_server(driver[0].board)) as found:
        yield found.start()


def _server(board: Board, limits: Limits | None = None) -> Server:
    pages = Pages(board, 120.0, SystemClock(), lambda: b"workers_up 1\n")
    return Server("127.0.0.1", 0, pages, limits)


def ask(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        with suppress(ConnectionError):
            # The answer may come before all of it was sent.
            connection.sendall(request)
        return _parsed(_everything(connection))


def _everything(connection: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            found += data
    return found


def _parsed(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = (line.partition(": ") for line in lines)
    return int(first.split()[1]), {name.lower(): text for name, _, text in fields}, body


def get(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """As a probe asks."""
    return ask(port, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def body(port: int, path: str) -> dict[str, Any]:
    """The JSON of a page."""
    found: dict[str, Any] = json.loads(get(port, path)[2])
    return found


def test_a_running_worker_is_alive_and_ready(server: Server) -> None:
    assert get(server.port, "/livez")[0] == 200
    assert body(server.port, "/readyz") == {"ready": True, "reasons": []}
    assert get(server.port, "/metrics")[2] == b"workers_up 1\n"
    found = body(server.port, "/status")
    assert (found["status"], found["phase"], found["ready"]) == ("OK", "running", True)
    assert [part["partition"] for part in found["partitions"]] == [0, 1, 2, 3]
    assert found["models"][0]["name"] == "flight-delay"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(b"GET /livez?x=1 HTTP/1.1\r\nHost: x\r\n\r\n", 200, id="a query"),
        pytest.param(b"HEAD /status HTTP/1.1\r\nHost: x\r\n\r\n", 200, id="head"),
        pytest.param(b"GET /livez HTTP/1.0\r\n\r\n", 200, id="http 1.0"),
        pytest.param(b"POST /livez HTTP/1.1\r\nHost: x\r\n\r\n", 405, id="post"),
        pytest.param(b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", 405, id="no method"),
        pytest.param(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405, id="connect"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n" + b"x" * 100_000,
            405,
            id="a body that never ends",
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404, id="root"),
        pytest.param(b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404, id="up"),
        pytest.param(b"GET /livez/../status HTTP/1.1\r\nHost: x\r\n\r\n", 404, id="up and down"),
        pytest.param(b"GET /%2e%2e/livez HTTP/1.1\r\nHost: x\r\n\r\n", 404, id="encoded"),
        pytest.param(b"GET http://x/livez HTTP/1.1\r\nHost: x\r\n\r\n", 404, id="a proxy's form"),
        pytest.param(b"GET /livez HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(b"GET /livez HTTP/2.0\r\nHost: x\r\n\r\n", 200, id="another version"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, id="tls"),
        pytest.param(b"\x00" * 100 + b"\r\n\r\n", 400, id="zeros"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, id="two hosts"),
        pytest.param(
            b"GET /livez HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n", 400, id="a zero in a header"
        ),
        pytest.param(b"GET /" + b"a" * 1_000_000, 431, id="a path of a megabyte"),
        pytest.param(
            b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100_000, 431, id="many headers"
        ),
    ],
)
def test_what_is_asked_badly_is_answered_and_no_more(
    server: Server, request_: bytes, status: int
) -> None:
    found, headers, content = ask(server.port, request_)
    assert found == status
    assert headers["connection"] == "close"
    assert (content == b"") is request_.startswith(b"HEAD")
    assert get(server.port, "/livez")[0] == 200


def test_a_second_request_on_one_connection_is_not_answered(server: Server) -> None:
    """A flood has to pay for a connection each time."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
        assert _everything(connection).count(b"HTTP/1.1 200") == 1


def test_probes_are_answered_while_connections_are_held_open(
    driver: tuple[Driver, str, str],
) -> None:
    """More than are allowed, each with half a request, and a byte more now and then."""
    with ExitStack() as open_:
        found = open_.enter_context(closing(_server(driver[0].board, Limits(connections=8))))
        found.start()
        held = [
            open_.enter_context(socket.create_connection(("127.0.0.1", found.port), timeout=20))
            for _ in range(40)
        ]
        for connection in held:
            with suppress(ConnectionError):
                connection.sendall(b"GET /livez HTTP/1.1\r\nX: ")
        for _ in range(3):
            assert get(found.port, "/livez")[0] == 200
            for connection in held:
                with suppress(ConnectionError):
                    connection.sendall(b"y")


def test_a_connection_that_says_nothing_is_closed(driver: tuple[Driver, str, str]) -> None:
    with closing(_server(driver[0].board, Limits(seconds=0.2))) as found:
        found.start()
        with socket.create_connection(("127.0.0.1", found.port), timeout=20) as connection:
            assert connection.recv(1) == b""


def test_a_flood_of_connections_does_not_disturb_the_stream(
    driver: tuple[Driver, str, str],
    server: Server,
    embedded: EmbeddedBroker,
    flights: list[bytes],
) -> None:
    """Ten thousand come and go while records do; every record arrives, no commit is disturbed."""
    running, source, target = driver
    recoveries = running.journal.counts.recoveries
    with Reader(embedded.bootstrap_servers, target) as enriched:
        floods = [threading.Thread(target=_flood, args=(server.port, 2500)) for _ in range(4)]
        for flood in floods:
            flood.start()
        produce(embedded.bootstrap_servers, source, good(flights[:RECORDS]))
        enriched.until(lambda seen: len(seen) >= RECORDS)
        for flood in floods:
            flood.join()
    assert len(enriched.records) == RECORDS
    assert running.journal.counts.recoveries == recoveries
    assert get(server.port, "/livez")[0] == 200


def _flood(port: int, connections: int) -> None:
    for number in range(connections):
        with suppress(OSError), socket.socket() as connection:
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
            if number % 3:
                connection.send(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")


def test_a_page_that_fails_is_an_error_of_its_own(driver: tuple[Driver, str, str]) -> None:
    def broken() -> bytes:
        raise ValueError("a secret")

    pages = Pages(driver[0].board, 120.0, SystemClock(), broken)
    with closing(Server("127.0.0.1", 0, pages)) as found:
        found.start()
        assert get(found.port, "/metrics")[::2] == (500, b"ValueError\n")
        assert get(found.port, "/livez")[0] == 200


def test_without_metrics_there_is_no_such_page(driver: tuple[Driver, str, str]) -> None:
    pages = Pages(driver[0].board, 120.0, SystemClock())
    with closing(Server("127.0.0.1", 0, pages)) as found:
        found.start()
        assert get(found.port, "/metrics")[0] == 404


def test_the_server_ends_while_it_is_being_asked(driver: tuple[Driver, str, str]) -> None:
    found = _server(driver[0].board).start()
    stop = threading.Event()

    def scrape() -> None:
        while not stop.is_set():
            with suppress(OSError, IndexError, ValueError):
                get(found.port, "/status")

    asking = threading.Thread(target=scrape)
    asking.start()
    found.close()
    assert not any(thread.name == "health" for thread in threading.enumerate())
    stop.set()
    asking.join()


def test_a_loop_that_hangs_fails_its_probe(topology: Topology, enricher: Enricher) -> None:
    """Held in a call, as by native code that never returns; the server answers all the same."""
    release = threading.Event()
    with EmbeddedBroker() as broker, ExitStack() as ends:
        own, worker = isolated(topology, pick(topology, None), broker)

        def hang(place: str) -> None:
            if place == "polled":
                release.wait()

        driver = Driver(own, worker, enricher, at=hang)
        pages = Pages(driver.board, 0.2, SystemClock())
        found = ends.enter_context(closing(Server("127.0.0.1", 0, pages))).start()
        ends.callback(driver.loop.stop)
        ends.callback(release.set)
        driver.start()
        driver.until(lambda: get(found.port, "/livez")[0] == 503)
        assert "no sign of life" in body(found.port, "/livez")["why"]
        assert body(found.port, "/readyz")["reasons"][0]["code"] == "stuck"
        release.set()
        driver.stop()


def _codes(port: int) -> list[str]:
    return [reason["code"] for reason in body(port, "/readyz")["reasons"]]


def test_an_outage_of_the_brokers_leaves_it_alive(
    topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """And not ready, with the reason; ready again when they are back."""
    with EmbeddedBroker() as broker:
        own, worker = isolated(topology, pick(topology, None), broker, transaction_timeout=2.0)

        def cut(place: str) -> None:
            if place == "committing":
                broker.set_down()

        driver = Driver(own, worker, enricher, at=cut)
        with driver, closing(_server(driver.board)) as found:
            found.start()
            driver.until(lambda: body(found.port, "/readyz")["ready"])
            produce(broker.bootstrap_servers, worker.input.topic, good(flights[:5]))
            driver.until(lambda: "producer_unwell" in _codes(found.port))
            assert get(found.port, "/livez")[0] == 200
            broker.set_up()
            driver.until(lambda: body(found.port, "/readyz")["ready"])
