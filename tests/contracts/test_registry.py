"""The registry's client: what it says, what it refuses, what it never tells."""

from __future__ import annotations

import base64
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contracts import stub_registry as moods
from tests.contracts.certificates import Authority, Pair
from tests.contracts.stub_registry import Entry, Mood, StubRegistry, record
from workers.contracts.registry import Registry
from workers.contracts.sources import RegistrySource, registry_source
from workers.errors import ContractError, Retry
from workers.topology.contracts import RegistryPlace

HIDDEN = "a-hidden-secret"
FIRST = Entry(1, record("Flight", "tail"))
Connect = Callable[..., RegistrySource]


@pytest.fixture
def stub() -> Iterator[StubRegistry]:
    with StubRegistry() as made:
        made.add("flights-value", 1, FIRST)
        yield made


@pytest.fixture
def connect(stub: StubRegistry) -> Iterator[Connect]:
    opened: list[RegistrySource] = []

    def made(**settings: Any) -> RegistrySource:
        place = {"url": stub.url, "timeout": "2s", **settings}
        opened.append(registry_source(RegistryPlace.model_validate(place)))
        return opened[-1]

    yield made
    for source in opened:
        source.close()


def test_an_id_has_every_subject_and_version(stub: StubRegistry, connect: Connect) -> None:
    """One content under two subjects has one id."""
    stub.add("copies-value", 3, FIRST)

    found = connect().lookup(1)

    assert [str(entry) for entry in found] == ["flights-value version 1", "copies-value version 3"]
    assert {entry.id for entry in found} == {1}
    assert found[0].schema.field_names == ("tail",)


def test_an_id_that_is_not_there_has_none(connect: Connect) -> None:
    """A registry's own 404 is an answer."""
    assert connect().lookup(77) == []
    assert connect().versions("nobody-value") == []


def test_a_guid_is_found(stub: StubRegistry, connect: Connect) -> None:
    """Records may carry a GUID in a header."""
    guid = uuid.uuid4()
    stub.add("flights-value", 2, Entry(2, record("Flight", "tail", "origin"), guid=str(guid)))

    found = connect().lookup(guid.bytes)

    assert [(entry.version, entry.keys) for entry in found] == [(2, (2, guid.bytes))]


def test_a_guid_is_unknown_where_the_registry_has_no_such_path(
    stub: StubRegistry, connect: Connect
) -> None:
    """Else one record with a made-up GUID would stop a partition for ever."""

    def old(handler: Any) -> None:
        if "guids" in handler.path:
            handler.reply(404, b'{"error_code": 0, "message": "no such resource"}')
        else:
            handler.well()

    stub.mood = old

    assert connect().lookup(uuid.uuid4().bytes) == []


def test_a_404_that_is_not_a_registrys_proves_nothing(stub: StubRegistry, connect: Connect) -> None:
    """A gateway that lost its route must not dead-letter the world."""
    stub.mood = moods.status(404)

    with pytest.raises(Retry, match="is the url right"):
        connect().lookup(1)


def test_a_context_has_ids_and_subjects_of_its_own(stub: StubRegistry, connect: Connect) -> None:
    """Subjects are qualified on the way out and plain on the way in."""
    stub.add(":.staging:flights-value", 1, Entry(1, record("Staged", "tail")))
    source = connect(context="staging")

    assert [entry.schema.full_name for entry in source.versions("flights-value")] == ["Staged"]
    assert [str(entry) for entry in source.lookup(1)] == ["flights-value version 1"]
    assert source.lookup(1)[0].schema.full_name == "Staged"
    assert connect().lookup(1)[0].schema.full_name == "Flight"


