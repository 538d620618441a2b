"""The loop: poll, enrich, publish; the next batch is scored while the last one is committed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from workers.enrich.batch import Batch, Outcomes
from workers.enrich.policy import Effort
from workers.errors import Code, Reject, Retry
from workers.stream.breaker import Breaker
from workers.stream.caution import CautionState
from workers.stream.clock import Clock
from workers.stream.failures import Moved, Refused, TopicRefused
from workers.stream.journal import Event, Journal
from workers.stream.outgoing import Outgoing, held_to_size
from workers.stream.pace import PaceState
from workers.stream.pausing import Pauses
from workers.stream.pending import HANG, Pending
from workers.stream.publish import Failpoint, Publisher, nowhere
from workers.stream.recorder import Recorder
from workers.stream.reporting import Reporter
from workers.stream.retries import AtOnce, Waiting
from workers.stream.schemas import Schemas
from workers.stream.sequence import KeyOrder
from workers.stream.shadowing import Shadowing
from workers.stream.slot import Slot
from workers.stream.snapshot import Phase
from workers.stream.source import Polled, Source
from workers.stream.times import Times
from workers.stream.work import Work
from workers.telemetry.steps import Step
from workers.topology import Delivery, Worker

PATIENCE = 0.5
"""Seconds the loop waits for a publish before it pauses the partitions and keeps polling."""
IDLE = 0.05
"""Seconds between two looks whether all dead letters of before are read."""


@dataclass(frozen=True, slots=True)
class _InFlight:
    polled: Polled
    outcomes: Outcomes
    times: Times
    steps: dict[Step, float]
    shadow: bool


class _Drain(Exception):  # noqa: N818  control flow, not an error
    """Stop was asked for while a publish is under way: wait for that one alone."""


class Loop:
    """One worker process: a consumer, a producer and the path between them."""

    def __init__(  # noqa: PLR0913  every part is given, by keyword
        self,
        *,
        worker: Worker,
        source: Source,
        publisher: Publisher,
        enrich: Callable[[Batch, Effort], Outcomes],
        schemas: Schemas,
        breaker: Breaker,
        slot: Slot,
        pauses: Pauses,
        outgoing: Outgoing,
        clock: Clock,
        journal: Journal,
        reporter: Reporter,
        recorder: Recorder,
        shadow: Shadowing | None = None,
        order: KeyOrder | None = None,
        at: Failpoint = nowhere,
    ) -> None:
        """All parts are given; `wiring` makes them."""
        self._worker = worker
        self._source = source
        self._publisher = publisher
        self._enrich = AtOnce(worker.retries, enrich, self._wait, journal.counts.tried)
        self._waiting = None if worker.tier is None else Waiting(worker.tier, source, clock)
        self._schemas = schemas
        self._breaker = breaker
        self._slot = slot
        self._pauses = pauses
        self._outgoing = outgoing
        self._clock = clock
        self._journal = journal
        self._reporter = reporter
        self._recorder = recorder
        self._shadow = shadow
        self._order = order
        self._at = at
        self._pending = Pending(publisher, clock)
        self._in_flight: _InFlight | None = None
        largest = worker.batch.max_records
        self._caution = CautionState(largest, largest)
        counts = journal.counts
        self._pace = PaceState(worker.latency, largest, counts.given_up, counts.breaches)
        self._attempts = 1
        self._stopping = False
        self._stop_by: float | None = None
        source.before_revoke = self._before_revoke
        source.turned, source.moved = reporter.turn, reporter.moved

    @property
    def stopped_partitions(self) -> dict[int, str]:
        """Partitions that are not read, and why."""
        return self._source.stopped

    @property
    def partitions(self) -> frozenset[int]:
        """Partitions this process owns."""
        return self._source.assigned

    def stop(self) -> None:
        """Finish what is under way, commit it, leave the group. Safe in a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Work until `stop`.

        Raises:
            Halt: going on would lose or double a record, or cannot work. Nothing is committed that
                was not acknowledged.
        """
        try:
            self._recorder.start()
            self._slot.start()
            if self._shadow is not None:
                self._shadow.start()
            self._start()
            self._reporter.phase(Phase.RUNNING)
            with suppress(_Drain):
                while not self._stopping:
                    self.run_once()
            self._reporter.phase(Phase.DRAINING)
            self._drain()
        finally:
            self._reporter.phase(Phase.STOPPED)
            self._pending.abandon()
            if self._shadow is not None:
                self._shadow.close()
            self._slot.close()
            self._schemas.close()
            self._source.close()
            self._recorder.close()
            if self._order is not None:
                self._order.close()

    def run_once(self) -> None:
        """One batch: its offsets move only after the broker holds every outcome of it."""
        try:
            self._slot.take()
            self._schemas.take()
            self._schemas.release()
            self._breaker.release()
            if self._waiting is not None:
                self._waiting.release()
            self._pauses.take()
            if self._order is not None:
                self._order.release()
            began = self._clock.monotonic()
            polled = self._source.poll(min(self._caution.limit, self._pace.limit))
            self._at("polled")
            polled = replace(polled, batch=self._pauses.hold(polled.batch))
            if self._waiting is not None:
                polled = replace(polled, batch=self._waiting.hold(polled.batch))
            self._wait_for_letters(polled)
            waited = self._clock.monotonic()
            self._recorder.polled(len(polled.batch), Times(began, waited, waited))
            plan = self._pace.plan(len(polled.batch))
            effort = replace(plan.effort, clock=self._clock.monotonic)
            polled, outcomes = self._outcomes(polled, effort)
            scored = self._clock.monotonic()
            self._pace.scored(len(polled.batch), plan, scored - waited)
            steps = self._recorder.steps()
            self._settle()
            self._publish(
                _InFlight(polled, outcomes, Times(began, waited, scored), steps, plan.shadow)
            )
            self._journal.progress()
        except Retry as unwell:
            self._recover(unwell)

    def _wait_for_letters(self, polled: Polled) -> None:
        """Where the order of keys is kept, every failure before this batch must be known.

        Raises:
            Retry: the broker does not answer, or partitions moved meanwhile.
        """
        if self._order is None or not len(polled.batch):
            return
        while not self._order.current(polled.epoch):
            if self._stopping:
                raise _Drain
            self._source.idle(IDLE)
            if not self._source.owns(polled):
                raise Moved("partitions moved while dead letters were being read")

    def _outcomes(self, polled: Polled, effort: Effort) -> tuple[Polled, Outcomes]:
        """The batch's outcomes; without rows that wait for a schema, or for the breaker."""
        outcomes = self._enrich(polled.batch, effort)
        if outcomes.unknown and (rest := self._schemas.hold(outcomes)) is not None:
            polled = replace(polled, batch=rest)
            outcomes = self._enrich(rest, effort)
        outcomes = self._judged(outcomes)
        if self._order is not None and (rest := self._order.hold(outcomes)) is not None:
            polled = replace(polled, batch=rest)
            outcomes = self._judged(self._enrich(rest, effort))
        if (rest := self._breaker.hold(outcomes)) is not None:
            polled = replace(polled, batch=rest)
            outcomes = self._judged(self._enrich(rest, effort))
        return polled, outcomes

    def _judged(self, outcomes: Outcomes) -> Outcomes:
        """The outcomes, with rejections for reasons that are not in the record itself."""
        outcomes = held_to_size(outcomes, self._worker.output.max_message_bytes)
        outcomes = self._caution.apply(outcomes)
        return outcomes if self._order is None else self._order.parked(outcomes)

    def _publish(self, flight: _InFlight) -> None:
        """Hand the batch to the publisher's thread."""
        polled, outcomes = flight.polled, flight.outcomes
        if not self._source.owns(polled):
            raise Moved("partitions moved while the batch before was being committed")
        if not len(polled.batch):
            return
        records = self._outgoing.records(outcomes, self._attempts)
        decisions = sum(map(len, outcomes.decisions.values()))
        count = len(outcomes.enriched) + decisions + len(outcomes.rejected)
        self._in_flight = flight
        self._reporter.publishing()
        if self._order is not None:
            self._order.published(outcomes)
        self._pending.start(Work(records, count, polled.offsets, polled.metadata))

    def _settle(self) -> None:
        """Wait for the batch before, and take note of it."""
        if not self._pending.busy:
            return
        while not self._pending.wait(PATIENCE):
            if self._stopping:
                raise _Drain
            if self._pending.hangs:
                raise Retry(f"a call into the client has hung for over {HANG:g} s")
            self._source.idle(PATIENCE)
        self._pending.result()
        self._settled(asynchronous=True)

    def _settled(self, *, asynchronous: bool) -> None:
        flight, self._in_flight = self._in_flight, None
        if flight is None:
            return
        if self._worker.delivery is Delivery.AT_LEAST_ONCE:
            self._source.commit(flight.polled, asynchronous=asynchronous)
        times = replace(flight.times, published=self._pending.finished)
        self._pace.settled(len(flight.polled.batch), times.stages)
        self._reporter.settled(flight.polled.batch)
        later = self._outgoing.later(flight.outcomes)
        decided = self._journal.committed(flight.outcomes, later)
        self._recorder.settled(flight.outcomes, later, decided, times, flight.steps)
        if self._shadow is not None and flight.shadow:
            self._shadow.offer(flight.outcomes)
        self._caution.passed(
            flight.polled.batch, self._source.assigned - self._source.stopped.keys()
        )
        self._attempts = 1

    def _before_revoke(self) -> None:
        """Give partitions away with their work committed, if that takes no longer than a moment.

        Called inside poll: never raises. A publish that fails is taken up by the next settle.
        """
        if self._pending.wait(self._budget()) and self._pending.succeeded:
            self._pending.result()
            self._settled(asynchronous=False)

    def _budget(self) -> float:
        """Seconds that may be waited for a publish: once stopping, what is left of them."""
        if not self._stopping:
            return self._worker.drain_timeout
        now = self._clock.monotonic()
        if self._stop_by is None:
            self._stop_by = now + self._worker.drain_timeout
        return max(0.0, self._stop_by - now)

    def _recover(self, unwell: Retry) -> None:
        """Nothing of the batch is committed, or that is not known: new producer, then rewind."""
        self._journal.counts.recoveries += 1
        self._attempts += 1
        self._unwell(unwell)
        flight, cause = self._abandon(unwell)
        self._recorder.recovering(unwell)
        if flight is not None:
            self._recorder.failed(flight.outcomes, flight.times, unwell)
        began = self._clock.monotonic()
        for wait in self._waits(at_once=isinstance(unwell, Moved | Refused | TopicRefused)):
            self._idle(wait)
            if self._stopping:
                return
            try:
                self._publisher.renew()
                self._source.rewind()
                self._breaker.rewound()
                if self._order is not None:
                    self._order.rewound()
                break
            except Retry as again:
                self._unwell(again)
        self._reporter.well()
        self._journal.info(Event.RECOVERED, seconds=round(self._clock.monotonic() - began, 3))
        if flight is not None and cause is not None:
            self._blame(cause, flight)

    def _unwell(self, unwell: Retry) -> None:
        self._journal.warn(Event.UNWELL, why=str(unwell))
        self._reporter.unwell(str(unwell))

    def _idle(self, seconds: float) -> None:
        """Wait, in the group, until it is time or the worker is to stop."""
        until = self._clock.monotonic() + seconds
        while True:
            self._source.idle(min(PATIENCE, max(0.0, until - self._clock.monotonic())))
            if self._stopping or self._clock.monotonic() >= until:
                return

    def _wait(self, seconds: float) -> bool:
        """Wait, in the group; is there still something to do then?"""
        self._idle(seconds)
        return not self._stopping

    def _abandon(self, unwell: Retry) -> tuple[_InFlight | None, Retry | None]:
        """Get the publisher's thread out of the way; the batch that failed with it, and its error.

        Raises:
            Halt: the publish under way ended so.
        """
        cause: Retry | None = unwell
        if self._pending.busy:
            # The failure is not the publish's, which may still go either way.
            cause = None
            self._pending.abandon()
            while not self._pending.wait(PATIENCE) and not self._pending.hangs and self._budget():
                self._source.idle(PATIENCE)
            if self._pending.succeeded:
                self._settled(asynchronous=False)
            elif self._pending.wait(0):
                try:
                    self._pending.result()
                except Retry as error:
                    cause = error
        flight, self._in_flight = self._in_flight, None
        self._pending = Pending(self._publisher, self._clock)
        return flight, cause

    def _blame(self, unwell: Retry, flight: _InFlight) -> None:
        """Find the record that is refused, or stop the partitions that need a refused topic."""
        if isinstance(unwell, TopicRefused):
            for partition in self._needing(unwell.topic, flight.outcomes):
                self._source.stop(partition, str(unwell))
        elif isinstance(unwell, Refused):
            batch = flight.polled.batch
            if len(batch) > 1:
                self._journal.warn(Event.NARROWED, records=len(batch), why=str(unwell))
            elif flight.outcomes.rejected:
                why = f"the dead letter of offset {batch.offsets[0]} is refused: {unwell}"
                self._source.stop(batch.partitions[0], why)
                self._caution.end()
                return
            else:
                reject = Reject(Code.REFUSED_BY_BROKER, str(unwell))
                self._caution.refused[batch.partitions[0], batch.offsets[0]] = reject
            self._caution.narrow(batch)

    def _needing(self, topic: str, outcomes: Outcomes) -> set[int]:
        """Our partitions with a row that goes to `topic`; all of the batch's if it is unknown."""
        rows: set[int] = set(range(len(outcomes.batch)))
        if topic == self._worker.dead_letter.topic:
            rows = set(outcomes.rejected)
        elif (later := self._worker.retry_topic) is not None and topic == later.topic:
            rows = set(self._outgoing.later(outcomes))
        elif topic == self._worker.output.topic:
            rows = set(outcomes.enriched)
        return {outcomes.batch.partitions[row] for row in rows} & self._source.assigned

    def _waits(self, *, at_once: bool) -> Iterator[float]:
        """Seconds to wait before each try: doubled up to the maximum, with jitter."""
        retry = self._worker.retry
        if at_once:
            yield 0.0
        wait = retry.initial
        while True:
            yield wait * random.uniform(0.5, 1.0)  # noqa: S311  jitter, not a secret
            wait = min(wait * 2, retry.max)

    def _start(self) -> None:
        """Producer first: what its last life left open is ended before anything is read."""
        for wait in self._waits(at_once=True):
            self._idle(wait)
            if self._stopping:
                return
            try:
                self._publisher.renew()
                self._source.open()
                break
            except Retry as unwell:
                self._unwell(unwell)
        self._reporter.well()
        self._journal.info(Event.STARTED, group=self._worker.group, topic=self._worker.input.topic)

    def _drain(self) -> None:
        """Commit what is under way, within the budget; what is not committed is read again."""
        self._journal.info(Event.STOPPING)
        if self._pending.wait(self._budget()):
            try:
                self._pending.result()
            except Retry as unwell:
                self._journal.warn(Event.UNWELL, why=str(unwell))
            else:
                self._settled(asynchronous=False)
                self._source.finish(self._budget())
                self._journal.info(Event.DRAINED, **self._journal.totals())
                return
        self._journal.warn(Event.DRAIN_ABANDONED, **self._journal.totals())
