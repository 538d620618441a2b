"""Who we are, proven in each way on a real broker with the printed rights; and who is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.conftest import ROOT
from tests.contracts.certificates import Pair
from tests.security.place import CLIENT_SECRET, PASSWORD, Place, give, needed
from tests.security.tokens import ISSUER, JWT_BEARER
from tests.traffic import good
from workers.enrich.path import Enricher
from workers.errors import BrokerUnreachable, ClientHalt, ExitCode, Halt
from workers.operate import look, refusal
from workers.testing import Driver, OutRecord, Reader, Sent, produce
from workers.topology import load
from workers.wiring import check_broker, pick

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
KEY_PASSWORD, WRONG = "hunter4", "hunter5"
SECRETS = (PASSWORD, CLIENT_SECRET, KEY_PASSWORD, WRONG)
Way = Callable[[Place, Path], str]


def secret_file(folder: Path, secret: str) -> Path:
    """As a volume of secrets has it."""
    file = folder / "secret"
    file.write_text(f"{secret}\n")
    return file


def by_secret(place: Place, folder: Path, secret: str = CLIENT_SECRET, ca: str = "") -> str:
    """A token for a client's secret, which is in a file."""
    file = secret_file(folder, secret)
    trusted = ca or f"ca: {place.authority.ca}"
    return place.oauth("client_id: worker", f"client_secret_file: {file}", trusted)


def by_signature(place: Place, folder: Path) -> str:
    """A token for a statement that we sign."""
    key = rsa.generate_private_key(65537, 2048)
    public = folder / "public.pem"
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    place.tokens.trusted = public
    private = folder / "private.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    claims = f"issuer: worker, subject: ann, audience: {ISSUER}"
    return place.oauth(f"assertion: {{key: {private}, {claims}}}", f"ca: {place.authority.ca}")


def locked(place: Place) -> Pair:
    """A certificate whose key has a password."""
    return place.authority.sign("locked", password=KEY_PASSWORD)


WAYS: dict[str, tuple[str, str, str, Way]] = {
    "scram": (
        "password", "User:ann", "",
        lambda place, folder: place.scram().replace(
            'password: "${PASSWORD}"', f"password_file: {secret_file(folder, PASSWORD)}"
        ),
    ),
    "scram, at least once": (
        "password", "User:ann", "delivery: at_least_once",
        lambda place, _: place.scram("SCRAM-SHA-256"),
    ),
    "certificate": (
        "mutual", "User:CN=locked", "",
        lambda place, _: place.mutual(locked(place), f"key_password: {KEY_PASSWORD}"),
    ),
    "token": ("token", "User:ann", "protocol: consumer", by_secret),
    "token, signed": ("token", "User:ann", "delivery: at_least_once", by_signature),
}  # fmt: skip
"""The listener, the principal, a line of the worker, and what its topology says of security."""


@pytest.mark.parametrize("name", WAYS)
def test_a_worker_runs_with_the_printed_rights_alone(
    place: Place, tmp_path: Path, enricher: Enricher, flights: list[bytes], name: str
) -> None:
    """Each way in, both deliveries, both group protocols: every record comes out once."""
    listener, who, more, way = WAYS[name]
    group = f"group: {name.replace(', ', '.').replace(' ', '.')}"
    more = f"{more}\n{group}".strip()
    file = place.topology(tmp_path / "way.yaml", listener, way(place, tmp_path), who=who, more=more)
    topology = load(file, {"PASSWORD": PASSWORD})
    give(place.admin, needed(topology))
    worker = pick(topology, None)
    run = name.encode()
    records = [
        Sent(each.value, key=each.key, headers=[("run", run)]) for each in good(flights[:100])
    ]

    place.tokens.asked.clear()
    check_broker(topology.broker, worker)
    produce(place.admin, "flights", [*records, Sent(b"cut", headers=[("run", run)])])
    with (
        Driver(topology, worker, enricher) as driver,
        Reader(place.admin, "flights.enriched", "flights.dlq", "flights.decisions") as reader,
    ):
        reader.until(lambda seen: count(seen, name) == (100, 1))
        driver.check()
    assert count(reader.records, name) == (100, 1)
    grants = {"token": {"client_credentials"}, "token, signed": {JWT_BEARER}}
    assert set(place.tokens.asked) == grants.get(name, set())


def count(seen: Sequence[OutRecord], run: str) -> tuple[int, int]:
    """Enriched events and dead letters of a run, whoever wrote them first."""
    topics = [record.topic for record in seen if record.header("run") == run]
    return topics.count("flights.enriched"), topics.count("flights.dlq")


def old(place: Place) -> str:
    """Our certificate is out of date."""
    return place.mutual(place.authority.sign("me-old", expired=True))


def strange(place: Place) -> str:
    """Nobody knows who signed our certificate."""
    return place.mutual(place.stranger.sign("me-strange"))


def encrypted(place: Place) -> str:
    """TLS, and we show nothing."""
    return f"{{protocol: SSL, {place.tls()}}}"


def damaged(_: Place, folder: Path) -> str:
    """A file of certificates that holds none."""
    file = folder / "damaged.pem"
    file.write_text("nonsense")
    return f"{{protocol: SSL, tls: {{ca: {file}}}}}"


