"""What a loop tells telemetry: once a batch, when it is over. Nothing of it can stop a record.

The loop calls it where a batch passes; stages know nothing of it. What is counted of records is
counted when the broker has acknowledged them, from their outcomes. Small batches are counted
together: what that costs is hardly by record, and code that runs again at once is in the cache.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec

from workers.enrich.batch import Outcomes
from workers.errors import Retry, Verdict
from workers.stream.clock import Clock
from workers.stream.counting import (
    count_decisions,
    count_opinion,
    count_staleness,
    latencies,
)
from workers.stream.drifting import Drifting
from workers.stream.journal import Event, Journal
from workers.stream.outcome import cause_of
from workers.stream.times import Times
from workers.stream.tracing import Traces
from workers.telemetry import names
from workers.telemetry.registry import Registry
from workers.telemetry.spans import Exporting
from workers.telemetry.steps import Step
from workers.topology import Worker

Arguments = ParamSpec("Arguments")
TOGETHER = 1_000
"""Records that are counted together, where batches are small."""
LARGEST = 8 << 20
"""Bytes of values that wait to be counted, at most."""
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


@dataclass(frozen=True, slots=True)
class _Settled:
    """A batch that is acknowledged, at `now` in milliseconds UTC, and not counted yet."""

    outcomes: Outcomes
    later: Collection[int]
    counts: Mapping[str, int]
    decided: Mapping[str, int]
    times: Times
    steps: Mapping[Step, float]
    now: int


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
        self._records = self._bytes = 0
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
        decided: Mapping[str, int],
        times: Times,
        steps: Mapping[Step, float],
    ) -> None:
        """The broker holds every outcome of a batch; `decided` are its first block's decisions."""
        counts = _by_outcome(outcomes, later)
        now = self._clock.now()
        self._waiting.append(_Settled(outcomes, later, counts, decided, times, steps, now))
        self._records += len(outcomes.batch)
        self._bytes += sum(map(len, filter(None, outcomes.batch.values)))
        if self._records >= TOGETHER or self._bytes >= LARGEST:
            self._count()
        seconds = {f"{stage}_ms": round(took * 1000, 1) for stage, took in times.stages.items()}
        told = {name: count for name, count in counts.items() if count}
        self._journal.info(Event.COMMITTED, records=len(outcomes.batch), **told, **seconds)
        self._traces.settled(outcomes, times)

    @_harmless
    def recovering(self, unwell: Retry) -> None:
        """What is under way is given up, and read again."""
        self._count()
        self.registry.add(names.RECOVERIES, 1, cause_of(unwell))

    @_harmless
    def failed(self, outcomes: Outcomes, times: Times, unwell: Retry) -> None:
        """A batch was on its way then, and is not acknowledged."""
        self._traces.failed(outcomes, times, cause_of(unwell))

    @_harmless
    def _count(self) -> None:
        """Count all that waits for it."""
        polls, waiting = self._polls, self._waiting
        self._polls, self._waiting = [], []
        self._records = self._bytes = 0
        self._count_polls(polls)
        for settled in waiting:
            self._count_batch(settled)

    def _count_polls(self, polls: list[tuple[int, float]]) -> None:
        system, topic, group = self._source
        operation = (system, "poll", "receive", topic, group, "")
        for records, seconds in polls:
            self.registry.add(names.CONSUMED, records, system, "poll", topic, group, "")
            self.registry.record(names.OPERATION_DURATION, seconds, *operation)

    def _count_batch(self, settled: _Settled) -> None:
        outcomes, times = settled.outcomes, settled.times
        self._count_outcomes(outcomes, settled.later, settled.counts)
        self._count_times(len(outcomes.batch), times, settled.steps)
        self.registry.spread(names.RECORD_LATENCY, latencies(outcomes.batch, settled.now))
        count_decisions(self.registry, outcomes, settled.decided)
        for opinion in outcomes.opinions:
            count_opinion(self.registry, opinion, outcomes)
            self._drifting.feed(opinion, times.scored)
        if self._worker.staleness is not None:
            count_staleness(self.registry, outcomes, self._worker.staleness)

    def _count_outcomes(
        self, outcomes: Outcomes, later: Collection[int], counts: Mapping[str, int]
    ) -> None:
        add, worker = self.registry.add, self._worker
        for name, count in counts.items():
            add(names.RECORDS, count, name)
        rejects = [why.reject for row, why in outcomes.rejected.items() if row not in later]
        for (verdict, code), count in Counter((r.verdict, r.code) for r in rejects).items():
            add(names.DEAD_LETTERS, count, verdict.value, code.value)
        sent = {worker.output.topic: len(outcomes.enriched), worker.dead_letter.topic: len(rejects)}
        if worker.decisions is not None:
            # One a block, for every row.
            blocks = len(next(iter(outcomes.decisions.values()), ()))
            sent[worker.decisions.topic] = len(outcomes.decisions) * blocks
        if worker.retry_topic is not None:
            sent[worker.retry_topic.topic] = len(later)
        for topic, count in sent.items():
            if count:
                add(names.SENT, count, "kafka", "publish", topic, "")

    def _count_times(self, records: int, times: Times, steps: Mapping[Step, float]) -> None:
        record, (system, topic, group) = self.registry.record, self._source
        self.registry.add(names.BATCHES, 1)
        record(names.BATCH_SIZE, records)
        stages = times.stages
        for stage, seconds in stages.items():
            record(names.STAGE_DURATION, seconds, stage)
        for step, seconds in steps.items():
            record(names.STEP_DURATION, seconds, step)
        record(names.PROCESS_DURATION, stages["score"], system, "process", topic, group, "")


def _by_outcome(outcomes: Outcomes, later: Collection[int]) -> dict[str, int]:
    parked = [why.reject.verdict is Verdict.PARKED for why in outcomes.rejected.values()]
    return {
        "enriched": len(outcomes.enriched),
        "dead_lettered": len(outcomes.rejected) - len(later) - sum(parked),
        "dropped": len(outcomes.dropped),
        "delayed": len(later),
        "parked": sum(parked),
    }
