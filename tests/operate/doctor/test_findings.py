"""Each finding of the doctor's that needs no cluster, from what makes it."""

from __future__ import annotations

import email.utils
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.certificates import Authority, Pair
from workers.operate.doctor.clocks import against_records, against_server, skew
from workers.operate.doctor.combinations import combinations
from workers.operate.doctor.findings import ABOUT, Check, Finding, Severity, of_steps, worst_first
from workers.operate.doctor.host import Host, folders, limits, needed_memory, this_host
from workers.operate.doctor.reach import bootstrap, own_certificate, reached
from workers.operate.steps import Doer, Kind, Step, fault, note, warning
from workers.topology import Broker, FirstStart, Health, ModelsPlace, Protocol, Topology
from workers.topology.security import Security
from workers.wiring import pick

NOW = datetime.now(UTC).replace(microsecond=0)
FAULT, WARNING, NOTE, OK = Severity


def test_every_check_says_what_it_looks_at() -> None:
    assert list(ABOUT) == list(Check)


@pytest.mark.parametrize(
    ("changes", "severity", "text"),
    [
        ({"static_membership": True, "protocol": Protocol.CONSUMER}, WARNING, "UNRELEASED"),
        ({"static_membership": True}, NOTE, "takes the host's name"),
        ({"watchdog": 290.0}, WARNING, "would let a slow batch's member go"),
        ({"watchdog": 110.0}, WARNING, "a batch that is merely slow fails /livez"),
        ({"consumer": {"max.poll.interval.ms": 100_000}}, WARNING, "before /livez fails"),
        ({"consumer": {"check.crcs": False}}, WARNING, "damaged on its way"),
        ({"first_start": FirstStart.LATEST}, NOTE, "never enriched"),
        ({}, NOTE, "is pinned to version 1"),
    ],
)
def test_a_workers_settings(
    topology: Topology, changes: dict[str, Any], severity: Severity, text: str
) -> None:
    worker = pick(topology, None).model_copy(update=changes)
    assert severity in _severities(combinations(topology, worker), text)


@pytest.mark.parametrize(
    ("changes", "severity", "text"),
    [
        ({"health": None}, NOTE, "nothing can probe"),
        ({"health": Health(address="::")}, NOTE, "asks nobody who they are"),
        ({"models": ModelsPlace.model_validate({"url": "s3://b/m"})}, WARNING, "no cache"),
        ({"state": None}, NOTE, "below the user's home"),
        ({"broker": Broker(bootstrap_servers="k.example:9092")}, WARNING, "cross the network"),
        (
            {
                "broker": Broker(
                    bootstrap_servers="k.example:9092",
                    security=Security.model_validate(
                        {"protocol": "SSL", "tls": {"verify_hostname": False}}
                    ),
                )
            },
            WARNING,
            "verify_hostname is off",
        ),
    ],
)
def test_a_topologys_settings(
    topology: Topology, changes: dict[str, Any], severity: Severity, text: str
) -> None:
    found = combinations(topology.model_copy(update=changes), pick(topology, None))
    assert severity in _severities(found, text)


def test_settings_that_go_together_are_not_found_fault_with(topology: Topology) -> None:
    """The demo's: nothing worse than a note."""
    found = list(combinations(topology, pick(topology, None)))
    assert {each.severity for each in found} == {NOTE}


def _severities(found: Iterator[Finding], text: str) -> list[Severity]:
    return [each.severity for each in found if text in each.what]


