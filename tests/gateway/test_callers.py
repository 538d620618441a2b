"""Who may ask, for what, how often; and what operators may do, on a listener of their own."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.gateway.conftest import KEY, NAME, PATH, Json
from tests.gateway.test_log import until
from tests.promises.test_swap import two_versions, why
from workers.errors import TopologyError
from workers.gateway.callers import Callers, hashed, new_key
from workers.gateway.notes import saying
from workers.gateway.problems import Kind, Problem
from workers.gateway.tokens import JwtTokens
from workers.models.store import Store
from workers.stream.clock import SystemClock
from workers.testing import EmbeddedBroker, GatewayDriver
from workers.topology import ModelRef, ModelsPlace, Topology, load
from workers.topology.gateway import Admin, Caller, Gateway, Jwt, Role

__all__ = ["two_versions"]
SECRET = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SAY = saying(gateway="tests")


def jwks(key: rsa.RSAPrivateKey = SECRET, kid: str = "one") -> str:
    """The issuer's keys."""
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return json.dumps({"keys": [{**public, "kid": kid, "alg": "RS256", "use": "sig"}]})


def token(key: Any = SECRET, algorithm: str = "RS256", kid: str = "one", **changes: Any) -> str:
    """A token of the issuer's, or not quite."""
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
    claims = {"sub": "team-a", "iss": "https://issuer", "aud": "decisions", "exp": soon, **changes}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers={"kid": kid})


@pytest.fixture
def settings(tmp_path: Path) -> Jwt:
    """Keys in a file."""
    file = tmp_path / "jwks.json"
    file.write_text(jwks())
    return Jwt(jwks_file=file, algorithms=("RS256",), issuer="https://issuer", audience="decisions")


def callers(**gateway: Any) -> Callers:
    """As a topology says it."""
    made = Gateway.model_validate(gateway)
    return Callers(made, None if made.jwt is None else JwtTokens(made.jwt, SystemClock(), SAY))


def refused(found: Callers, headers: dict[str, str], address: str | None = "10.0.0.1") -> Kind:
    """Why."""
    with pytest.raises(Problem) as raised:
        found.who(headers, address)
    return raised.value.kind


def test_a_key_is_known_by_its_hash_alone() -> None:
    """And nothing else is a key."""
    key, kept = new_key()
    found = callers(callers={"a": {"keys": [kept], "workers": ["*"]}})

    assert found.who({"x-api-key": key}, None).name == "a"
    for wrong in ("", kept, key[:-1], key + "x", "é"):
        assert refused(found, {"x-api-key": wrong}) is Kind.UNAUTHENTICATED
    assert refused(found, {}) is Kind.UNAUTHENTICATED
    assert refused(found, {"authorization": f"Bearer {key}"}) is Kind.UNAUTHENTICATED


def test_a_token_counts_where_all_of_it_fits(settings: Jwt) -> None:
    """Signature, algorithm, issuer, audience, time and subject."""
    parts = {"a": {"subjects": ["team-a"], "workers": ["*"]}}
    found = callers(callers=parts, jwt=settings.model_dump(exclude={"refresh"}))
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)

    assert found.who({"authorization": f"Bearer {token()}"}, None).name == "a"
    wrong = [
        token(OTHER),
        token(kid="two"),
        token("a secret of thirty-two bytes or more", "HS256"),
        token(exp=past),
        token(exp=None),
        token(iss="https://other"),
        token(aud="others"),
        token(aud=None),
        token(sub="team-b"),
        token(sub=None),
        token(algorithm="RS512"),
        token()[:-4] + "AAAA",
        jwt.encode({"sub": "team-a"}, "", algorithm="none"),
        "", "x", "a.b.c", "é.é.é",
    ]  # fmt: skip
    for each in wrong:
        assert refused(found, {"authorization": f"Bearer {each}"}) is Kind.UNAUTHENTICATED


class Issuer(BaseHTTPRequestHandler):
    """Serves keys."""

    document, asked = jwks(), 0

    def do_GET(self) -> None:
        """The keys."""
        type(self).asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.document.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def issuer() -> Iterator[tuple[str, type[Issuer]]]:
    """A server with keys."""
    kind = type("Own", (Issuer,), {"asked": 0})
    server = HTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", kind
    server.shutdown()
    thread.join()
    server.server_close()


class Ticking:
    """A clock that is moved."""

    at = 1000.0

    def now(self) -> int:
        """Milliseconds."""
        return int(self.at * 1000)

    def monotonic(self) -> float:
        """Seconds."""
        return self.at