REFUSED: dict[str, tuple[str, Way, str]] = {
    "wrong password": (
        "password", lambda place, _: place.scram(password=WRONG),
        "invalid credentials.*check broker.security.sasl",
    ),
    "a mechanism that the listener has not": (
        "token", lambda place, _: place.scram(),
        "supported mechanisms: OAUTHBEARER.*check broker.security.sasl",
    ),
    "nobody says who signs": (
        "password", lambda place, _: place.scram().replace(f", {place.tls()}", ""),
        "unable to get local issuer certificate; broker.security.tls.ca names who",
    ),
    "signed by another": (
        "password",
        lambda place, _: place.scram().replace(str(place.authority.ca), str(place.stranger.ca)),
        "unable to get local issuer certificate; broker.security.tls.ca names who",
    ),
    "another host's": (
        "elsewhere", lambda place, _: encrypted(place),
        "IP address mismatch.*write the name that is in it in broker.bootstrap_servers",
    ),
    "out of date": (
        "expired", lambda place, _: encrypted(place),
        "certificate has expired; the broker needs another one",
    ),
    "we show no certificate": (
        "mutual", lambda place, _: encrypted(place),
        "write broker.security.tls.certificate, key",
    ),
    "ours is out of date": (
        "mutual", lambda place, _: old(place), "does not take .*me-old.pem: is it out of date",
    ),
    "ours is a stranger's": (
        "mutual", lambda place, _: strange(place), "does not take .*me-strange.pem",
    ),
    "the key's password is wrong": (
        "mutual", lambda place, _: place.mutual(locked(place), f"key_password: {WRONG}"),
        "ssl.key.location failed",
    ),
    "no certificates in the file": ("mutual", damaged, "ssl.ca.location failed"),
}  # fmt: skip


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", REFUSED)
def test_who_is_refused_is_told_why_and_what_to_do(
    place: Place, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """Within seconds, by exit code 7, and no secret is said or logged."""
    listener, way, text = REFUSED[name]
    file = place.topology(tmp_path / "refused.yaml", listener, way(place, tmp_path))
    topology = load(file, {"PASSWORD": PASSWORD})

    with pytest.raises(ClientHalt, match=text) as refused:
        check_broker(topology.broker, pick(topology, None))

    assert refused.value.exit_code is ExitCode.HALTED
    silent(str(refused.value), *capfd.readouterr())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other broker that might take us."""
    monkeypatch.setattr(refusal, "PATIENCE", 0.2)
    monkeypatch.setattr(look, "ASKING", 0.5)


def silent(*texts: str) -> None:
    """No secret in any of them."""
    assert [word for text in texts for word in SECRETS if word in text] == []


UNANSWERED: dict[str, tuple[str, Way, str]] = {
    "the client's secret is wrong": (
        "token", lambda place, folder: by_secret(place, folder, WRONG),
        "token: invalid_client .check broker.security.sasl.oauth",
    ),
    "the token server's certificate": (
        "token", lambda place, folder: by_secret(place, folder, ca=f"ca: {place.stranger.ca}"),
        "token: .*certificate.*check broker.security.sasl.oauth",
    ),
    "no such token server": (
        "token", lambda place, folder: by_secret(place, folder).replace("/token,", "/none,"),
        "token: .*check broker.security.sasl.oauth|token server",
    ),
    "TLS to a plain listener": (
        "", lambda place, _: encrypted(place), "connecting to a PLAINTEXT broker listener",
    ),
}  # fmt: skip


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", UNANSWERED)
def test_where_nobody_could_be_asked_it_says_why(
    place: Place, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """By exit code 6: it may be well again, as an outage is."""
    listener, way, text = UNANSWERED[name]
    file = place.topology(tmp_path / "silent.yaml", listener, way(place, tmp_path))
    file.write_text(file.read_text().replace("20s", "3s"))
    topology = load(file, {})

    with pytest.raises(BrokerUnreachable, match=text) as refused:
        check_broker(topology.broker, pick(topology, None))

    assert refused.value.exit_code is ExitCode.BROKER
    silent(str(refused.value), *capfd.readouterr())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "claims", [{"aud": "another"}, {"iss": "https://else"}, {"exp": 1}, {"forged": True}]
)
def test_a_token_that_is_not_for_this_broker_is_refused(
    place: Place, tmp_path: Path, claims: dict[str, object]
) -> None:
    """By the broker, which has the token server's public keys; one out of date we never send."""
    file = place.topology(tmp_path / "token.yaml", "token", by_secret(place, tmp_path))
    topology = load(file, {})
    place.tokens.claims = claims

    try:
        with pytest.raises(Halt, match=r"check broker\.security\.sasl"):
            check_broker(topology.broker, pick(topology, None))
    finally:
        place.tokens.claims = {}


def test_the_command_ends_with_the_code_and_the_reason(place: Place, tmp_path: Path) -> None:
    """`workers run` with a wrong password: one line, code 7, no secret and no traceback."""
    file = place.topology(tmp_path / "run.yaml", "password", place.scram())

    done = subprocess.run(
        [sys.executable, "-m", "workers", "run", "-t", str(file)],
        cwd=ROOT, env={**os.environ, "PASSWORD": WRONG}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip

    lines = done.stderr.splitlines()
    assert done.returncode == ExitCode.HALTED
    assert "invalid credentials" in lines[-1]
    assert "check broker.security.sasl" in lines[-1]
    assert all(json.loads(line)["event"] for line in lines[:-1])
    silent(done.stdout, done.stderr)