def test_limits_of_the_host(topology: Topology) -> None:
    worker = pick(topology, None)
    small = list(limits(Host(files=300, memory=2**20), worker, brokers=20, processes=2))
    assert [(each.check, each.severity) for each in small] == [
        (Check.FILES, FAULT),
        (Check.MEMORY, WARNING),
    ]
    assert str(needed_memory(worker) * 2 // 2**20) in small[1].what
    large = limits(Host(files=4096, memory=2**40), worker, brokers=3, processes=2)
    assert [each.severity for each in large] == [OK, OK]
    here = this_host()
    assert here.files > 0
    assert here.memory > 2**20


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those to come as well; a file is no folder."""
    (tmp_path / "file").touch()
    places = {"state": tmp_path / "file" / "below", "models.cache": tmp_path / "a" / "b"}
    assert [each.severity for each in folders(places)] == [FAULT, OK]
    monkeypatch.setattr("workers.operate.doctor.host.ROOM", 2**62)
    assert [each.severity for each in folders({"state": tmp_path})] == [WARNING]


@pytest.mark.parametrize(
    ("seconds", "severity"), [(0, OK), (-29, OK), (45, WARNING), (-45, WARNING), (900, FAULT)]
)
def test_a_clock_that_is_apart(seconds: float, severity: Severity) -> None:
    assert skew("registry", seconds).severity is severity


def test_the_clock_of_a_server_is_in_any_answer_of_its() -> None:
    """An error's too; where nobody answers nothing is said."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.end_headers()

        def date_time_string(self, _: float | None = None) -> str:
            return email.utils.format_datetime(NOW - timedelta(minutes=2), usegmt=True)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/subjects"
        (found,) = against_server("registry", url, NOW.timestamp())
        thread.join()
    assert (found.severity, found.what) == (WARNING, "this host's clock is 120 s ahead")
    assert list(against_server("registry", "http://127.0.0.1:1", 0.0)) == []


def test_records_from_the_future() -> None:
    assert [f.severity for f in against_records("t", [1, None, 40_000], 1000)] == [WARNING]
    assert [f.severity for f in against_records("t", [1, None], 1000)] == [OK]
    assert list(against_records("t", [None], 1000)) == []


def test_steps_of_a_plan_are_findings() -> None:
    """Faults stay faults; what `apply` does says so."""
    grant = Step(kind=Kind.ADD_ACL, doer=Doer.PERSON, target="topic t", remedy="kafka-acls.sh …")
    change = Step(
        kind=Kind.CHANGE_SETTING, doer=Doer.APPLY, target="topic t", setting="s", wanted="1"
    )
    steps = [note("ACLs", "no authorizer"), warning("t", "odd"), fault("t", "bad", "do"), grant]
    found = worst_first(of_steps([*steps, change, change]))
    assert [(each.check, each.severity) for each in found] == [
        (Check.PLAN, FAULT),
        (Check.ACLS, FAULT),
        (Check.PLAN, WARNING),
        (Check.PLAN, WARNING),
        (Check.ACLS, NOTE),
    ]
    assert [f.remedy for f in found if "change setting" in f.what] == ["workers apply --yes"]


def test_addresses_that_do_not_answer() -> None:
    """A name that does not resolve, and a port that nobody has."""
    broker = Broker(bootstrap_servers="nobody.invalid:9092, [::1]:7,127.0.0.1")
    assert bootstrap(broker)[0] == ("nobody.invalid", 9092)
    assert bootstrap(broker)[1] == ("::1", 7)
    addresses = [("nobody.invalid", 9092), ("127.0.0.1", 1)]
    found = list(reached(broker, addresses, "advertised", NOW))
    assert [each.severity for each in found] == [FAULT, FAULT]
    assert "does not resolve" in found[0].what
    assert "refused" in found[1].what
    assert all("advertised.listeners" in each.remedy for each in found)


@contextmanager
def listening(pair: Pair, ca: Path | None = None) -> Iterator[int]:
    """A port with TLS that takes one connection; with `ca` it wants a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    if ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("signed", "later", "severity", "text"),
    [
        pytest.param({}, 0, WARNING, "soon", id="ends in ten days"),
        pytest.param({}, -25, OK, "the certificate ends", id="ends in a month"),
        pytest.param({"expired": True}, 0, FAULT, "expired", id="is over"),
        pytest.param({"host": "127.0.0.2"}, 0, FAULT, "IP address mismatch", id="another's"),
        pytest.param({"other": True}, 0, FAULT, "unable to get local issuer", id="unknown"),
    ],
)
def test_certificates_of_brokers(
    tmp_path: Path, signed: dict[str, Any], later: int, severity: Severity, text: str
) -> None:
    ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    authority = other if signed.pop("other", False) else ours
    pair = authority.sign("broker", **signed)
    with listening(pair) as port:
        broker = Broker(
            bootstrap_servers=f"127.0.0.1:{port}",
            security=Security.model_validate({"protocol": "SSL", "tls": {"ca": str(ours.ca)}}),
        )
        when = NOW + timedelta(days=later)
        found = list(reached(broker, bootstrap(broker), "bootstrap", when))
    assert (found[0].check, found[0].severity) == (Check.ADDRESSES, OK)
    assert (found[1].check, found[1].severity) == (Check.TLS, severity)
    assert text in found[1].what


def test_a_listener_that_speaks_no_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                connection.sendall(b"not tls at all")

        thread = threading.Thread(target=serve)
        thread.start()
        broker = Broker(
            bootstrap_servers=f"127.0.0.1:{port}",
            security=Security.model_validate({"protocol": "SSL"}),
        )
        found = list(reached(broker, bootstrap(broker), "bootstrap", NOW))
        thread.join()
    assert [each.severity for each in found] == [OK, FAULT]
    assert "no handshake" in found[1].what


def test_our_own_certificate(tmp_path: Path) -> None:
    """Ends soon, is over, is none."""
    authority = Authority(tmp_path, "ours")
    severities = []
    for pair in (authority.sign("a"), authority.sign("b", expired=True)):
        severities += [found.severity for found in own_certificate(_mutual(pair), NOW)]
    broken = authority.sign("c")
    broken.certificate.write_text("nothing")
    severities += [found.severity for found in own_certificate(_mutual(broken), NOW)]
    assert severities == [WARNING, FAULT, FAULT]
    assert list(own_certificate(Broker(bootstrap_servers="x:1"), NOW)) == []


def _mutual(pair: Pair) -> Broker:
    tls = {"certificate": str(pair.certificate), "key": str(pair.key)}
    security = Security.model_validate({"protocol": "SSL", "tls": tls})
    return Broker(bootstrap_servers="x:1", security=security)
