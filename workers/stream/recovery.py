"""Getting well: a new producer, and every partition back at what the broker says is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from workers.errors import Retry
from workers.stream.blame import Blame
from workers.stream.clock import Clock, jittered
from workers.stream.failures import Moved, Refused, TopicRefused
from workers.stream.flight import InFlight
from workers.stream.holds import Holds
from workers.stream.journal import Event, Journal
from workers.stream.publish import Publisher
from workers.stream.recorder import Recorder
from workers.stream.reporting import Reporter
from workers.stream.source import Source
from workers.stream.stopping import Stopping
from workers.topology import Worker

Abandoned = tuple[InFlight | None, Retry | None]
"""A batch whose publish failed, and with what: None where it is not the publish that did."""


class Recovery:
    """What a loop does at its start and after a failure, until it is well or is to stop."""

    def __init__(  # noqa: PLR0913  every part is given, by keyword
        self,
        *,
        worker: Worker,
        source: Source,
        publisher: Publisher,
        holds: Holds,
        blame: Blame,
        stopping: Stopping,
        clock: Clock,
        journal: Journal,
        reporter: Reporter,
        recorder: Recorder,
    ) -> None:
        """Nothing is done before `open`."""
        self._worker = worker
        self._source = source
        self._publisher = publisher
        self._holds = holds
        self._blame = blame
        self._stopping = stopping
        self._clock = clock
        self._journal = journal
        self._reporter = reporter
        self._recorder = recorder

    def open(self) -> None:
        """Producer first: what its last life left open is ended before anything is read.

        Raises:
            Halt: it cannot work.
        """
        if self._until_well(self._source.open, at_once=True):
            worker = self._worker
            self._reporter.well()
            self._journal.info(Event.STARTED, group=worker.group, topic=worker.input.topic)

    def recover(self, unwell: Retry, abandon: Callable[[Retry], Abandoned]) -> None:
        """Nothing of the batch is committed, or that is not known: new producer, then rewind.

        `abandon` ends what is under way; it gives the batch that failed with it, and the error.

        Raises:
            Halt: it cannot work; or the publish under way ended so.
        """
        self._journal.counts.recoveries += 1
        self._unwell(unwell)
        flight, cause = abandon(unwell)
        self._recorder.recovering(unwell)
        if flight is not None:
            self._recorder.failed(flight.outcomes, flight.times, unwell)
        began = self._clock.monotonic()
        if not self._until_well(
            self._rewind, at_once=isinstance(unwell, Moved | Refused | TopicRefused)
        ):
            return
        self._reporter.well()
        self._journal.info(Event.RECOVERED, seconds=round(self._clock.monotonic() - began, 3))
        if flight is not None and cause is not None:
            self._blame(cause, flight.outcomes)

    def _unwell(self, unwell: Retry) -> None:
        self._journal.warn(Event.UNWELL, why=str(unwell))
        self._reporter.unwell(str(unwell))

    def _rewind(self) -> None:
        self._source.rewind()
        self._holds.rewound()

    def _until_well(self, then: Callable[[], None], *, at_once: bool) -> bool:
        """A new producer and what comes then, tried until it succeeds; False: it is to stop."""
        for wait in self._waits(at_once=at_once):
            if not self._stopping.wait(wait):
                break
            try:
                self._publisher.renew()
                then()
            except Retry as unwell:
                self._unwell(unwell)
            else:
                return True
        return False

    def _waits(self, *, at_once: bool) -> Iterator[float]:
        """Seconds to wait before each try: doubled up to the maximum, with jitter."""
        retry = self._worker.retry
        if at_once:
            yield 0.0
        wait = retry.initial
        while True:
            yield jittered(wait)
            wait = min(wait * 2, retry.max)
