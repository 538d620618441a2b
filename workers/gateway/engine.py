"""Micro-batches: what came in while the batch before was scored is scored together.

Under load the thread that scores rests for as long as a batch took: a batch costs much and a row
little, and the requests that come meanwhile are read by a thread that needs the interpreter too.
One thread scores for a worker, for boosters share state inside (LightGBM #6142). A second one makes
fallback decisions for requests whose time is over while the first is busy: it never asks the model.
All other state belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from workers.enrich.batch import Batch, Outcomes
from workers.enrich.policy import Effort
from workers.errors import Halt
from workers.gateway.answers import Decided
from workers.gateway.problems import Kind, Problem, of_rejection
from workers.stream.clock import Clock
from workers.stream.pace import LineState
from workers.topology.gateway import QueueSettings

TOPIC = "@http"
"""Stands for the topic in decision ids; no topic can have this name."""
WITHOUT_MODEL = Effort(model=False, reasons=False)
REST = 0.005
"""Seconds of rest at most."""
Row = Decided | Problem
Enrich = Callable[[Batch, Effort], Outcomes]
Settled = Callable[[Outcomes, Collection[int], float], None]
"""Told of a batch in the loop's thread: its outcomes, the rows of it that another decision was
there for already, and the seconds that it took."""


@dataclass(slots=True, eq=False)
class JobState:
    """The events of one request on their way through a worker.

    `number` and one of `places` make an event's decision id; by `score_by` it must be scored.
    """

    values: list[bytes]
    keys: list[bytes | None]
    places: list[int]
    number: int
    reasons: bool
    score_by: float
    future: asyncio.Future[list[Row]]
    timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self.values)


@dataclass(slots=True)
class _Lane:
    """A thread with a queue of jobs; it rests `rest` seconds at most after one batch of several."""

    work: Callable[[list[JobState]], None]
    most: int
    linger: float
    rest: float
    waiting: deque[JobState] = field(default_factory=deque)
    signal: threading.Condition = field(default_factory=threading.Condition)
    closed: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    def start(self, name: str) -> threading.Thread:
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        thread.start()
        return thread

    def put(self, jobs: Sequence[JobState]) -> None:
        with self.signal:
            self.waiting.extend(jobs)
            self.signal.notify()

    def close(self) -> None:
        with self.signal:
            self.closed = True
            self.signal.notify()
        self.ended.set()

    def _run(self) -> None:
        while (jobs := self._take()) is not None:
            began = time.monotonic()
            self.work(jobs)
            if len(jobs) > 1 and self.rest:
                self.ended.wait(min(time.monotonic() - began, self.rest))

    def _take(self) -> list[JobState] | None:
        """What waits, whole requests, at most `most` events unless one has more."""
        with self.signal:
            self.signal.wait_for(lambda: self.waiting or self.closed)
            if self.linger and not self.closed:
                self.signal.wait_for(lambda: len(self.waiting) >= self.most, self.linger)
            if not self.waiting:
                return None
            jobs, rows = [self.waiting.popleft()], 0
            while self.waiting and rows + len(self.waiting[0]) < self.most:
                jobs.append(self.waiting.popleft())
                rows += len(jobs[-1])
            return jobs


class Engine:
    """Scores the events of requests for one worker."""

    def __init__(  # noqa: PLR0913  every part is given, by keyword
        self,
        *,
        enrich: Enrich,
        before: Callable[[], None],
        after: Callable[[Outcomes], None],
        decided: Callable[[Sequence[tuple[bytes, ...]]], list[Decided]],
        settled: Settled,
        settings: QueueSettings,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """`before` is called before each batch, to take newer models and contracts; `after` with
        the outcomes of what the model was asked; `decided` makes answers of decision records.
        """
        self._enrich = enrich
        self._before = before
        self._after = after
        self._decided = decided
        self._settled = settled
        self._settings = settings
        self._clock = clock
        self._loop = loop
        self._line = LineState()
        self._changing = threading.Lock()
        linger = settings.linger or 0.0
        self._scoring = _Lane(self._score, settings.batch, linger, REST)
        self._fallback = _Lane(self._fall_back, settings.batch, 0.0, 0.0)
        self._threads: list[threading.Thread] = []
        self._coming: list[JobState] = []
        self.held = 0
        """Events that wait or are being scored."""
        self.stopped: str | None = None
        """Why nothing is decided any more."""
        self.batches = 0
        self.events = 0
        self.degraded = 0

    def start(self) -> None:
        """Begin."""
        self._threads = [self._scoring.start("scoring"), self._fallback.start("fallback")]

    def close(self, seconds: float) -> None:
        """End both threads; one that is busy is left behind after so long."""
        for lane in (self._scoring, self._fallback):
            lane.close()
        for thread in self._threads:
            thread.join(seconds)

    def submit(self, job: JobState) -> asyncio.Future[list[Row]]:
        """An outcome for each event, in their order.

        Raises:
            Problem: too much waits already, or the worker has stopped.
        """
        if self.stopped is not None:
            raise Problem(Kind.STOPPED, self.stopped, retry_after=30)
        if self.held + len(job) > self._settings.events:
            wait = self._line.of(self.held)
            raise Problem(
                Kind.OVERLOADED, f"{self.held} events wait already", retry_after=max(1.0, wait)
            )
        self.held += len(job)
        if job.score_by <= self._loop.time():
            self._fallback.put([job])
            return job.future
        job.timer = self._loop.call_at(job.score_by, self._give_up, job)
        # What comes in one round of the loop is handed over at once: each time costs the loop a
        # lock that the other thread may hold.
        if not self._coming:
            self._loop.call_soon(self._hand_over)
        self._coming.append(job)
        return job.future

    def _hand_over(self) -> None:
        coming, self._coming = self._coming, []
        self._scoring.put(coming)

    def _give_up(self, job: JobState) -> None:
        if not job.future.done():
            self._fallback.put([job])

    # In the scoring thread.

    def _score(self, jobs: list[JobState]) -> None:
        with self._changing:
            # No fallback is made meanwhile: it would see half of the change.
            self._before()
        jobs = [job for job in jobs if not job.future.done()]
        rows = sum(map(len, jobs))
        began = self._clock.monotonic()
        takes = self._line.of(rows)
        late = [job for job in jobs if job.score_by - began < takes]
        if late:
            self._run(late, WITHOUT_MODEL)
        timely = [job for job in jobs if job.score_by - began >= takes]
        if not timely:
            self._line.hope()
            return
        for reasons in (False, True):
            if some := [job for job in timely if job.reasons is reasons]:
                self._run(some, Effort(reasons=reasons))
        self._line.learn(sum(map(len, timely)), self._clock.monotonic() - began)

    def _run(self, jobs: list[JobState], effort: Effort) -> None:
        began = self._clock.monotonic()
        try:
            outcomes = self._enrich(self._batch(jobs), effort)
            rows = _rows(outcomes, self._decided)
        except Halt as halt:
            self._tell(self._stop, jobs, str(halt))
        except Exception as error:  # noqa: BLE001  a dead thread would let every request wait
            self._tell(self._fail, jobs, type(error).__name__)
        else:
            took = self._clock.monotonic() - began
            self._tell(self._settle, jobs, rows, outcomes, took)
            if effort.model:
                self._after(outcomes)

    def _batch(self, jobs: list[JobState]) -> Batch:
        now = self._clock.now()
        values = [value for job in jobs for value in job.values]
        count = len(values)
        return Batch(
            TOPIC,
            now,
            [key for job in jobs for key in job.keys],
            [*values],
            [None] * count,
            [place for job in jobs for place in job.places],
            [job.number for job in jobs for _ in job.values],
            [(1, now)] * count,
        )

    # In the fallback thread.

    def _fall_back(self, jobs: list[JobState]) -> None:
        with self._changing:
            self._run([job for job in jobs if not job.future.done()], WITHOUT_MODEL)

    def _tell(self, method: Callable[..., None], *parts: object) -> None:
        # The loop is closed when the process has ended its last request.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(method, *parts)

    # In the loop's thread.

    def _settle(
        self, jobs: list[JobState], rows: list[Row], outcomes: Outcomes, took: float
    ) -> None:
        self.batches += 1
        at, late = 0, list[int]()
        for job in jobs:
            mine = rows[at : at + len(job)]
            at += len(job)
            if self._ended(job):
                self.events += len(job)
                self.degraded += sum(isinstance(r, Decided) and r.cause is not None for r in mine)
                job.future.set_result(mine)
            else:
                late += range(at - len(job), at)
        self._settled(outcomes, late, took)

    def _stop(self, jobs: list[JobState], why: str) -> None:
        self.stopped = why
        for job in jobs:
            if self._ended(job):
                job.future.set_exception(Problem(Kind.STOPPED, why, retry_after=30))

    def _fail(self, jobs: list[JobState], why: str) -> None:
        for job in jobs:
            if self._ended(job):
                job.future.set_exception(Problem(Kind.BUG, f"scoring raised {why}"))

    def _ended(self, job: JobState) -> bool:
        """Was it this that ended the job? The first of a decision and a fallback counts."""
        if job.future.done():
            return False
        self.held -= len(job)
        if job.timer is not None:
            job.timer.cancel()
        return True

    def abandoned(self, job: JobState) -> None:
        """Nobody waits for it any more."""
        if self._ended(job):
            job.future.cancel()


def _rows(
    outcomes: Outcomes, decided: Callable[[Sequence[tuple[bytes, ...]]], list[Decided]]
) -> list[Row]:
    """What became of each event, in the order of the batch."""
    found: list[Row | None] = [None] * len(outcomes.batch)
    places = sorted(outcomes.decisions)
    for place, each in zip(places, decided([outcomes.decisions[p] for p in places]), strict=True):
        found[place] = each
    unknown = {row for rows in outcomes.unknown.values() for row in rows}
    for row, rejection in outcomes.rejected.items():
        if row in unknown:
            found[row] = Problem(Kind.SCHEMA_PENDING, str(rejection.reject), retry_after=1)
        else:
            found[row] = of_rejection(rejection)
    for row in outcomes.dropped:
        found[row] = Problem(Kind.REJECTED, "a declared policy drops it")
    rows = [row for row in found if row is not None]
    if len(rows) != len(found):
        raise AssertionError(f"{len(found)} events in, {len(rows)} outcomes")
    return rows
