"""`sequence: key`: after a failure later records of its key are parked behind it.

A consumer that builds on the order of a key must not see the second event where the first one is
missing. So once a record of a key is a dead letter, those that come after it are dead letters too,
verdict `parked`, in the same transaction as everything else of their batch; other keys go on. What
is open stands in the dead-letter topic and its ledger and nowhere else: both are followed beside
the stream, so a key stays parked over restarts and when its partition moves, and goes on by itself
once the ledger says that its letters are replayed or resolved.

A key that keeps coming would never be through: while its letters are replayed more are parked. So
when few are left, and one was replayed a moment ago, its partition is held instead, for a while.

Both topics are read to their ends before a row is judged by a new assignment or after a rewind:
what another member, or a life before this one, has committed is known then. What this process has
published since is remembered until it is read there.
"""

from __future__ import annotations

from workers.enrich.batch import Batch, Outcomes
from workers.errors import Code, Reject
from workers.stream.clock import Clock
from workers.stream.letters import Origin
from workers.stream.openletters import OpenLettersState, digest
from workers.stream.outgoing import refused
from workers.stream.snapshot import Pause, PauseKind
from workers.stream.source import Source
from workers.stream.tail import Tail

LOOK = 60.0
"""Seconds after which partitions are looked for, and letters forgotten that retention took."""
WAIT = 0.05
"""Seconds to wait for letters that are known to be there."""
FEW = 200
"""Open letters of a key: a replay settles so many in one transaction."""
PATIENCE = 30.0
"""Seconds after a replayed letter in which the next one of its key is waited for."""
_PAUSE = Pause(PauseKind.SEQUENCE, "a key's last dead letters are being replayed")


class KeyOrder:
    """What a loop asks about the order of keys, between its batches. One thread calls it."""

    def __init__(
        self,
        tail: Tail,
        letters: OpenLettersState,
        ledger_topic: str,
        source: Source,
        clock: Clock,
    ) -> None:
        """`tail` follows the dead-letter topic and the ledger, `letters` learns from it."""
        self._tail = tail
        self._letters = letters
        self._ledger_topic = ledger_topic
        self._source = source
        self._clock = clock
        self._epoch: int | None = None
        self._look_at = 0.0
        self._own: dict[bytes, set[Origin]] = {}
        self._replayed_at: dict[bytes, float] = {}
        self._held: dict[int, bytes] = {}

    def current(self, epoch: int) -> bool:
        """Is all that was written before this epoch of the assignment known by now?

        Raises:
            Retry: the broker does not answer.
        """
        now = self._clock.monotonic()
        if epoch != self._epoch or now >= self._look_at:
            for (topic, partition), begin in self._tail.look().items():
                if topic != self._ledger_topic:
                    self._letters.forget_before(partition, begin)
            self._epoch, self._look_at = epoch, now + LOOK
        self._follow(0 if self._tail.caught_up else WAIT)
        return self._tail.caught_up

    def _follow(self, seconds: float) -> None:
        for batch in self._tail.read(seconds):
            if batch.topic != self._ledger_topic:
                for key, origin in self._letters.take_letters(batch):
                    self._seen(key, origin)
                continue
            now = self._clock.monotonic()
            for key in self._letters.take_ledger(batch):
                self._replayed_at[key] = now

    def parked(self, outcomes: Outcomes) -> Outcomes:
        """The outcomes, with rows behind an open letter of their key as rejections."""
        if not (outcomes.rejected or self._letters or self._own):
            return outcomes
        batch = outcomes.batch
        failed: dict[bytes, Origin] = {}
        behind: dict[int, Reject] = {}
        for row, key in enumerate(batch.keys):
            if key is None or row in outcomes.dropped:
                continue
            place = Origin(batch.topic, batch.partitions[row], batch.offsets[row])
            if row in outcomes.rejected:
                failed.setdefault(key, place)
            elif (first := failed.get(key) or self._before(digest(key), place)) is not None:
                text = f"{first}, of the same key, is a dead letter that nobody has settled"
                behind[row] = Reject(Code.BEHIND, text)
        return refused(outcomes, behind, "sequence") if behind else outcomes

    def hold(self, outcomes: Outcomes) -> Batch | None:
        """Hold partitions at rows whose key is almost through; the rows before them.

        None where nothing is held.
        """
        if not self._replayed_at:
            return None
        batch, first = outcomes.batch, dict[int, int]()
        for row, rejection in sorted(outcomes.rejected.items()):
            key, partition = batch.keys[row], batch.partitions[row]
            if rejection.reject.code is not Code.BEHIND or key is None or partition in first:
                continue
            if self._almost_through(digest(key)):
                first[partition] = row
                self._held[partition] = digest(key)
                self._source.hold(partition, batch.offsets[row], _PAUSE)
        if not first:
            return None
        rows = enumerate(batch.partitions)
        return batch.select([row for row, p in rows if row < first.get(p, len(batch))])

    def release(self) -> None:
        """Read partitions on whose key is through, or was waited for long enough.

        Raises:
            Retry: the broker does not answer, or a partition cannot be moved now.
        """
        if not self._held:
            return
        self._follow(0)
        for partition, key in list(self._held.items()):
            if not self._source.still_held(partition, _PAUSE):
                del self._held[partition]
            elif not self._almost_through(key):
                del self._held[partition]
                self._source.release(partition)

    def _almost_through(self, key: bytes) -> bool:
        since = self._clock.monotonic() - PATIENCE
        if (at := self._replayed_at.get(key)) is None or at < since:
            self._replayed_at.pop(key, None)
            return False
        return 0 < self._letters.open_of(key) + len(self._own.get(key, ())) <= FEW

    def published(self, outcomes: Outcomes) -> None:
        """These outcomes are on their way to the broker."""
        batch = outcomes.batch
        for row in outcomes.rejected:
            if (key := batch.keys[row]) is not None:
                place = Origin(batch.topic, batch.partitions[row], batch.offsets[row])
                self._own.setdefault(digest(key), set()).add(place)

    def rewound(self) -> None:
        """What was on its way may not have arrived: only the topics say."""
        self._own.clear()
        self._epoch = None

    def close(self) -> None:
        """End the clients."""
        self._tail.close()

    def _before(self, key: bytes, place: Origin) -> Origin | None:
        for origin in self._own.get(key, ()):
            if origin.partition != place.partition or origin.offset < place.offset:
                return origin
        return self._letters.before(key, place.partition, place.offset)

    def _seen(self, key: bytes, origin: Origin) -> None:
        origins = self._own.get(key, set())
        origins.discard(origin)
        if not origins:
            self._own.pop(key, None)
