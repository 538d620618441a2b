"""What is read back from a dead-letter topic: the record as it was, whoever wrote the headers."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stream.test_deadletters import headers, origin
from workers.contracts.framing import Header
from workers.contracts.schema import parse
from workers.deadletters.masking import HIDDEN, decoded, sensitive_fields, shown
from workers.enrich.batch import Batch, Rejection
from workers.errors import Code, Reject
from workers.stream.deadletters import CONNECT, OURS, dead_letter
from workers.stream.ledger import Done, LedgerState, entry
from workers.stream.letters import Letter, Wanted, letters_of

NOW = 1_700_000_000_000


def read_back(record: Any, place: tuple[int, int] = (0, 0)) -> Letter:
    """The letter as the topic has it."""
    _, key, value, sent, stamp, _ = record
    return letters_of(
        Batch("dlq", NOW, [key], [value], [sent], [place[0]], [place[1]], [(1, stamp)])
    )[0]


def letter(offset: int = 0, of: int = 7, said: dict[str, str] | None = None) -> Letter:
    """One that a worker wrote."""
    batch = Batch("in", NOW, [b"k"], [b"v"], [None], [3], [of], [(1, 5)])
    rejection = Rejection(Reject(Code.MALFORMED, "field x, byte 17"), "decode", 12, "2")
    record = dead_letter(origin(100_000), batch, 0, rejection, 1)
    found = read_back(record, (0, offset))
    object.__setattr__(found, "said", {**found.said, **(said or {})})
    return found


@given(
    key=st.none() | st.binary(max_size=50),
    value=st.none() | st.binary(max_size=50),
    own=st.none() | headers,
)
def test_the_record_comes_back_as_it_came(
    key: bytes | None, value: bytes | None, own: list[Header] | None
) -> None:
    """Also one that was a dead letter before, or claims to be."""
    forged = [(f"{CONNECT}topic", b"elsewhere"), (f"{OURS}verdict", b"crash")]
    for extra in ([], forged):
        sent = [*(own or []), *extra]
        batch = Batch("in", NOW, [key], [value], [sent], [3], [7], [(1, 5)])
        rejection = Rejection(Reject(Code.MALFORMED, "why"), "decode", 12, "2")

        found = read_back(dead_letter(origin(100_000), batch, 0, rejection, 1))
        back = found.as_it_came(found.value, NOW)

        assert (back.topic, back.partitions, back.offsets) == ("in", [3], [7])
        assert (back.keys, back.values, back.headers[0] or []) == ([key], [value], sent)
        assert back.timestamps == [(1, 5)]
        assert (found.verdict, found.code) == ("decode", "malformed")
        assert found.carried


@pytest.mark.parametrize(
    "sent",
    [
        None,
        [("a", b"1")],
        [(f"{CONNECT}topic", None)],
        [(f"{CONNECT}topic", b"t"), (f"{CONNECT}partition", b"x"), (f"{CONNECT}offset", b"1")],
        [(f"{CONNECT}topic", b"t"), (f"{CONNECT}partition", b"1"), (f"{CONNECT}offset", b"-1")],
        [(f"{CONNECT}topic", b"\xff"), (f"{CONNECT}partition", b"1" * 30)],
    ],
)
def test_what_does_not_say_where_it_came_from_is_a_letter_without_origin(sent: Any) -> None:
    """It can be listed, and not replayed."""
    batch = Batch("dlq", NOW, [None], [b"v"], [sent], [0], [1], [(0, -1)])

    (found,) = letters_of(batch)

    assert found.origin is None
    with pytest.raises(ValueError, match="where it came from"):
        found.as_it_came(b"v", NOW)


def test_filters_take_what_is_meant() -> None:
    """Each by itself, and together."""
    found = letter(5)
    object.__setattr__(found, "said", {**found.said, f"{OURS}failed_at": str(NOW)})
    at = datetime.fromtimestamp(NOW / 1000, UTC)

    for wanted in (
        Wanted(),
        Wanted(
            verdicts=["decode"],
            codes=["malformed"],
            schema_id=12,
            model="m" * 64,
            model_version="2",
        ),
        Wanted(key=b"k", origin_partition=3, places=frozenset({"0:5"}), since=at),
    ):
        assert wanted.takes(found)
    for wanted in (
        Wanted(verdicts=["model"]),
        Wanted(codes=["unframed"]),
        Wanted(schema_id=13),
        Wanted(model="another"),
        Wanted(model_version="1"),
        Wanted(key=b""),
        Wanted(origin_partition=0),
        Wanted(places=frozenset({"0:6"})),
        Wanted(until=at),
    ):
        assert not wanted.takes(found)


def test_causes_leave_numbers_out() -> None:
    """So that a thousand letters of one cause are one line."""
    assert letter().cause == "decode:malformed: field x, byte N"


def test_the_ledger_counts_by_the_place_that_the_broker_gave() -> None:
    """Headers that somebody forged reach neither the cap nor the guard."""
    ledger, by = LedgerState(), ("me", "why")
    first = letter(0)
    for _ in range(3):
        ledger.add([entry(first, Done.FAILED, NOW, by)])
    forged = letter(0, said={f"{OURS}attempts": "0"})

    assert ledger.attempts(forged) == 3
    assert ledger.settled(forged) is None
    ledger.add([entry(first, Done.REOPENED, NOW, by)])
    assert ledger.attempts(first) == 0


def test_of_two_letters_of_one_record_one_is_replayed() -> None:
    """At least once may write two."""
    ledger, by = LedgerState(), ("me", "why")
    ledger.add([entry(letter(0), Done.REPLAYED, NOW, by)])

    assert ledger.settled(letter(9)) is Done.REPLAYED
    assert ledger.settled(letter(9, of=8)) is None


def test_the_ledger_passes_over_what_is_no_entry() -> None:
    """And counts it."""
    ledger = LedgerState()
    good = entry(letter(0), Done.RESOLVED, NOW, ("me", "why")).record("l")
    values = [b"", b"{", None, b'{"done": "eaten"}', good[2]]
    n = len(values)
    ledger.take(Batch("l", NOW, [None] * n, values, [None] * n, [0] * n, [*range(n)], [(1, 1)] * n))

    assert ledger.unreadable == 4
    assert ledger.settled(letter(0)) is Done.RESOLVED


SCHEMA = """{"type": "record", "name": "R", "fields": [
  {"name": "id", "type": "string"},
  {"name": "name", "type": "string", "sensitive": true},
  {"name": "home", "type": {"type": "record", "name": "H", "fields": [
     {"name": "street", "type": "string", "sensitive": true}, {"name": "zip", "type": "int"}]}},
  {"name": "tags", "type": {"type": "map", "values": "string"}},
  {"name": "n", "type": ["null", "int"], "default": null}
]}"""


def test_sensitive_fields_are_never_shown() -> None:
    """By default nothing is; the shape always is."""
    schema = parse(SCHEMA, where="here")
    record = {
        "id": "a1",
        "name": "Ada",
        "home": {"street": "Ockham", "zip": 5},
        "tags": {"Lovelace": "x"},
        "n": None,
    }
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema.parsed, record)
    found = decoded(schema, out.getvalue())

    assert sensitive_fields(schema) == {"name", "home"}
    told = shown(schema, found, content=False)
    assert told == {
        "id": f"{HIDDEN} (2 characters)",
        "name": f"{HIDDEN} (3 characters)",
        "home": f"{HIDDEN} (2 inside)",
        "tags": f"{HIDDEN} (1 inside)",
        "n": None,
    }
    told = shown(schema, found, content=True)
    assert (told["id"], told["tags"]) == ("a1", {"Lovelace": "x"})
    assert told["name"] == f"{HIDDEN} (3 characters)"
    assert "Ockham" not in str(told)
