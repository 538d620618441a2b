"""Dead letters once more through the path of today; what passes is published as the stream would.

The replay runs the worker's own path and publishes to the worker's own outputs, so nobody else who
reads the input sees anything of it, and nothing comes back to the input: there is no loop to guard
against. The records and the ledger's entries are one transaction under an id that only replays of
this worker use: a replay that was killed is fenced by the next one, which goes on where the ledger
ends. The order of a key is not kept: later records of it were published long ago. Unless they were
not: with `sequence: key` they are letters themselves, and a letter waits for those of its key that
are open and before it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from workers.contracts.catalogue import Catalogue
from workers.deadletters.desk import Desk
from workers.deadletters.transforms import NotRepaired, Repair, repaired
from workers.errors import Code, Retry
from workers.offline.path import WorkerPath
from workers.stream.ledger import Done, Entry, LedgerState, entry
from workers.stream.letters import Letter, Wanted
from workers.stream.outgoing import Outgoing
from workers.stream.publish import Publisher
from workers.stream.records import Record
from workers.stream.work import Work
from workers.topology import Sequencing

CHUNK = 200
"""Letters of one transaction."""
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Tried:
    """What the path makes of a letter today. `records` are empty where it does not pass."""

    letter: Letter
    result: str
    passes: bool
    records: tuple[Record, ...] = ()


@dataclass(slots=True)
class TallyState:
    """What a replay did, or would do."""

    passed: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)


class Replayer:
    """Tries dead letters against today's contracts and model."""

    def __init__(  # noqa: PLR0913  every part is given
        self,
        desk: Desk,
        path: WorkerPath,
        outgoing: Outgoing,
        ledger: LedgerState,
        *,
        wanted: Wanted,
        attempts: int = ATTEMPTS,
        repair: Repair | None = None,
    ) -> None:
        """`wanted`: which are meant; `attempts`: replays of one letter, those that failed too."""
        self._desk = desk
        self._path = path
        self._outgoing = outgoing
        self._ledger = ledger
        self._attempts = attempts
        self._repair = repair
        self._wanted = wanted
        self._seen = set[str]()
        self._in_order = desk.worker.sequence is Sequencing.KEY
        self._waiting = set[bytes | None]()
        self._told = set[str]()

    def take(self, ledger: LedgerState) -> None:
        """The ledger as it is by now: letters are gone through once more."""
        self._ledger = ledger
        self._waiting.clear()

    def tried(self, letters: Iterable[Letter], tally: TallyState) -> Iterator[Tried]:
        """Each that is meant and may be replayed, with what the path makes of it; each once.

        Publishes nothing. `letters` are all there are, where keys keep their order.
        """
        for letter in letters:
            if not self._wanted.takes(letter) or letter.place in self._told:
                self._wait_for(letter)
            elif (why := self._left_out(letter)) is not None:
                self._told.add(letter.place)
                tally.left_out[why] += 1
                self._wait_for(letter)
            else:
                self._told.add(letter.place)
                found = self._try(letter)
                if found.passes:
                    tally.passed += 1
                    self._seen.add(str(letter.origin))
                else:
                    tally.failed[found.result] += 1
                    self._wait_for(letter)
                yield found

    def _wait_for(self, letter: Letter) -> None:
        """Later letters of its key are not replayed now, where keys keep their order."""
        if not self._in_order or not self._ours(letter) or letter.key is None:
            return
        if self._ledger.settled(letter) is None and str(letter.origin) not in self._seen:
            self._waiting.add(letter.key)

    def _ours(self, letter: Letter) -> bool:
        worker, origin = self._desk.worker, letter.origin
        return letter.worker == worker.known_as and (
            origin is not None and origin.topic == worker.input.topic
        )

    def _left_out(self, letter: Letter) -> str | None:
        worker, origin = self._desk.worker, letter.origin
        if (done := self._ledger.settled(letter)) is not None:
            return f"{done.value} before"
        tried = self._ledger.attempts(letter)
        why = {
            "a second letter of one record": str(origin) in self._seen,
            f"tried {tried} times": tried >= self._attempts,
            "not this worker's": letter.worker != worker.known_as or origin is None,
            "of another input topic": origin is not None and origin.topic != worker.input.topic,
            "the record is not in it, only its digest": not letter.carried,
            "it ended a process; --verdict crash tries it all the same": (
                letter.code == Code.PROCESS_ENDED and not self._named(letter)
            ),
            "behind a letter of its key that is open": letter.key in self._waiting,
        }
        return next((text for text, holds in why.items() if holds), None)

    def _named(self, letter: Letter) -> bool:
        """Does whoever replays know what kind of letter this is?"""
        wanted = self._wanted
        return letter.place in wanted.places or bool(wanted.verdicts or wanted.codes)

    def _try(self, letter: Letter) -> Tried:
        try:
            value = self._desk.value(letter)
            batch = letter.as_it_came(value, time.time_ns() // 1_000_000)
            if self._repair is not None:
                batch = repaired(batch, self._repair, self._catalogue)
        except (Retry, NotRepaired) as why:
            return Tried(letter, str(why), passes=False)
        outcomes = self._path.enrich(batch)
        if (rejection := outcomes.rejected.get(0)) is not None:
            reject = rejection.reject
            return Tried(letter, f"{reject.verdict}:{reject.code}", passes=False)
        records = tuple(self._outgoing.records(outcomes, 1))
        return Tried(letter, outcomes.decided.get(0, "passed on"), passes=True, records=records)

    @property
    def _catalogue(self) -> Catalogue:
        return self._path.enricher.binding.contracts


def publish(
    tried: Iterable[Tried],
    publisher: Publisher,
    ledger_topic: str,
    by: tuple[str, str],
    *,
    rate: float | None,
    told: Callable[[int], None],
) -> None:
    """Publish what passes, and write into the ledger what became of each: a chunk a transaction.

    `publisher` was renewed before the ledger was read: that ends what an earlier replay left open,
    so the ledger has all that was done. `by` is who and why, `rate` letters a second at most.
    `told` is called with how many are done.

    Raises:
        Retry: the cluster is unwell. What is done is in the ledger: run it again.
        Halt: it refuses us, or somebody else replays.
    """
    done, began = 0, time.monotonic()
    for chunk in _chunks(tried, CHUNK if rate is None else max(1, min(CHUNK, int(rate)))):
        now = time.time_ns() // 1_000_000
        entries = [_entry(each, now, by) for each in chunk]
        records = [record for each in chunk for record in each.records]
        records += [each.record(ledger_topic) for each in entries]
        publisher.publish(Work(records, len(records), [], None))
        done += len(chunk)
        told(done)
        if rate is not None:
            threading.Event().wait(max(0.0, began + done / rate - time.monotonic()))


def _entry(tried: Tried, now: int, by: tuple[str, str]) -> Entry:
    done = Done.REPLAYED if tried.passes else Done.FAILED
    return entry(tried.letter, done, now, by, tried.result)


def _chunks(tried: Iterable[Tried], size: int) -> Iterator[list[Tried]]:
    chunk = list[Tried]()
    for each in tried:
        chunk.append(each)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
