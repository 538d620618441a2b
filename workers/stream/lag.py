"""How far behind each partition is: in records, in seconds, and which way it goes.

From what passes through the consumer anyway: offsets and timestamps of records, ends of the log,
the newest offset that the client heard of. Nothing here asks a broker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from workers.enrich.batch import Batch
from workers.stream.snapshot import PartitionView, Pause

WINDOW = 60.0
"""Seconds that a trend is over."""
SAMPLES = 30
UNKNOWN_TIME = 0
"""The client's type of a timestamp that a record has not got."""


@dataclass(slots=True)
class _PartitionState:
    """`done` and `handed`: the next offset that is not settled, and not handed out.

    `ended` is where the log ended when nothing was left to hand out, and `handed_then` what had
    been handed out by then: the offsets between the two hold no records for us. `waiting` has the
    batches in hand: the offset after their last record, their first and their last timestamp.
    `caught_up_at` is when the partition was last seen without lag.
    """

    done: int | None = None
    handed: int | None = None
    ended: int | None = None
    handed_then: int | None = None
    waiting: deque[tuple[int, int, int]] = field(default_factory=deque)
    last: int | None = None
    caught_up_at: int | None = None
    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES + 1))

    @property
    def drained(self) -> int | None:
        """The end of the log, if everything before it is done."""
        if self.ended is None or self.handed != self.handed_then or self.waiting:
            return None
        return self.ended


class LagState:
    """What is known of the lag of each partition of ours. One thread calls it."""

    def __init__(self) -> None:
        self._of: dict[int, _PartitionState] = {}

    def placed(self, partition: int, offset: int) -> None:
        """It is read on at the group's committed offset; the client tells of the end anew."""
        state = self._of.setdefault(partition, _PartitionState())
        state.done = state.handed = offset
        state.ended = None
        state.waiting.clear()

    def forget(self, partitions: Collection[int]) -> None:
        """They are another member's now."""
        for partition in partitions:
            self._of.pop(partition, None)

    def handed(self, batch: Batch) -> None:
        """These records were handed out."""
        if not len(batch):
            return
        rows = range(len(batch))
        last = dict(zip(batch.partitions, rows, strict=True))
        # The first row of each partition is the last one from behind.
        first = dict(zip(reversed(batch.partitions), reversed(rows), strict=True))
        for partition, row in last.items():
            state = self._of.setdefault(partition, _PartitionState())
            stamps = batch.timestamps[first[partition]], batch.timestamps[row]
            began, ended = (_milliseconds(stamp, batch.now) for stamp in stamps)
            state.handed = batch.offsets[row] + 1
            state.waiting.append((state.handed, began, ended))

    def settled(self, batch: Batch) -> None:
        """Every record of it is accounted for."""
        for partition, end in batch.next_offsets().items():
            state = self._of.get(partition)
            if state is None:
                continue
            state.done = end
            while state.waiting and state.waiting[0][0] <= end:
                state.last = state.waiting.popleft()[2]

    def ended(self, partition: int, offset: int) -> None:
        """The client has handed out all that there is before `offset`, and that is the end."""
        state = self._of.setdefault(partition, _PartitionState())
        state.ended, state.handed_then = offset, state.handed

    def views(
        self,
        partitions: Collection[int],
        ends: Mapping[int, int],
        pauses: Mapping[int, Pause],
        now: tuple[float, int],
    ) -> tuple[PartitionView, ...]:
        """Partitions as they are now (monotonic seconds, ms UTC), in order.

        `ends` is the newest offset that was heard of; `pauses` says what is not read.
        """
        return tuple(
            self._view(partition, ends.get(partition), pauses.get(partition), now)
            for partition in sorted(partitions)
        )

    def _view(
        self, partition: int, end: int | None, pause: Pause | None, now: tuple[float, int]
    ) -> PartitionView:
        state = self._of.setdefault(partition, _PartitionState())
        lag = _lag(state, end, paused=pause is not None)
        if lag == 0:
            state.caught_up_at = now[1]
        known = [offset for offset in (end, state.ended) if offset is not None]
        return PartitionView(
            partition=partition,
            position=state.done,
            end=max(known, default=None),
            lag=lag,
            oldest=_oldest(state) if lag else None,
            trend=None if lag is None else _trend(state.samples, now[0], lag),
            pause=pause,
        )


def _lag(state: _PartitionState, end: int | None, *, paused: bool) -> int | None:
    """Records that are not done. Nothing behind a seen end counts, unless it is not read on."""
    drained = state.drained
    if drained is not None:
        return max(0, end - drained) if paused and end is not None else 0
    if state.done is None or (end is None and not state.waiting):
        return None
    return max(0, (end or 0) - state.done, (state.handed or 0) - state.done)


def _oldest(state: _PartitionState) -> int | None:
    """The first timestamp in hand; else the latest moment of which we know that it is before it."""
    if state.waiting:
        return state.waiting[0][1]
    known = [moment for moment in (state.last, state.caught_up_at) if moment is not None]
    return max(known, default=None)


def _trend(samples: deque[tuple[float, int]], now: float, lag: int) -> float | None:
    """Records a second by which the lag grew since the oldest sample of the window."""
    if not samples or now - samples[-1][0] >= WINDOW / SAMPLES:
        samples.append((now, lag))
    while samples[0][0] < now - WINDOW:
        samples.popleft()
        if not samples:
            samples.append((now, lag))
    began, before = samples[0]
    return None if now <= began else (lag - before) / (now - began)


def _milliseconds(stamp: tuple[int, int], polled: int) -> int:
    """A record's timestamp; when it was polled, where it has none. Never after that."""
    kind, milliseconds = stamp
    return polled if kind == UNKNOWN_TIME else min(polled, milliseconds)
