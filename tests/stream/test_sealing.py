"""Values of dead letters that only the holder of the key can read."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.stream.test_deadletters import origin
from workers.contracts.framing import frame
from workers.enrich.batch import Batch, Rejection
from workers.enrich.path import Enricher
from workers.errors import ClientHalt, Code, Reject, Retry
from workers.stream import sealing
from workers.stream.deadletters import SEALED, dead_letter
from workers.stream.sealing import FileKeys, Opener, Sealer, keys_of
from workers.testing import Driver, EmbeddedBroker, Reader, RealKafka, Sent, isolated, produce
from workers.topology import Delivery, Encryption, Topology
from workers.wiring import pick

SECRET = b"her name is Ada and she is ill"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A key in a file."""
    file = tmp_path / "key"
    file.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
    return file


class Kms:
    """A key management service that is down at times, and counts."""

    def __init__(self) -> None:
        self.down = False
        self.asked = 0

    def wrap(self, key: bytes) -> bytes:
        """Not a cipher; its own format."""
        self.asked += 1
        if self.down:
            raise ConnectionError("kms.internal: token tok-123 refused")
        return b"kms1" + key[::-1]

    def unwrap(self, wrapped: bytes) -> bytes:
        """Back."""
        self.asked += 1
        if self.down:
            raise ConnectionError("down")
        return wrapped[4:][::-1]


kms = Kms()


@pytest.fixture(autouse=True)
def _well() -> Iterator[None]:
    kms.down, kms.asked = False, 0
    yield
    kms.down = False


def test_what_is_sealed_opens_with_the_key_alone(key: Path, tmp_path: Path) -> None:
    """Another key, another value, another place: no."""
    value, (name, header) = Sealer(FileKeys(key), "k1").seal(SECRET, "t:0:1")
    opener = Opener(FileKeys(key))
    other = tmp_path / "other"
    other.write_text(base64.b64encode(b"x" * 32).decode())

    assert name == SEALED
    assert SECRET not in value + header
    assert json.loads(header)["kid"] == "k1"
    assert opener.open(value, header, "t:0:1") == SECRET
    for changed, place in [(value[:-1] + b"x", "t:0:1"), (value, "t:0:2"), (b"", "t:0:1")]:
        with pytest.raises(Retry, match="was changed"):
            opener.open(changed, header, place)
    with pytest.raises(Retry, match="another key"):
        Opener(FileKeys(other)).open(value, header, "t:0:1")


@pytest.mark.parametrize(
    "header", [b"", b"{", b"[]", b"{}", b'{"key": 1, "nonce": "AA"}', b"\xff", b'{"key": "%"}']
)
def test_a_malformed_header_is_said_to_be_one(header: bytes, key: Path) -> None:
    """Whatever somebody wrote there."""
    with pytest.raises(Retry, match=r"malformed|cannot be had"):
        Opener(FileKeys(key)).open(b"value", header, "t:0:1")


@pytest.mark.parametrize(
    ("content", "fault"),
    [(None, "cannot be read"), ("no base64!", "not Base64"), ("QUJD", "3 bytes, not 32")],
)
def test_a_key_that_is_none_is_refused(tmp_path: Path, content: str | None, fault: str) -> None:
    """With file and remedy, and without the key."""
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ClientHalt, match=fault):
        FileKeys(file)


@pytest.mark.parametrize(
    "hook", ["no.such.module:kms", "tests.stream.test_sealing:nothing", "os:path"]
)
def test_a_hook_that_is_none_is_refused(hook: str) -> None:
    """By name."""
    with pytest.raises(ClientHalt, match=hook):
        keys_of(Encryption(hook=hook))


def test_a_kms_is_asked_once_for_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """And again when a data key has been used so often as it may; old ones still open."""
    monkeypatch.setattr(sealing, "USES", 3)
    keys = keys_of(Encryption(hook="tests.stream.test_sealing:kms"))
    sealer = Sealer(keys, "k")
    found = [sealer.seal(SECRET, f"t:0:{n}") for n in range(7)]

    assert kms.asked == 3
    assert len({json.loads(header)["nonce"] for _, (_, header) in found}) == 7
    opener = Opener(keys)
    for number, (value, (_, header)) in enumerate(found):
        assert opener.open(value, header, f"t:0:{number}") == SECRET
    assert kms.asked == 6


def test_while_a_kms_is_down_nothing_leaves_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again later; its text, which may hold secrets, is not repeated."""
    monkeypatch.setattr(sealing, "USES", 1)
    sealer = Sealer(kms, "k")
    sealer.seal(SECRET, "t:0:0")
    kms.down = True

    with pytest.raises(Retry) as caught:
        sealer.seal(SECRET, "t:0:1")

    assert "tok-123" not in str(caught.value)
    kms.down = False
    sealer.seal(SECRET, "t:0:1")


def test_a_worker_seals_its_dead_letters(
    broker: EmbeddedBroker | RealKafka,
    delivery: Delivery,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    key: Path,
) -> None:
    """Enriched events are as ever; the value in the dead-letter topic opens to what was sent."""
    top, worker = isolated(topology, pick(topology, None), broker, delivery=delivery)
    letters = worker.dead_letter.model_copy(update={"encryption": Encryption(key_file=key)})
    worker = worker.model_copy(update={"dead_letter": letters})
    servers = broker.bootstrap_servers
    bad = frame(1) + SECRET
    produce(servers, worker.input.topic, [Sent(bad, b"k"), Sent(frame(1) + flights[0], b"k")])

    with (
        Driver(top, worker, enricher),
        Reader(servers, worker.dead_letter.topic) as dead,
        Reader(servers, worker.output.topic) as enriched,
    ):
        dead.until(lambda seen: len(seen) == 1)
        enriched.until(lambda seen: len(seen) == 1)

    record = dead.records[0]
    assert record.value is not None
    assert SECRET not in record.value
    parts = ("topic", "partition", "offset")
    place = ":".join(record.header(f"__connect.errors.{part}") for part in parts)
    header = record.header(SEALED).encode()
    assert Opener(FileKeys(key)).open(record.value, header, place) == bad


def test_a_dead_letter_too_large_to_carry_leaves_no_digest_of_what_is_secret(key: Path) -> None:
    """Its size alone; a digest of what is short can be guessed."""
    value = SECRET * 1000
    rows = Batch("t", 5, [b"k"], [value], [None], [0], [1], [(1, 7)])
    rejection = Rejection(Reject(Code.MALFORMED, "why"), "decode")
    seal = Sealer(FileKeys(key), "k").seal

    for sealed in (None, seal):
        record = dead_letter(replace(origin(4000), seal=sealed), rows, 0, rejection, 1)
        said = dict(record[3] or [])
        assert record[2] is None
        assert said["__workers.value.bytes"] == str(len(value)).encode()
        assert ("__workers.value.sha256" in said) == (sealed is None)
