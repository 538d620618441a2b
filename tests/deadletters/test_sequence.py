"""`sequence: key`: nothing of a key passes a record of it that failed, until that is settled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pytest

from tests.deadletters.test_commands import AnyBroker, Rig, late, made
from tests.stream.test_deadletters import origin
from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import frame
from workers.enrich.batch import Batch, Outcomes, Rejection
from workers.errors import Code, Reject
from workers.stream.deadletters import dead_letter
from workers.stream.ledger import Done, Entry
from workers.stream.letters import Origin
from workers.stream.openletters import OpenLettersState, digest
from workers.stream.sequence import KeyOrder
from workers.testing import Driver, EmbeddedBroker, Reader, Sent, produce
from workers.testing.records import OutRecord
from workers.topology import load
from workers.wiring import build_enricher, pick

TOPIC, DLQ, LEDGER = "flights", "flights.dlq", "flights.dlq.ledger"
K, OTHER = b"k", b"other"


@pytest.fixture
def rig(broker: AnyBroker, tmp_path: Path) -> Rig:
    """The demo's worker, which keeps the order of keys: exactly once on Apache Kafka.

    The embedded broker forgets a transaction's offsets: at least once there.
    """
    found = made(broker, tmp_path)
    text = found.file.read_text().replace("group: g.", "sequence: key\n    group: g.")
    if isinstance(broker, EmbeddedBroker):
        text = text.replace("delivery: exactly_once", "delivery: at_least_once")
    found.file.write_text(text)
    found.topology = load(found.file, {})
    found.worker = pick(found.topology, None)
    return found


def numbered(records: list[OutRecord]) -> dict[bytes, list[int]]:
    """The places of records by key, in the order in which they came."""
    found: dict[bytes, list[int]] = {}
    for record in records:
        found.setdefault(record.key or b"", []).append(int(record.header("place")))
    return found


def sent(flights: list[bytes], key: bytes, *numbers: int) -> list[Sent]:
    """Good records of a key, all keys in one partition."""
    return [Sent(frame(1) + flights[n], key, [("place", b"%d" % n)], partition=0) for n in numbers]


def test_a_key_waits_behind_its_failure_over_a_restart_until_it_is_replayed(
    rig: Rig, flights: list[bytes], contracts: Catalogue
) -> None:
    """Other keys go on; what was parked is replayed in its order, and then the key goes on."""
    bad = Sent(late(contracts, flights[0]), K, [("place", b"0")], partition=0)
    produce(rig.servers, rig.worker.input.topic, [bad, *sent(flights, K, 1, 2)])
    produce(rig.servers, rig.worker.input.topic, sent(flights, OTHER, 1, 2))
    enricher = build_enricher(rig.topology, rig.worker)
    with (
        Reader(rig.servers, rig.worker.output.topic) as events,
        Reader(rig.servers, rig.worker.dead_letter.topic) as letters,
    ):
        with Driver(rig.topology, rig.worker, enricher):
            letters.until(lambda seen: len(seen) >= 3)
            events.until(lambda seen: len(seen) >= 2)
        assert numbered(events.records) == {OTHER: [1, 2]}
        # Another life knows by the topic alone.
        with Driver(rig.topology, rig.worker, enricher) as driver:
            produce(rig.servers, rig.worker.input.topic, sent(flights, K, 3))
            letters.until(lambda seen: len(seen) >= 4)
            codes = [record.header("__workers.code") for record in letters.records]
            assert codes == ["range", "behind", "behind", "behind"]
            assert letters.records[1].value == frame(1) + flights[1]

            # What is parked alone may not pass what it is parked behind.
            alone = rig.dlq("replay", "--verdict", "parked", "--why", "too soon", "--yes")
            assert "3 left out: behind a letter of its key that is open" in alone.stdout, (
                alone.output
            )
            with Trickle(rig, flights, begin=4) as trickle:
                done = rig.dlq("replay", "--transform", "capped", "--why", "repaired", "--yes")
                assert "; 0 fail still" in done.stdout, done.output
                assert "Order per key is kept" in done.stdout
                after = trickle.next
                events.until(lambda seen: newest(seen) > after)
            events.until(lambda seen: newest(seen) == trickle.next - 1)
            driver.check()
        events.read(0.3)

    assert numbered(events.records) == {OTHER: [1, 2], K: list(range(trickle.next))}
    assert not rig.listed()


def newest(records: list[OutRecord]) -> int:
    """The last record of the key that came out."""
    return numbered(records).get(K, [-1])[-1]


class Trickle:
    """Records of the key that keep coming, from `begin` on."""

    def __init__(self, rig: Rig, flights: list[bytes], *, begin: int) -> None:
        self.next = begin
        self._rig = rig
        self._flights = flights
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            record = Sent(
                frame(1) + self._flights[0], K, [("place", b"%d" % self.next)], partition=0
            )
            produce(self._rig.servers, self._rig.worker.input.topic, [record])
            self.next += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_a_resolved_failure_lets_its_key_go_on_and_a_reopened_one_does_not() -> None:
    """What the ledger says last counts."""
    letters = OpenLettersState("w", TOPIC)
    letters.take_letters(letter(K, 5))
    assert letters.before(digest(K), 0, 6) == Origin(TOPIC, 0, 5)
    for done, open_ in ((Done.FAILED, True), (Done.RESOLVED, False), (Done.REOPENED, True)):
        letters.take_ledger(entries(done, K, 5))
        assert (letters.before(digest(K), 0, 6) is not None) == open_
    letters.take_ledger(entries(Done.REPLAYED, K, 5))
    assert len(letters) == 0


def test_an_entry_may_be_read_before_its_letter() -> None:
    """Two topics are read side by side."""
    letters = OpenLettersState("w", TOPIC)
    letters.take_ledger(entries(Done.RESOLVED, K, 5))
    letters.take_letters(letter(K, 5))

    assert letters.before(digest(K), 0, 6) is None


def test_of_two_letters_of_one_record_the_replay_of_one_settles_both() -> None:
    """As at least once may write them; whichever is read first."""
    letters = OpenLettersState("w", TOPIC)
    letters.take_letters(letter(K, 5, place=0))
    letters.take_ledger(entries(Done.REPLAYED, K, 5, place=0))
    letters.take_letters(letter(K, 5, place=1))

    assert letters.before(digest(K), 0, 6) is None


def test_letters_of_others_and_forged_ones_park_nothing() -> None:
    """Of another worker, of another topic, of nowhere, without a key."""
    letters = OpenLettersState("w", TOPIC)
    others = letter(K, 5, worker="v"), letter(K, 5, topic="elsewhere"), letter(None, 5)
    for other in others:
        letters.take_letters(other)
    nowhere = letter(K, 5)
    letters.take_letters(replace(nowhere, headers=[[("__workers.worker", b"w")]]))

    assert len(letters) == 0


def test_a_key_too_large_for_its_letter_is_known_by_its_digest() -> None:
    """Which the letter carries instead."""
    letters, large = OpenLettersState("w", TOPIC), b"k" * 20_000
    letters.take_letters(letter(large, 5, limit=5_000))

    assert letters.before(digest(large), 0, 6) is not None


def test_what_retention_took_parks_nothing_any_more() -> None:
    """Nobody could settle it."""
    letters = OpenLettersState("w", TOPIC)
    letters.take_letters(letter(K, 5, place=3))
    letters.forget_before(0, 3)
    assert len(letters) == 1
    letters.forget_before(0, 4)

    assert len(letters) == 0


def test_a_record_that_comes_again_is_not_behind_itself() -> None:
    """At least once, after a kill: it is judged anew; what is before it passes too."""
    letters = OpenLettersState("w", TOPIC)
    letters.take_letters(letter(K, 5))

    assert letters.before(digest(K), 0, 5) is None
    assert letters.before(digest(K), 0, 4) is None
    assert letters.before(digest(OTHER), 0, 6) is None


class Scripted:
    """A tail that hands out what the test says; a clock, and a source that says what it holds."""

    def __init__(self) -> None:
        self.held: dict[int, int] = {}
        self.coming: list[Batch] = []
        self.looks = 0
        self.caught_up = True
        self.time = 0.0

    def look(self) -> dict[tuple[str, int], int]:
        """Counted."""
        self.looks += 1
        return {(DLQ, 0): 0, (LEDGER, 0): 0}

    def read(self, _: float) -> Iterator[Batch]:
        """What is coming."""
        coming, self.coming = self.coming, []
        yield from coming

    def hold(self, partition: int, offset: int, _: str) -> None:
        """Remember it."""
        self.held[partition] = offset

    def still_held(self, partition: int, _: str) -> bool:
        """Unless it was taken away."""
        return partition in self.held

    def release(self, partition: int) -> None:
        """Forget it."""
        del self.held[partition]

    def monotonic(self) -> float:
        """As moved."""
        return self.time


@dataclass
class Ordered:
    """Order of keys, and the tail it follows."""

    tail: Scripted
    order: KeyOrder

    def batch(self, *rows: tuple[bytes | None, str], begin: int = 0) -> Outcomes:
        """Key and kind of each row, judged."""
        batch = records(*(key for key, _ in rows), begin=begin)
        rejected = {
            row: Rejection(Reject(Code.MALFORMED, "a text"), "decode")
            for row, (_, kind) in enumerate(rows)
            if kind == "bad"
        }
        dropped = frozenset(row for row, (_, kind) in enumerate(rows) if kind == "dropped")
        enriched: dict[int, bytes | None] = {
            row: b"" for row in range(len(rows)) if row not in rejected and row not in dropped
        }
        return self.order.parked(Outcomes(batch, enriched, rejected, dropped))


@pytest.fixture
def ordered() -> Ordered:
    """Nothing known yet."""
    hands: Any = Scripted()
    return Ordered(hands, KeyOrder(hands, OpenLettersState("w", TOPIC), LEDGER, hands, hands))


def parked(outcomes: Outcomes) -> list[int]:
    """Rows that wait behind another."""
    return [
        row
        for row, rejection in sorted(outcomes.rejected.items())
        if rejection.reject.code is Code.BEHIND
    ]


def test_in_one_batch_what_follows_a_failure_of_its_key_is_parked(ordered: Ordered) -> None:
    """Not what is before it, of another key, without one, or dropped; twice is as once."""
    rows = [(K, "good"), (K, "bad"), (OTHER, "good"), (None, "good"), (K, "good"), (K, "dropped")]

    outcomes = ordered.batch(*rows)

    assert parked(outcomes) == [4]
    assert parked(ordered.order.parked(outcomes)) == [4]
    assert str(outcomes.rejected[4].reject).startswith("flights:0:1, of the same key")


def test_what_is_published_counts_before_it_is_read_back(ordered: Ordered) -> None:
    """And no longer, once it is, and the ledger says that it is settled."""
    ordered.order.published(ordered.batch((K, "bad")))
    assert parked(ordered.batch((K, "good"), begin=1)) == [0]

    ordered.tail.coming = [letter(K, 0), entries(Done.RESOLVED, K, 0)]
    assert ordered.order.current(1)

    assert parked(ordered.batch((K, "good"), begin=1)) == []


def test_after_a_rewind_only_the_topics_count(ordered: Ordered) -> None:
    """What was on its way may not have arrived: both topics are read to their ends first."""
    assert ordered.order.current(1)
    ordered.order.published(ordered.batch((K, "bad")))
    ordered.order.rewound()
    ordered.tail.caught_up = False
    assert not ordered.order.current(1)
    assert ordered.tail.looks == 2
    assert parked(ordered.batch((K, "good"), begin=1)) == []

    ordered.tail.coming = [letter(K, 0)]
    ordered.tail.caught_up = True
    assert ordered.order.current(1)

    assert parked(ordered.batch((K, "good"), begin=1)) == [0]


def test_each_assignment_reads_what_others_wrote(ordered: Ordered) -> None:
    """And none looks again where nothing changed, for a minute."""
    for epoch in (1, 1, 2, 2):
        assert ordered.order.current(epoch)
    assert ordered.tail.looks == 2
    ordered.tail.time = 61
    assert ordered.order.current(2)
    assert ordered.tail.looks == 3


def almost(ordered: Ordered) -> Outcomes:
    """Of two letters of a key one was replayed just now; a batch with one more of it."""
    ordered.tail.coming = [letter(K, 0, place=0), letter(K, 1, place=1)]
    ordered.tail.coming.append(entries(Done.REPLAYED, K, 0, place=0))
    assert ordered.order.current(1)
    return ordered.batch((OTHER, "good"), (K, "good"), (OTHER, "good"), begin=2)


def test_a_key_that_is_almost_through_is_waited_for(ordered: Ordered) -> None:
    """Else one that keeps coming would never be; what is before it goes on meanwhile."""
    rest = ordered.order.hold(almost(ordered))
    assert rest is not None
    assert rest.offsets == [2]
    assert ordered.tail.held == {0: 3}
    ordered.order.release()
    assert ordered.tail.held

    ordered.tail.coming = [entries(Done.REPLAYED, K, 1, place=1)]
    ordered.order.release()

    assert not ordered.tail.held
    outcomes = ordered.batch((K, "good"), (OTHER, "good"), begin=3)
    assert not parked(outcomes)
    assert ordered.order.hold(outcomes) is None


def test_a_key_is_not_waited_for_longer_than_a_moment(ordered: Ordered) -> None:
    """A replay that goes no further leaves the others of the partition alone."""
    outcomes = almost(ordered)
    assert ordered.order.hold(outcomes) is not None
    ordered.tail.time = 31

    ordered.order.release()

    assert not ordered.tail.held
    assert ordered.order.hold(outcomes) is None
    assert parked(outcomes) == [1]


def records(*keys: bytes | None, begin: int = 0) -> Batch:
    """Records of the input."""
    count = len(keys)
    return Batch(
        TOPIC,
        0,
        list(keys),
        [b""] * count,
        [None] * count,
        [0] * count,
        list(range(begin, begin + count)),
        [(1, 0)] * count,
    )


def letter(
    key: bytes | None,
    offset: int,
    *,
    worker: str = "w",
    topic: str = TOPIC,
    place: int = 0,
    limit: int = 1_000_000,
) -> Batch:
    """A dead letter as it is read back."""
    failed = replace(records(key, begin=offset), topic=topic)
    rejection = Rejection(Reject(Code.MALFORMED, "a text"), "decode")
    by = replace(origin(limit=limit), worker=worker)
    _, kept, value, headers, _, _ = dead_letter(by, failed, 0, rejection, 1)
    return Batch(DLQ, 0, [kept], [value], [headers], [0], [place], [(1, 0)])


def entries(done: Done, key: bytes, offset: int, *, place: int = 0) -> Batch:
    """A line of the ledger as it is read back."""
    line = Entry(
        done=done, partition=0, offset=place, origin=f"{TOPIC}:0:{offset}", at=0, who="w", why="w"
    )
    _, name, value, _, _, _ = line.record(LEDGER)
    return Batch(LEDGER, 0, [name], [value], [None], [0], [0], [(1, 0)])
