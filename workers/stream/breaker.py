"""A breaker for each partition: too many dead letters of one partition stop it, and nothing else.

A model that fails on everything, a contract that went wrong or a producer gone mad would fill the
dead-letter topic with records that are as good as new once the cause is gone. So past a declared
limit the partition is held where it is, with the reason, in the group. After a while a few records
go through as a probe; when they fare better the partition goes on, else it is held again. Nothing
is dropped, and a partition that holds nothing but bad records still drains, slowly.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from workers.enrich.batch import Batch, Outcomes
from workers.stream.clock import Clock
from workers.stream.journal import Event, Journal
from workers.stream.snapshot import Pause, PauseKind
from workers.stream.source import Source
from workers.topology import BreakerSettings

MINUTE = 60.0


@dataclass(slots=True)
class _PartitionState:
    """The last rows of a partition: their cause, or None for a good one.

    `row` counts rows with the same cause in a row, `bad` is when dead letters of the last minute
    came, `probe` how many rows of a probe are still to come, None where it is none.
    """

    last: deque[str | None]
    failed: int = 0
    cause: str | None = None
    run: int = 0
    bad: deque[float] = field(default_factory=deque)
    probe: int | None = None
    probe_failed: int = 0


class Breaker:
    """What a loop does about too many dead letters, between its batches."""

    def __init__(
        self, settings: BreakerSettings | None, source: Source, clock: Clock, journal: Journal
    ) -> None:
        """None: it never opens."""
        self._settings = settings
        self._source = source
        self._clock = clock
        self._journal = journal
        self._states: dict[int, _PartitionState] = {}
        self._open: dict[int, tuple[Pause, float]] = {}

    def hold(self, outcomes: Outcomes) -> Batch | None:
        """Hold partitions that passed a limit; what may go on, or None where that is all of it."""
        settings = self._settings
        if settings is None or not (outcomes.rejected or self._states):
            return None
        batch, first = outcomes.batch, dict[int, int]()
        touched = {batch.partitions[row] for row in outcomes.rejected} | self._states.keys()
        for row, partition in enumerate(batch.partitions):
            if partition not in touched or partition in first:
                continue
            rejection = outcomes.rejected.get(row)
            cause = (
                None
                if rejection is None
                else f"{rejection.reject.verdict.value}:{rejection.reject.code}"
            )
            if (why := self._judge(settings, partition, cause)) is not None:
                first[partition] = row
                self._hold(settings, partition, batch.offsets[row], why)
        if not first:
            return None
        rows = enumerate(batch.partitions)
        return batch.select([row for row, p in rows if row < first.get(p, len(batch))])

    def release(self) -> None:
        """Let a few records of each held partition through whose time has come.

        Raises:
            Retry: a partition cannot be moved now.
        """
        now = self._clock.monotonic()
        for partition, (pause, again_at) in list(self._open.items()):
            if not self._source.still_held(partition, pause):
                del self._open[partition]
                self._states.pop(partition, None)
            elif again_at <= now:
                del self._open[partition]
                state = self._state(partition)
                assert self._settings is not None  # noqa: S101  nothing is held without
                state.probe, state.probe_failed = self._settings.probe, 0
                self._journal.info(Event.PROBING, partition=partition, records=state.probe)
                self._source.release(partition)

    def rewound(self) -> None:
        """Rows will come again: what was noted of them would count twice."""
        self._states.clear()

    def _state(self, partition: int) -> _PartitionState:
        if partition not in self._states:
            window = 1 if self._settings is None else self._settings.window
            self._states[partition] = _PartitionState(deque(maxlen=window))
        return self._states[partition]

    def _judge(self, settings: BreakerSettings, partition: int, cause: str | None) -> str | None:
        """Take note of a row. Why it is not to go on, nor what is behind it; None: go on."""
        state = self._state(partition)
        if state.probe is not None:
            return self._judge_probe(settings, partition, state, cause)
        if cause is None:
            state.cause, state.run = None, 0
            _note(state, None)
            if not state.failed:
                del self._states[partition]
            return None
        same = cause == state.cause
        run = state.run + 1 if same else 1
        now = self._clock.monotonic()
        while state.bad and state.bad[0] <= now - MINUTE:
            state.bad.popleft()
        if (why := _over(settings, state, cause, run, len(state.bad) + 1)) is not None:
            return why
        state.cause, state.run = cause, run
        state.bad.append(now)
        _note(state, cause)
        return None

    def _judge_probe(
        self,
        settings: BreakerSettings,
        partition: int,
        state: _PartitionState,
        cause: str | None,
    ) -> str | None:
        if state.probe:
            state.probe -= 1
            state.probe_failed += cause is not None
            state.cause = cause or state.cause
            return None
        if state.probe_failed <= settings.share * settings.probe:
            self._journal.info(Event.BREAKER_CLOSED, partition=partition)
            del self._states[partition]
            return self._judge(settings, partition, cause)
        return (
            f"{state.probe_failed} of {settings.probe} records of the probe failed, the last "
            f"with {state.cause}"
        )

    def _hold(self, settings: BreakerSettings, partition: int, offset: int, why: str) -> None:
        text = f"breaker: {why}; tried again in {settings.again:g} s"
        pause = Pause(PauseKind.BREAKER, text)
        self._open[partition] = (pause, self._clock.monotonic() + settings.again)
        self._journal.error(Event.BREAKER_OPEN, partition=partition, offset=offset, why=why)
        self._source.hold(partition, offset, pause)


def _note(state: _PartitionState, cause: str | None) -> None:
    if len(state.last) == state.last.maxlen:
        state.failed -= state.last[0] is not None
    state.last.append(cause)
    state.failed += cause is not None


def _over(
    settings: BreakerSettings, state: _PartitionState, cause: str, run: int, minute: int
) -> str | None:
    """The limit that one more dead letter of this cause would pass."""
    if run > settings.consecutive:
        return f"over {settings.consecutive} dead letters in a row with {cause}"
    if settings.per_minute is not None and minute > settings.per_minute:
        return f"over {settings.per_minute} dead letters in a minute, the last with {cause}"
    window = state.last.maxlen or 1
    if len(state.last) == window and state.failed + 1 > settings.share * window:
        causes = Counter(each for each in state.last if each is not None)
        main, count = causes.most_common(1)[0] if causes else (cause, 1)
        return (
            f"over {settings.share:.0%} of {window} records are dead letters, {count} with {main}"
        )
    return None