def test_references_are_put_in(stub: StubRegistry, connect: Connect) -> None:
    """Also those of references."""
    stub.add("code-value", 1, Entry(8, record("Code", "text")))
    near = '{"type":"record","name":"Airport","fields":[{"name":"code","type":"Code"}]}'
    to_code = {"name": "Code", "subject": "code-value", "version": 1}
    stub.add("airport-value", 1, Entry(9, near, references=(to_code,)))
    text = '{"type":"record","name":"Flight","fields":[{"name":"from","type":"Airport"}]}'
    to_airport = {"name": "Airport", "subject": "airport-value", "version": 1}
    stub.add("flights-value", 2, Entry(2, text, references=(to_airport,)))

    found = connect().versions("flights-value")[1]

    airport = found.schema.root.children[0][1]
    assert airport.children[0][1].children[0][0] == "text"


def test_references_in_a_circle_are_refused(stub: StubRegistry, connect: Connect) -> None:
    """The id is there and of no use; the version is left out and named once."""
    to_itself = {"name": "Flight", "subject": "flights-value", "version": 2}
    text = '{"type":"record","name":"F","fields":[{"name":"from","type":"Flight"}]}'
    stub.add("flights-value", 2, Entry(2, text, references=(to_itself,)))
    source = connect()

    with pytest.raises(ContractError, match="leads back to itself"):
        source.lookup(2)
    assert [entry.version for entry in source.versions("flights-value")] == [1]
    assert [entry.version for entry in source.versions("flights-value")] == [1]
    assert ["leads back" in fault for fault in source.faults()] == [True]
    assert source.faults() == []


@pytest.mark.parametrize("kind", ["JSON", "PROTOBUF"])
def test_an_id_that_is_not_avro_is_refused(stub: StubRegistry, connect: Connect, kind: str) -> None:
    """It is there, and no worker can read it."""
    stub.add("flights-value", 2, Entry(2, "{}", kind=kind))

    with pytest.raises(ContractError, match=f"{kind}, not Avro"):
        connect().lookup(2)


def test_a_version_is_fetched_once_and_the_newest_always(
    stub: StubRegistry, connect: Connect
) -> None:
    """Versions never change; the newest shows a registry that changed its content."""
    stub.add("flights-value", 2, Entry(2, record("Flight", "tail", "origin")))
    source = connect()
    source.versions("flights-value")
    stub.asked.clear()

    source.versions("flights-value")

    assert stub.paths() == [
        "/subjects/flights-value/versions",
        "/subjects/flights-value/versions/2",
    ]


@pytest.mark.parametrize(
    ("mood", "cause"),
    [
        (moods.status(500), "answers 500"),
        (moods.status(503), "answers 503"),
        (moods.status(429), "answers 429"),
        (moods.status(408), "answers 408"),
        (moods.status(400), "answers 400"),
        (moods.status(401), r"credentials refused \(401\)"),
        (moods.status(403), r"credentials refused \(403\)"),
        (moods.html, "text/html where JSON is due"),
        (moods.html_as_json, "JSON of another shape"),
        (moods.bad_json, "JSON of another shape"),
        (moods.other_json, "JSON of another shape"),
        (moods.gzipped, "encoded"),
    ],
)
def test_an_unwell_registry_is_named_with_its_cause(
    stub: StubRegistry, connect: Connect, mood: Mood, cause: str
) -> None:
    """And without password or body."""
    stub.mood = mood
    source = connect(basic={"username": "worker", "password": HIDDEN})

    with pytest.raises(
        Retry, match=f"registry at {stub.url} .*/schemas/ids/1: .*{cause}"
    ) as caught:
        source.lookup(1)

    said = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert HIDDEN not in said
    assert moods.PRIVATE not in said
    assert stub.asked[0][2]["Authorization"].startswith("Basic ")
    assert stub.asked[0][2]["Accept-Encoding"] == "identity"


def test_a_registry_that_refuses_connections_is_unwell(
    stub: StubRegistry, connect: Connect
) -> None:
    """And well after its restart."""
    source = connect()
    stub.stop()

    with pytest.raises(Retry, match=r"no connection: .*refused"):
        source.lookup(1)

    stub.restart()
    assert len(source.lookup(1)) == 1


