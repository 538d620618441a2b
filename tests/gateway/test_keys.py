"""One answer a key, whichever replica is asked, and after a restart."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx2
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.conftest import PATH, AnyBroker, Json
from tests.gateway.test_log import decisions_of, ids_in
from workers.contracts.catalogue import Catalogue
from workers.gateway.claims import ClaimsState, Doing, Note, note_of
from workers.testing import EmbeddedBroker, GatewayDriver
from workers.topology import Topology

Client = Callable[[GatewayDriver], httpx2.Client]


def keyed(key: str) -> dict[str, str]:
    """The header."""
    return {"Idempotency-Key": key}


def test_a_key_has_one_answer(
    broker: AnyBroker,
    gateway_topology: Callable[..., Topology],
    client: Client,
    contracts: Catalogue,
    events: list[Json],
) -> None:
    """Again, from another replica, after a restart: the same bytes, and one decision in the log."""
    topology = gateway_topology(broker)
    with GatewayDriver(topology) as one, GatewayDriver(topology) as two:
        asking, other = client(one), client(two)
        first = asking.post(PATH, json=events[:2], headers=keyed("k"))
        again = asking.post(PATH, json=events[:2], headers=keyed("k"))
        elsewhere = other.post(PATH, json=events[:2], headers=keyed("k"))
        reused = other.post(PATH, json=events[1], headers=keyed("k"))
        another = other.post(PATH, json=events[1], headers=keyed("k2"))
    with GatewayDriver(topology) as late:
        restarted = client(late).post(PATH, json=events[:2], headers=keyed("k"))

    for answer in (again, elsewhere, restarted):
        assert answer.status_code == 200
        assert answer.content == first.content
        assert answer.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert reused.status_code == 422
    assert reused.json()["type"] == "urn:workers:problem:idempotency-key-reused"
    assert another.status_code == 200
    found = ids_in(broker.bootstrap_servers, decisions_of(topology), contracts, 3)
    assert len(found) == 3


def test_a_race_of_two_replicas_has_one_winner(
    embedded: EmbeddedBroker,
    gateway_topology: Callable[..., Topology],
    client: Client,
    contracts: Catalogue,
    events: list[Json],
) -> None:
    """The others wait for it (409) or get its answer; the log has one decision a key."""
    topology = gateway_topology(embedded)
    keys = [f"race-{number}" for number in range(6)]
    with (
        GatewayDriver(topology) as one,
        GatewayDriver(topology) as two,
        ThreadPoolExecutor(16) as pool,
    ):
        clients = [client(one), client(two)]

        def ask(number: int) -> httpx2.Response:
            key = keys[number % len(keys)]
            return clients[number % 2].post(PATH, json=events[0], headers=keyed(key))

        answers = list(pool.map(ask, [n for k in range(6) for n in (k, k + 6 * (k % 2 == 0) + 3)]))
        answers += list(pool.map(ask, range(24)))
        last = [clients[n % 2].post(PATH, json=events[0], headers=keyed(k)) for n, k in
                enumerate(keys)]  # fmt: skip

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert all(a.headers.get("retry-after") for a in answers if a.status_code == 409)
    assert [answer.status_code for answer in last] == [200] * len(keys)
    ids = {answer.json()["enrichment"]["decision_id"] for answer in last}
    found = ids_in(embedded.bootstrap_servers, decisions_of(topology), contracts, len(keys))
    assert sorted(found) == sorted(ids)


def test_what_is_not_answered_leaves_its_key_free(
    embedded: EmbeddedBroker,
    gateway_topology: Callable[..., Topology],
    client: Client,
    events: list[Json],
) -> None:
    """An event that cannot be decided is no answer to keep."""
    topology = gateway_topology(embedded)
    bad = {**events[0], "departure_delay": 2_000_000}
    with GatewayDriver(topology) as gateway:
        asking = client(gateway)
        refused = asking.post(PATH, json=bad, headers=keyed("k"))
        good = asking.post(PATH, json=events[0], headers=keyed("k"))

    assert refused.status_code == 422
    assert refused.json()["code"] == "range"
    assert good.status_code == 200


def state() -> ClaimsState:
    """Ten seconds for an answer, an hour for one that was given."""
    return ClaimsState(window=3600, patience=10, limit=10_000)


def test_a_claim_without_an_answer_ends() -> None:
    """By the records' times: then another's counts, and the first one's answer does not."""
    claims, key = state(), b"k"

    assert claims.take(key, Note(Doing.CLAIM, "a", "d"), 1_000)
    assert not claims.take(key, Note(Doing.CLAIM, "b", "d"), 10_999)
    assert claims.take(key, Note(Doing.CLAIM, "c", "d"), 11_001)
    assert not claims.take(key, Note(Doing.ANSWER, "a", "d", 200, "{}"), 11_002)
    assert claims.take(key, Note(Doing.ANSWER, "c", "d", 200, "{}"), 11_003)
    assert not claims.take(key, Note(Doing.RELEASE, "c", "d"), 11_004)
    held = claims.find(key, 11_005)
    assert held is not None
    assert held.answered
    assert claims.find(key, 11_003 + 3_600_001) is None


NOTES = st.builds(
    Note,
    st.sampled_from(list(Doing)),
    st.sampled_from("abc"),
    st.just("d"),
    st.just(200),
    st.text(max_size=5),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([b"k", b"l"]), NOTES, st.integers(0, 3_000))))
def test_every_reader_comes_to_the_same_end(
    records: list[tuple[bytes, Note, int]],
) -> None:
    """From the beginning, or from a place that everything before is over at; one answer a key."""
    whole, later, stamp = state(), state(), 0
    stamped = []
    for key, note, step in records:
        stamp += step
        stamped.append((key, note, stamp))
    for key, note, at in stamped:
        before = whole.find(key, at)
        counts = whole.take(key, note, at)
        if counts and note.doing is Doing.ANSWER:
            assert before is not None
            assert not before.answered
    for key, note, at in stamped:
        later.take(key, note_of(note.packed()) or note, at)

    for key in (b"k", b"l"):
        assert whole.find(key, stamp) == later.find(key, stamp)
    whole.forget(stamp + 4_000_000)
    assert (len(whole), whole.size) == (0, 0)


def test_a_full_memory_refuses_new_keys() -> None:
    """Forgetting one within its window would break the promise."""
    claims = ClaimsState(window=3600, patience=10, limit=400)
    for number in range(3):
        claims.take(b"%d" % number, Note(Doing.CLAIM, "a", "d"), 0)

    assert claims.full
    claims.forget(11_000)
    assert not claims.full


def test_records_of_others_are_passed_over() -> None:
    """Whatever somebody writes there."""
    for value in (
        None,
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"doing":"x","claim":"a","digest":"d"}',
        b"1",
    ):
        assert note_of(value) is None
