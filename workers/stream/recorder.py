"""What a loop tells telemetry: once a batch, when it is over. Nothing of it can stop a record.

The loop calls it where a batch passes; stages know nothing of it. What is counted of records is
counted when the broker has acknowledged them, from their outcomes. Small batches are counted
together: what that costs is hardly by record, and code that runs again at once is in the cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import Concatenate, NamedTuple, ParamSpec

import numpy as np
import numpy.typing as npt

from workers.enrich.batch import Opinion, Outcomes
from workers.errors import Retry, Verdict
from workers.stream.clock import Clock
from workers.stream.counting import (
    ALL,
    Kept,
    Timestamps,
    count_opinion,
    count_staleness,
    latencies,
    published,
)
from workers.stream.drifting import Drifting
from workers.stream.journal import Event, Journal
from workers.stream.opinions import joined
from workers.stream.outcome import cause_of
from workers.stream.times import Times
from workers.stream.tracing import Traces
from workers.telemetry import names
from workers.telemetry.registry import Registry
from workers.telemetry.spans import Exporting
from workers.telemetry.steps import Step
from workers.topology import Worker

Arguments = ParamSpec("Arguments")
TOGETHER = 4_000
"""Records that are counted together, where batches are small."""
LONGEST = 1.0
"""Seconds that they wait, at most, while others come."""


def _harmless(
    method: Callable[Concatenate[Recorder, Arguments], None],
) -> Callable[Concatenate[Recorder, Arguments], None]:
    """A bug of telemetry is counted, and stops nothing."""

    @wraps(method)
    def guarded(recorder: Recorder, /, *args: Arguments.args, **named: Arguments.kwargs) -> None:
        try:
            method(recorder, *args, **named)
        except Exception:  # noqa: BLE001  no record is to wait for a number
            recorder.registry.add(names.FAULTS, 1)

    return guarded


class _Settled(NamedTuple):
    """What is to be counted of a batch that is acknowledged, at `now` in milliseconds UTC.

    No value of a record: what waits would keep it from being used again while it is in the cache.
    """

    counts: Mapping[str, int]
    letters: Sequence[tuple[str, str]]
    sent: Mapping[str, int]
    timestamps: Timestamps
    now: int
    opinions: Sequence[tuple[Opinion, Kept]]
    ages: npt.NDArray[np.float64] | None
    stages: Mapping[str, float]
    steps: Mapping[Step, float]
    scored: float


class Recorder:
    """Counts what a loop does. The loop's thread alone calls it."""

    def __init__(  # noqa: PLR0913  every part is given, by keyword
        self,
        *,
        worker: Worker,
        registry: Registry,
        journal: Journal,
        clock: Clock,
        drifting: Drifting,
        traces: Traces,
        exports: Exporting,
    ) -> None:
        """Nothing is counted yet, nothing sent before `start`."""
        self._worker = worker
        self.registry = registry
        self._journal = journal
        self._clock = clock
        self._drifting = drifting
        self._traces = traces
        self._exports = exports
        self._mark = 0.0
        self._steps: dict[Step, float] = {}
        self._source = ("kafka", worker.input.topic, worker.group)
        self._polls: list[tuple[int, float]] = []
        self._waiting: list[_Settled] = []
        self._records = 0
        self._since = 0.0

    def start(self) -> None:
        """Begin to send, where there is a collector."""
        self._exports.start()

    def close(self) -> None:
        """Count and send what is left, if that takes no longer than a moment."""
        self._count()
        self._exports.close()

    @_harmless
    def polled(self, records: int, times: Times) -> None:
        """A poll is over; what follows is the scoring of its records."""
        self._mark, self._steps = times.polled, {}
        self._drifting.look(times.polled)
        if records:
            self._polls.append((records, times.stages["wait"]))
        if not records or times.polled - self._since >= LONGEST:
            self._since = times.polled
            self._count()

    def lap(self, step: Step) -> None:
        """A step of the scoring is over. Steps that come twice are added up."""
        now = self._clock.monotonic()
        self._steps[step] = self._steps.get(step, 0.0) + now - self._mark
        self._mark = now

    def steps(self) -> dict[Step, float]:
        """The seconds of each step of what was scored just now."""
        return self._steps

    @_harmless
    def settled(
        self,
        outcomes: Outcomes,
        later: Collection[int],
        times: Times,
        steps: Mapping[Step, float],
    ) -> None:
        """The broker holds every outcome of a batch; rows of `later` come again."""
        counts, stages, records = _by_outcome(outcomes, later), times.stages, len(outcomes.batch)
        letters = [
            (why.reject.verdict.value, why.reject.code.value)
            for row, why in outcomes.rejected.items()
            if row not in later
        ]
        self._waiting.append(
            _Settled(
                counts=counts,
                letters=letters,
                sent=self._sent(outcomes, len(letters), len(later)),
                timestamps=outcomes.batch.timestamps,
                now=self._clock.now(),
                opinions=[(opinion, published(opinion, outcomes)) for opinion in outcomes.opinions],
                ages=outcomes.ages,
                stages=stages,
                steps=steps,
                scored=times.scored,
            )
        )
        seconds = {f"{stage}_ms": round(took * 1000, 1) for stage, took in stages.items()}
        told = {name: count for name, count in counts.items() if count}
        self._journal.soon(Event.COMMITTED, records=records, **told, **seconds)
        self._traces.settled(outcomes, times)
        self._records += records
        if self._records >= TOGETHER:
            self._count()

    @_harmless
    def recovering(self, unwell: Retry) -> None:
        """What is under way is given up, and read again."""
        self._count()
        self.registry.add(names.RECOVERIES, 1, cause_of(unwell))

    @_harmless
    def failed(self, outcomes: Outcomes, times: Times, unwell: Retry) -> None:
        """A batch was on its way then, and is not acknowledged."""
        self._traces.failed(outcomes, times, cause_of(unwell))

    def _sent(self, outcomes: Outcomes, letters: int, later: int) -> dict[str, int]:
        """Records by the topic that they went to."""
        worker = self._worker
        sent = {worker.output.topic: len(outcomes.enriched), worker.dead_letter.topic: letters}
        if worker.decisions is not None:
            # One a block, for every row.
            blocks = len(next(iter(outcomes.decisions.values()), ()))
            sent[worker.decisions.topic] = len(outcomes.decisions) * blocks
        if worker.retry_topic is not None:
            sent[worker.retry_topic.topic] = later
        return sent

    @_harmless
    def _count(self) -> None:
        """Count all that waits for it."""
        polls, waiting = self._polls, self._waiting
        self._polls, self._waiting, self._records = [], [], 0
        if polls:
            self._count_polls(polls)
        self._journal.tell()
        if waiting:
            self._count_records(waiting)
            self._count_times(waiting)
            self._count_opinions(waiting)

    def _count_polls(self, polls: Sequence[tuple[int, float]]) -> None:
        system, topic, group = self._source
        records, operation = sum(count for count, _ in polls), ("poll", "receive", topic, group, "")
        self.registry.add(names.CONSUMED, records, system, "poll", topic, group, "")
        seconds = [took for _, took in polls]
        self.registry.record_all(names.OPERATION_DURATION, seconds, system, *operation)

    def _count_records(self, waiting: Sequence[_Settled]) -> None:
        add = self.registry.add
        for name in waiting[0].counts:
            add(names.RECORDS, sum(settled.counts[name] for settled in waiting), name)
        letters = Counter(letter for settled in waiting for letter in settled.letters)
        for (verdict, code), count in letters.items():
            add(names.DEAD_LETTERS, count, verdict, code)
        for topic in waiting[0].sent:
            if count := sum(settled.sent[topic] for settled in waiting):
                add(names.SENT, count, "kafka", "publish", topic, "")

    def _count_times(self, waiting: Sequence[_Settled]) -> None:
        record, (system, topic, group) = self.registry.record_all, self._source
        self.registry.add(names.BATCHES, len(waiting))
        record(names.BATCH_SIZE, [len(settled.timestamps) for settled in waiting])
        for stage in waiting[0].stages:
            record(names.STAGE_DURATION, [settled.stages[stage] for settled in waiting], stage)
        for step in Step:
            took = [settled.steps[step] for settled in waiting if step in settled.steps]
            if took:
                record(names.STEP_DURATION, took, step)
        scored = [settled.stages["score"] for settled in waiting]
        record(names.PROCESS_DURATION, scored, system, "process", topic, group, "")
        since = latencies([(settled.timestamps, settled.now) for settled in waiting])
        self.registry.spread(names.RECORD_LATENCY, since)
        ages = [settled.ages for settled in waiting if settled.ages is not None]
        if self._worker.staleness is not None and ages:
            count_staleness(self.registry, np.concatenate(ages), self._worker.staleness)

    def _count_opinions(self, waiting: Sequence[_Settled]) -> None:
        found = [pair for settled in waiting for pair in settled.opinions]
        whole = joined(opinion for opinion, kept in found if kept is ALL)
        parts = [(opinion, kept) for opinion, kept in found if kept is not ALL]
        for opinion, kept in (*((opinion, ALL) for opinion in whole), *parts):
            count_opinion(self.registry, opinion, kept)
            self._drifting.feed(opinion, waiting[-1].scored)


def _by_outcome(outcomes: Outcomes, later: Collection[int]) -> dict[str, int]:
    parked = sum(why.reject.verdict is Verdict.PARKED for why in outcomes.rejected.values())
    return {
        "enriched": len(outcomes.enriched),
        "dead_lettered": len(outcomes.rejected) - len(later) - parked,
        "dropped": len(outcomes.dropped),
        "delayed": len(later),
        "parked": parked,
    }