@pytest.mark.parametrize("mood", [moods.blackhole, moods.drip_headers, moods.drip_body])
def test_a_request_ends_at_its_deadline(stub: StubRegistry, connect: Connect, mood: Mood) -> None:
    """Also where bytes keep coming: the server would drip until the test releases it."""
    stub.mood = mood

    with pytest.raises(Retry, match=r"no whole answer within 0\.2 s|no answer in time"):
        connect(timeout="200ms").lookup(1)

    assert not stub.released.is_set()


@pytest.mark.parametrize("mood", [moods.blackhole, moods.drip_body])
def test_close_ends_the_request_under_way(stub: StubRegistry, connect: Connect, mood: Mood) -> None:
    """A worker that stops does not wait for a registry."""
    stub.mood = mood
    source = connect(timeout="120s")
    raised: list[Exception] = []

    def ask() -> None:
        try:
            source.lookup(1)
        except Retry as error:
            raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    assert stub.stuck.wait(10)
    source.close()
    asking.join(10)

    assert len(raised) == 1
    with pytest.raises(Retry, match="closed"):
        source.lookup(1)


def test_a_gigabyte_is_not_read(stub: StubRegistry, connect: Connect) -> None:
    """The limit is held to while reading."""
    stub.mood = moods.gigabyte

    with pytest.raises(Retry, match="larger than 65536 bytes"):
        connect(max_response_bytes="64KiB", timeout="20s").lookup(1)

    stub.stop()
    assert stub.sent < 64 * 1024**2


def test_a_redirect_is_not_followed(stub: StubRegistry, connect: Connect) -> None:
    """Credentials stay with the host they are for."""
    with StubRegistry() as other:
        stub.mood = moods.redirect(other.url)

        with pytest.raises(Retry, match=r"redirects to http://127\.0\.0\.1/elsewhere") as caught:
            connect(basic={"username": "worker", "password": HIDDEN}).lookup(1)

        assert "hidden" not in str(caught.value)
        assert other.asked == []