def test_keys_of_a_url_are_kept_and_renewed(issuer: tuple[str, type[Issuer]]) -> None:
    """A new key is looked for, however many bad tokens come; what is known outlives an outage."""
    url, kind = issuer
    clock = Ticking()
    settings = Jwt(
        jwks_url=url, algorithms=("RS256",), issuer="https://issuer", audience="decisions"
    )
    tokens = JwtTokens(settings, clock, SAY)

    assert tokens.subject(token()) == "team-a"
    for _ in range(20):
        with pytest.raises(Problem):
            tokens.subject(token(OTHER, kid="two"))
    assert kind.asked == 1
    kind.document = jwks(OTHER, "two")
    clock.at += 11
    assert tokens.subject(token(OTHER, kid="two")) == "team-a"
    assert kind.asked == 2
    kind.document = "no keys"
    clock.at += 1000
    assert tokens.subject(token(OTHER, kid="two")) == "team-a"


def test_a_certificate_counts_from_a_declared_proxy_alone() -> None:
    """From anywhere else the header is nothing."""
    found = callers(
        callers={"a": {"subjects": ["CN=a,O=x"], "workers": ["*"]}},
        proxies={"addresses": ["10.0.0.0/8"]},
    )
    said = {"x-client-cert-subject": "CN=a,O=x"}

    assert found.who(said, "10.1.2.3").name == "a"
    for address in ("192.168.0.1", "::1", None, "10.1.2.3.4"):
        assert refused(found, said, address) is Kind.UNAUTHENTICATED
    assert refused(found, {"x-client-cert-subject": "CN=b"}, "10.1.2.3") is Kind.UNAUTHENTICATED
    assert refused(found, {}, "10.1.2.3") is Kind.UNAUTHENTICATED


def test_a_caller_has_its_workers_fields_and_rate(
    embedded: EmbeddedBroker, gateway_topology: Callable[..., Topology], events: list[Json]
) -> None:
    """And is told which of them it went beyond."""
    names = list(events[0])
    parts = {
        "narrow": Caller(
            workers=(NAME,),
            keys=(hashed("narrow"),),
            accepts=tuple(names[:-1]),
            returns=("decision", "model_version"),
        ),
        "none": Caller(workers=(), keys=(hashed("none"),)),
        "slow": Caller(workers=("*",), keys=(hashed("slow"),), rate="3/hour"),
    }
    topology = gateway_topology(embedded, callers=parts)
    fitting = {name: events[0][name] for name in names[:-1]}
    with GatewayDriver(topology) as gateway, httpx2.Client(base_url=gateway.url) as asking:

        def ask(key: str, body: Any, **more: Any) -> httpx2.Response:
            return asking.post(PATH, json=body, headers={"X-API-Key": key}, **more)

        narrow = ask("narrow", fitting)
        wide = ask("narrow", events[0])
        binary = asking.post(
            PATH, content=b"\0", headers={"X-API-Key": "narrow", "Content-Type": "application/avro"}
        )
        none = ask("none", fitting)
        models = asking.get("/v1/models", headers={"X-API-Key": "none"})
        slow = [ask("slow", [fitting] * n) for n in (2, 2, 1)]

    assert narrow.json()["enrichment"].keys() == {"decision", "model_version"}
    assert wide.status_code == 403
    assert wide.json()["errors"][0]["pointer"] == f"#/{names[-1]}"
    assert binary.status_code == none.status_code == 403
    assert models.json() == {"workers": []}
    assert [answer.status_code for answer in slow] == [200, 429, 200]
    assert int(slow[1].headers["retry-after"]) > 1


def test_anonymous_callers_are_harmless_or_refused() -> None:
    """Only where nobody else can come from, and without roles."""
    quiet = {"a": {"workers": ["*"]}}

    assert callers(callers=quiet, anonymous="a").who({}, "127.0.0.1").name == "a"
    for wrong in (
        {"callers": quiet, "anonymous": "a", "host": "0.0.0.0"},  # noqa: S104  what is refused
        {"callers": quiet, "anonymous": "b"},
        {"callers": {"a": {"workers": ["*"], "roles": ["bypass"]}}, "anonymous": "a"},
        {"callers": {"a": {**quiet["a"], "keys": [hashed("k")]},
                     "b": {**quiet["a"], "keys": [hashed("k")]}}},
        {"log": {"on_failure": "spill"}},
        {"jwt": {"algorithms": ["HS256"], "issuer": "i", "audience": "a", "jwks_url": "http://x"}},
        {"jwt": {"algorithms": [], "issuer": "i", "audience": "a", "jwks_url": "http://x"}},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"."):
            Gateway.model_validate(wrong)


