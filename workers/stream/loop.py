"""The loop: poll, enrich, publish; the next batch is scored while the last one is committed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from workers.enrich.batch import Batch, Outcomes
from workers.enrich.policy import Effort
from workers.errors import Retry
from workers.stream.blame import Blame
from workers.stream.caution import CautionState
from workers.stream.clock import Clock
from workers.stream.failures import Moved
from workers.stream.flight import InFlight
from workers.stream.holds import Holds
from workers.stream.journal import Event, Journal
from workers.stream.outgoing import Outgoing, held_to_size
from workers.stream.pace import PaceState
from workers.stream.pending import HANG, Pending
from workers.stream.publish import Failpoint, Publisher, nowhere
from workers.stream.recorder import Recorder
from workers.stream.recovery import Abandoned, Recovery
from workers.stream.reporting import Reporter
from workers.stream.retries import AtOnce
from workers.stream.shadowing import Shadowing
from workers.stream.slot import Slot
from workers.stream.snapshot import Phase
from workers.stream.source import Polled, Source
from workers.stream.stopping import PATIENCE, Stopping
from workers.stream.times import Times
from workers.stream.work import Work
from workers.topology import Delivery, Worker

IDLE = 0.05
"""Seconds between two looks whether all dead letters of before are read."""


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
        holds: Holds,
        slot: Slot,
        outgoing: Outgoing,
        clock: Clock,
        journal: Journal,
        reporter: Reporter,
        recorder: Recorder,
        shadow: Shadowing | None = None,
        at: Failpoint = nowhere,
    ) -> None:
        """All parts are given; `wiring` makes them."""
        self._worker = worker
        self._source = source
        self._publisher = publisher
        self._holds = holds
        self._slot = slot
        self._outgoing = outgoing
        self._clock = clock
        self._journal = journal
        self._reporter = reporter
        self._recorder = recorder
        self._shadow = shadow
        self._at = at
        self._stopping = Stopping(source, clock, worker.drain_timeout)
        counts, largest = journal.counts, worker.batch.max_records
        self._enrich = AtOnce(worker.retries, enrich, self._stopping.wait, counts.tried)
        self._pending = Pending(publisher, clock)
        self._in_flight: InFlight | None = None
        self._caution = CautionState(largest, largest)
        self._pace = PaceState(worker.latency, largest, counts.given_up, counts.breaches)
        self._attempts = 1
        self._recovery = Recovery(
            worker=worker,
            source=source,
            publisher=publisher,
            holds=holds,
            blame=Blame(worker, source, outgoing, self._caution, journal),
            stopping=self._stopping,
            clock=clock,
            journal=journal,
            reporter=reporter,
            recorder=recorder,
        )
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
        self._stopping.ask()

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
            self._recovery.open()
            self._reporter.phase(Phase.RUNNING)
            with suppress(_Drain):
                while not self._stopping.asked:
                    self.run_once()
            self._reporter.phase(Phase.DRAINING)
            self._drain()
        finally:
            self._reporter.phase(Phase.STOPPED)
            self._pending.abandon()
            if self._shadow is not None:
                self._shadow.close()
            self._slot.close()
            self._holds.schemas.close()
            self._source.close()
            self._recorder.close()
            if self._holds.order is not None:
                self._holds.order.close()

    def run_once(self) -> None:
        """One batch: its offsets move only after the broker holds every outcome of it."""
        try:
            self._take()
            polled, times = self._poll()
            flight = self._enriched(polled, times)
            self._settle()
            self._publish(flight)
            self._journal.progress()
        except Retry as unwell:
            self._attempts += 1
            self._recovery.recover(unwell, self._abandon)

    def _take(self) -> None:
        """Go on with what is new: models, contracts, partitions that need not be held any more."""
        self._slot.take()
        self._holds.release()

    def _poll(self) -> tuple[Polled, Times]:
        """A batch with the rows that may be scored now, once all is known that it depends on."""
        began = self._clock.monotonic()
        polled = self._source.poll(min(self._caution.limit, self._pace.limit))
        self._at("polled")
        polled = replace(polled, batch=self._holds.due(polled.batch))
        self._wait_for_letters(polled)
        waited = self._clock.monotonic()
        times = Times(began, waited, waited)
        self._recorder.polled(len(polled.batch), times)
        return polled, times

    def _wait_for_letters(self, polled: Polled) -> None:
        """Where the order of keys is kept, every failure before this batch must be known.

        Raises:
            Retry: the broker does not answer, or partitions moved meanwhile.
        """
        while len(polled.batch) and not self._holds.current(polled.epoch):
            if self._stopping.asked:
                raise _Drain
            self._source.idle(IDLE)
            if not self._source.owns(polled):
                raise Moved("partitions moved while dead letters were being read")

    def _enriched(self, polled: Polled, times: Times) -> InFlight:
        """The batch with its outcomes, in the time there is; without rows that are held back."""
        plan = self._pace.plan(len(polled.batch))
        effort = replace(plan.effort, clock=self._clock.monotonic)
        outcomes = self._holds.outcomes(
            polled.batch, lambda batch: self._enrich(batch, effort), self._judged
        )
        polled = replace(polled, batch=outcomes.batch)
        times = replace(times, scored=self._clock.monotonic())
        self._pace.scored(len(polled.batch), plan, times.scored - times.polled)
        return InFlight(polled, outcomes, times, self._recorder.steps(), plan.shadow)

    def _judged(self, outcomes: Outcomes) -> Outcomes:
        """The outcomes, with rejections for what only the broker refuses."""
        outcomes = held_to_size(outcomes, self._worker.output.max_message_bytes)
        return self._caution.apply(outcomes)

    def _publish(self, flight: InFlight) -> None:
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
        self._holds.published(outcomes)
        self._pending.start(Work(records, count, polled.offsets, polled.metadata))

    def _settle(self) -> None:
        """Wait for the batch before, and take note of it."""
        if not self._pending.busy:
            return
        while not self._pending.wait(PATIENCE):
            if self._stopping.asked:
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
        self._journal.committed(flight.outcomes, later)
        self._recorder.settled(flight.outcomes, later, times, flight.steps)
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
        if self._pending.wait(self._stopping.budget()) and self._pending.succeeded:
            self._pending.result()
            self._settled(asynchronous=False)

    def _abandon(self, unwell: Retry) -> Abandoned:
        """Get the publisher's thread out of the way; the batch that failed with it, and its error.

        Raises:
            Halt: the publish under way ended so.
        """
        cause: Retry | None = unwell
        if self._pending.busy:
            # The failure is not the publish's, which may still go either way.
            cause, budget = None, self._stopping.budget
            self._pending.abandon()
            while not self._pending.wait(PATIENCE) and not self._pending.hangs and budget():
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

    def _drain(self) -> None:
        """Commit what is under way, within the budget; what is not committed is read again."""
        self._journal.info(Event.STOPPING)
        if self._pending.wait(self._stopping.budget()):
            try:
                self._pending.result()
            except Retry as unwell:
                self._journal.warn(Event.UNWELL, why=str(unwell))
            else:
                self._settled(asynchronous=False)
                self._source.finish(self._stopping.budget())
                self._journal.info(Event.DRAINED, **self._journal.totals())
                return
        self._journal.warn(Event.DRAIN_ABANDONED, **self._journal.totals())