def test_a_proxy_of_the_environment_is_used(
    stub: StubRegistry, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY; the registry's name is for the proxy to look up."""
    monkeypatch.setenv("HTTP_PROXY", stub.url)

    assert len(connect(url="http://registry.invalid:8081").lookup(1)) == 1
    assert stub.asked[0][1] == "http://registry.invalid:8081/schemas/ids/1"


def test_a_rotated_token_is_used_for_the_next_request(
    stub: StubRegistry, connect: Connect, tmp_path: Path
) -> None:
    """401 while the old one is expired is unwell, not the end."""
    token = tmp_path / "token"
    token.write_text("old-token\n")

    def guarded(handler: Any) -> None:
        if handler.headers["Authorization"] == "Bearer new-token":
            handler.well()
        else:
            handler.reply(401, b"{}")

    stub.mood = guarded
    source = connect(bearer={"token_file": str(token)})
    with pytest.raises(Retry, match="credentials refused"):
        source.lookup(1)

    token.write_text("new-token\n")

    assert len(source.lookup(1)) == 1


def test_a_password_in_a_file_may_be_changed(
    stub: StubRegistry, connect: Connect, tmp_path: Path
) -> None:
    """The next request has the new one; without any nothing is sent."""
    password, said = tmp_path / "password", []
    password.write_text("old\n")

    def noted(handler: Any) -> None:
        said.append(base64.b64decode(handler.headers["Authorization"].removeprefix("Basic ")))
        handler.well()

    stub.mood = noted
    source = connect(basic={"username": "worker", "password_file": str(password)})
    source.lookup(1)
    password.write_text("new\n")
    source.lookup(1)
    password.write_text("")
    with pytest.raises(Retry, match="no secret"):
        source.lookup(1)

    assert list(dict.fromkeys(said)) == [b"worker:old", b"worker:new"]


@pytest.mark.parametrize("text", ["", "two\nlines-secret", "l\u00e4nge-secret"])
def test_a_token_that_no_header_can_hold_is_not_told(
    stub: StubRegistry, connect: Connect, tmp_path: Path, text: str
) -> None:
    """Nothing is sent, and the error names the fault alone."""
    token = tmp_path / "token"
    token.write_text(text)

    with pytest.raises(Retry, match="one line of ASCII") as caught:
        connect(bearer={"token_file": str(token)}).lookup(1)

    assert "secret" not in str(caught.value)
    assert stub.asked == []


@pytest.mark.parametrize(
    ("subject", "path"),
    [("a/b c", "/subjects/a%2Fb%20c/versions"), ("..", "/subjects/%2E%2E/versions")],
)
def test_subjects_stay_inside_their_path(
    stub: StubRegistry, connect: Connect, subject: str, path: str
) -> None:
    """Whatever their names hold."""
    connect().versions(subject)

    assert stub.paths() == [path]


def test_a_url_with_a_query_is_refused() -> None:
    """It would be lost, and may hold a key."""
    with pytest.raises(ValueError, match="no query"):
        RegistryPlace.model_validate({"url": "http://localhost/?key=1"})


class _Secure:
    def __init__(self, folder: Path) -> None:
        self.ours = Authority(folder, "ours")
        self.theirs = Authority(folder, "theirs")
        self.client = self.ours.sign("client", password=HIDDEN)

    def serve(self, pair: Pair, *, clients: bool = False) -> StubRegistry:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        if clients:
            context.load_verify_locations(self.ours.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        stub = StubRegistry(context)
        stub.add("flights-value", 1, FIRST)
        return stub


@pytest.fixture
def secure(tmp_path: Path) -> _Secure:
    return _Secure(tmp_path)


def _asked(stub: StubRegistry, **tls: Any) -> int:
    place = RegistryPlace.model_validate({"url": stub.url, "timeout": "5s", "tls": tls})
    registry = Registry(place)
    try:
        return len(registry.places_of(1))
    finally:
        registry.close()


def test_our_authority_is_trusted(secure: _Secure) -> None:
    """`tls.ca`."""
    with secure.serve(secure.ours.sign("server")) as stub:
        assert _asked(stub, ca=str(secure.ours.ca)) == 1


@pytest.mark.parametrize("expired", [False, True])
def test_a_certificate_that_does_not_hold_is_unwell(secure: _Secure, expired: bool) -> None:
    """Of another authority, or expired: it may be renewed, so it is no end."""
    signer = secure.ours if expired else secure.theirs
    with secure.serve(signer.sign("server", expired=expired)) as stub:
        with pytest.raises(Retry, match="certificate verify failed"):
            _asked(stub, ca=str(secure.ours.ca))
        assert stub.asked == []


def test_a_hostname_is_held_to_unless_told_otherwise(secure: _Secure) -> None:
    """`tls.verify_hostname`."""
    with secure.serve(secure.ours.sign("server", host="10.0.0.1")) as stub:
        with pytest.raises(Retry, match="certificate verify failed"):
            _asked(stub, ca=str(secure.ours.ca))
        assert _asked(stub, ca=str(secure.ours.ca), verify_hostname=False) == 1


def test_mutual_tls_shows_our_certificate(secure: _Secure) -> None:
    """With a locked key; without a certificate the server refuses."""
    pair = {"certificate": str(secure.client.certificate), "key": str(secure.client.key)}
    with secure.serve(secure.ours.sign("server"), clients=True) as stub:
        assert _asked(stub, ca=str(secure.ours.ca), **pair, key_password=HIDDEN) == 1
        with pytest.raises(Retry):
            _asked(stub, ca=str(secure.ours.ca))


@pytest.mark.parametrize("password", [None, "wrong-secret"])
def test_a_key_that_cannot_be_opened_ends_the_start(secure: _Secure, password: str | None) -> None:
    """Without asking the terminal, and without telling the password."""
    tls = {"certificate": str(secure.client.certificate), "key": str(secure.client.key)}
    if password is not None:
        tls["key_password"] = password
    place = RegistryPlace.model_validate({"url": "https://localhost", "tls": tls})

    with pytest.raises(ContractError, match="cannot be loaded") as caught:
        Registry(place)

    assert "secret" not in str(caught.value)
