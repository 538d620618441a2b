"""The shadow of one worker: a thread that has the challenger score what the champion scored.

The worker's loop knows only `offer`, which puts a reference into a bounded queue and returns. The
challenger's model is never in the worker's process: what it does there, hang, crash or lie, costs
the thread a deadline and the process its life.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from workers.errors import WorkersError
from workers.models.shadow.challenger import Challenger
from workers.models.shadow.comparison import (
    Publisher,
    Recorder,
    count,
    failed,
)
from workers.models.shadow.counts import CountsState, Fault, Note, ShadowEvent, Skip
from workers.models.shadow.offer import Asked, Offer, joined
from workers.models.shadow.process import COMMAND, ChildFailed, Closing
from workers.models.shadow.runner import RunState
from workers.topology.shadow import ShadowTopic

THREAD = "shadow"
CLOSE_SECONDS = 1.0
GATHER_SECONDS = 0.2
GATHER_ROWS = 4000
TRY_AGAIN = 60.0
"""Seconds until a refused version is proven once more: its files may have been on their way."""


class Shadow:
    """Never blocks and never raises to whoever offers; owns its thread and its one process."""

    def __init__(  # noqa: PLR0913  every part is given, by keyword
        self,
        *,
        settings: ShadowTopic,
        champion: str,
        find: Callable[[], str | None],
        prove: Callable[[str], Challenger],
        recorder: Recorder,
        publisher: Publisher,
        counts: CountsState,
        note: Note,
        poll: float,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Nothing runs before `start`.

        `find` says which version is the challenger, `prove` makes it one, or raises a
        WorkersError; both are called from the thread, `find` every `poll` seconds. `command`
        starts the challenger's process.
        """
        self._settings = settings
        self._champion = champion
        self._find = find
        self._prove = prove
        self._recorder = recorder
        self._publisher = publisher
        self.counts = counts
        self._note = note
        self._poll = poll
        self._command = command
        self._idle: Skip | None = Skip.NO_CHALLENGER
        self._columns: pa.Schema | None = None
        self._version: str | None = None
        self._run_state: RunState | None = None
        self._refused: str | None = None
        self._look_at = self._prove_at = 0.0
        # Rows: the loop's thread counts what it puts, the shadow's what is done; no lock is needed.
        self._put = self._taken = 0
        self._held: Offer | None = None
        self._offers: queue.SimpleQueue[Offer | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)

    @property
    def fields(self) -> frozenset[str]:
        """Fields that the challenger's features read."""
        run = self._run_state
        return frozenset() if run is None else frozenset(run.challenger.columns)

    @property
    def comparing(self) -> str | None:
        """The version that rows are given to now; None while there is none."""
        run = self._run_state
        return None if run is None or self._idle is not None else run.challenger.version

    @property
    def child(self) -> int | None:
        """Id of the challenger's process."""
        run = self._run_state
        return None if run is None or run.child is None else run.child.pid

    def start(self) -> None:
        """Look for a challenger from now on."""
        self._thread.start()

    def offer(self, offer: Offer) -> None:
        """Have the challenger score these rows too, if there is room. Returns at once."""
        self._champion, self._columns = offer.champion, offer.table.schema
        skip = self._idle
        if skip is None and self._put - self._taken >= self._settings.queue:
            skip = Skip.BUSY
        if skip is None:
            self._put += offer.size
            self._offers.put(offer)
        else:
            self.counts.turned_away[skip] += offer.size

    def close(self) -> None:
        """End thread and process; a challenger that is being proven is left behind."""
        self._closing.set()
        self._offers.put(None)
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            # What `top -H` shows: what a shadow costs its worker can be seen.
            Path("/proc/thread-self/comm").write_text(THREAD)
        try:
            while not self._closing.is_set():
                try:
                    self._turn()
                except Closing:
                    break
                except Exception as error:  # noqa: BLE001  a dead thread would count nothing
                    self._failed(ChildFailed(Fault.INTERNAL, type(error).__name__))
        finally:
            self._idle = Skip.CLOSED
            self._drop(Skip.CLOSED)
            if self._run_state is not None:
                self._run_state.end()
            self._publisher.close()

    def _turn(self) -> None:
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + self._poll
            self._look()
        self._begin()
        if found := self._gather():
            try:
                self._take(found)
            finally:
                self._taken += sum(offer.size for offer in found)

    def _gather(self) -> list[Offer]:
        """What is to be one question: a question costs, however few its rows."""
        first, self._held = self._held or self._next(self._pause()), None
        if first is None:
            return []
        found, rows, until = [first], first.size, time.monotonic() + GATHER_SECONDS
        while rows < GATHER_ROWS and (offer := self._next(until - time.monotonic())) is not None:
            if not offer.joins(first):
                self._held = offer
                break
            found.append(offer)
            rows += offer.size
        return found

    def _next(self, seconds: float) -> Offer | None:
        """What was offered next; None after so long, or when it is time to close."""
        with contextlib.suppress(queue.Empty):
            return self._offers.get(timeout=max(0.0, seconds))
        return None

    def _pause(self) -> float:
        until, run = self._look_at, self._run_state
        if run is not None and run.starts_at is not None:
            until = min(until, run.starts_at)
        return max(0.0, until - time.monotonic())

    def _look(self) -> None:
        """Follow the alias. A store that cannot be read changes nothing: the follower says so."""
        try:
            found = self._find()
        except Exception:  # noqa: BLE001  a dead thread would follow nothing
            return
        wanted = None if found == self._champion else found
        if wanted != self._version:
            self._retire()
            self._version, self._refused, self._prove_at = wanted, None, 0.0
        if wanted is None:
            self._idle = Skip.NO_CHALLENGER
        elif self._run_state is None:
            self._load(wanted)
        elif self._idle is Skip.UNFIT:
            self._fit(self._run_state)

    def _load(self, version: str) -> None:
        """Prove it; what is refused is tried again after a while."""
        if time.monotonic() < self._prove_at:
            return
        self._prove_at = time.monotonic() + TRY_AGAIN
        self._idle = Skip.STARTING
        try:
            proven = self._prove(version)
        except WorkersError as error:
            self._refuse(version, str(error))
        except Exception as error:  # noqa: BLE001  as above
            self._refuse(version, type(error).__name__)
        else:
            self._run_state = RunState(proven, self._command, self._closing)

    def _refuse(self, version: str, why: str) -> None:
        self._idle = Skip.REFUSED
        if version != self._refused:
            self._tell(ShadowEvent.REFUSED, version=version, why=why)
        self._refused = version

    def _fit(self, run: RunState) -> None:
        """The champion may have got other columns by now."""
        if self._columns is not None and not run.challenger.misfit(self._columns):
            self._idle = Skip.STARTING if run.child is None else None

    def _begin(self) -> None:
        """Start the process where there should be one and it is time."""
        run = self._run_state
        if run is None or run.starts_at is None or time.monotonic() < run.starts_at:
            return
        try:
            run.start()
        except ChildFailed as failure:
            self._failed(failure)
        else:
            self._idle = None
            self._tell(ShadowEvent.STARTED, version=run.challenger.version)

    def _take(self, offers: Sequence[Offer]) -> None:
        """Each of them `joins` the first."""
        run, offer, size = self._run_state, offers[0], sum(each.size for each in offers)
        if run is None or run.child is None:
            self._pass_over(self._idle or Skip.STARTING, size)
        elif offer.champion == run.challenger.version:
            self._pass_over(Skip.NO_CHALLENGER, size)
            # It was promoted: the next look ends it.
            self._look_at = 0.0
        elif why := run.challenger.misfit(offer.table.schema):
            self._pass_over(Skip.UNFIT, size)
            if self._idle is not Skip.UNFIT:
                self._tell(ShadowEvent.UNFIT, version=run.challenger.version, why=why)
            self._idle = Skip.UNFIT
        else:
            asked = joined([each.asked(self._settings.share) for each in offers])
            self._pass_over(Skip.SHARE, size - len(asked))
            if len(asked):
                self._compare(asked, run)

    def _compare(self, asked: Asked, run: RunState) -> None:
        failure: ChildFailed | None = None
        try:
            made = run.score(asked.table, self._settings.timeout)
        except ChildFailed as error:
            failure, made = error, failed(error.fault, len(asked))
        except Closing:
            self._pass_over(Skip.CLOSED, len(asked))
            raise
        count(self.counts, asked, made)
        self._publisher.publish(self._recorder.records(asked, run.challenger, made))
        if failure is not None:
            self._failed(failure)

    def _failed(self, failure: ChildFailed) -> None:
        """End the process; start another after a while, or never."""
        run = self._run_state
        if run is None:
            return
        wait = run.fail()
        self.counts.restarts += 1
        said = {
            "version": run.challenger.version,
            "cause": failure.fault.value,
            "why": str(failure),
        }
        if run.gave_up:
            self._idle = Skip.GAVE_UP
            self._tell(ShadowEvent.GAVE_UP, **said, in_a_row=run.failures)
        else:
            self._idle = Skip.STARTING
            self._tell(ShadowEvent.FAILED, **said, again_in_seconds=wait)
        self._drop(self._idle)

    def _retire(self) -> None:
        run, self._run_state = self._run_state, None
        if run is not None:
            run.end()
            self._tell(ShadowEvent.ENDED, version=run.challenger.version)

    def _pass_over(self, why: Skip, rows: int) -> None:
        self.counts.passed_over[why] += rows

    def _drop(self, why: Skip) -> None:
        """What waits is not compared."""
        waiting, self._held = [self._held], None
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.append(self._offers.get_nowait())
        rows = sum(offer.size for offer in waiting if offer is not None)
        self._taken += rows
        self._pass_over(why, rows)

    def _tell(self, event: ShadowEvent, **fields: object) -> None:
        # A listener that fails must not end the thread.
        with contextlib.suppress(Exception):
            self._note(event, fields)