def test_operators_act_by_role_and_leave_a_trace(
    embedded: EmbeddedBroker,
    gateway_topology: Callable[..., Topology],
    events: list[Json],
    two_versions: Path,
    tmp_path: Path,
) -> None:
    """Promote, bypass, resume, roll back: on the admin's port alone, by role, each in the audit."""
    parts = {
        "tests": Caller(workers=("*",), keys=(hashed(KEY),)),
        "boss": Caller(workers=(), keys=(hashed("boss"),), roles=(Role.PROMOTE, Role.BYPASS)),
        "night": Caller(workers=(), keys=(hashed("night"),), roles=(Role.BYPASS,)),
    }
    audit = tmp_path / "audit.jsonl"
    ref = ModelRef.model_validate({"name": "flight-delay", "alias": "champion", "poll": "100ms"})
    topology = gateway_topology(
        embedded, callers=parts, admin=Admin(port=0), audit=audit, worker={"model": ref}
    ).model_copy(update={"models": ModelsPlace(directory=two_versions)})
    Store(two_versions).promote("flight-delay", "1", why("begin"))
    verbs = "/v1/admin/models/flight-delay"
    with (
        GatewayDriver(topology) as gateway,
        httpx2.Client(base_url=gateway.admin_url, timeout=60) as admin,
        httpx2.Client(base_url=gateway.url, headers={"X-API-Key": KEY}) as asking,
    ):

        def act(key: str, verb: str, **body: Any) -> int:
            said = {"why": "a test", **body}
            answer = admin.post(f"{verbs}/{verb}", json=said, headers={"X-API-Key": key})
            return answer.status_code

        def decision() -> Json:
            answer = asking.post(PATH, json=events[0])
            assert answer.status_code == 200
            found: Json = answer.json()
            return found

        public = asking.post(f"{verbs}/bypass", json={"why": "x"}, headers={"X-API-Key": "boss"})
        assert public.status_code == 404
        assert act(KEY, "bypass") == act("night", "promote", version="2") == 403
        assert act("wrong", "bypass") == 401
        assert act("boss", "promote", version="2") == 200
        until(lambda: decision()["enrichment"]["model_version"] == "2")
        assert act("boss", "promote", version="9") == 409
        assert act("night", "bypass") == 200
        until(lambda: decision()["cause"] == "bypassed")
        assert decision()["degraded"] is True
        assert act("night", "resume") == 200
        assert act("boss", "rollback") == 200
        until(lambda: decision()["enrichment"]["model_version"] == "1")
        assert act("boss", "bypass", why="") == 422
        serving = asking.get("/v1/models").json()["workers"][0]["blocks"]["enrichment"]
        assert (serving["version"], serving["bypassed"]) == ("1", False)

    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    done = [(line["who"], line["did"]) for line in lines if line["result"] == "done"]
    assert done == [
        ("boss", "promote 2 to champion"), ("night", "bypass"), ("night", "resume"),
        ("boss", "rollback"),
    ]  # fmt: skip
    assert [line["who"] for line in lines if "role" in line["result"]] == ["tests", "night"]
    assert [line["did"] for line in lines if line["who"] is None] == ["bypass"]
    history = Store(two_versions).aliases("flight-delay").history
    assert [entry.who for entry in history[-4:]] == ["boss", "night", "night", "boss"]


def test_what_a_topology_may_not_say(tmp_path: Path) -> None:
    """Each fault with its place."""
    base = """
version: 1
broker: {bootstrap_servers: x}
contracts: {directory: .}
models: {directory: .}
gateway:
  callers: {a: {workers: [other]}}
  idempotency: {topic: dec, claim: 1s}
workers:
  w:
    input: {topic: in}
    output: {topic: out}
    dead_letter: {topic: dlq}
    decisions: {topic: dec}
    model: {name: m, version: "1"}
    first_start: earliest
    gateway: {}
"""
    file = tmp_path / "topology.yaml"
    file.write_text(base)
    with pytest.raises(TopologyError) as raised:
        load(file, {})
    for said in ("no worker other", "dec is a worker's", "idempotency.claim"):
        assert said in str(raised.value)

    file.write_text(base.replace("    decisions: {topic: dec}\n", ""))
    with pytest.raises(TopologyError, match="every decision is logged"):
        load(file, {})
