"""The decisions topic as the gateway writes it: acknowledged, and what is done while it is down.

One idempotent producer. A thread polls it; all state belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from confluent_kafka import KafkaError, Message, Producer

from workers.errors import WorkersError
from workers.gateway.notes import GatewayEvent, Say
from workers.gateway.replay import Replay
from workers.gateway.spill import Spill, Spilled, SpillFull, read_segment
from workers.stream.clients import Config
from workers.stream.clock import Clock
from workers.stream.failures import Meaning, meaning
from workers.telemetry.gateway import LOG_DURATION
from workers.telemetry.tally import Tally

SLICE = 0.1
SWEEP = 0.1


class LogDown(Exception):  # noqa: N818  what the log is
    """These records are not known to be kept."""


class Probe(Protocol):
    """Is there a broker that has the topics? Raises a Retry or Halt where not."""

    def __call__(self) -> None:
        """Ask."""


class _Entry:
    """Records of one request on their way; called by the client for each that is delivered."""

    __slots__ = ("began", "error", "future", "left", "log", "records")

    def __init__(
        self, log: DecisionLog, records: Sequence[Spilled], future: asyncio.Future[None], at: float
    ) -> None:
        self.log: DecisionLog | None = log
        self.records = records
        self.future = future
        self.began = at
        self.left = len(records)
        self.error: KafkaError | None = None

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        log = self.log
        if log is None:
            # It was taken from the producer that reports now.
            return
        if error is not None:
            self.error = error
        else:
            log.delivered(message)
        self.left -= 1
        if not self.left:
            log.ended.append(self)


class DecisionLog:
    """Writes decisions. With a spill they go to disk while the topic is down, else are refused."""

    def __init__(  # noqa: PLR0913  every part is given, by keyword
        self,
        *,
        config: Config,
        timeout: float,
        retry: float,
        probe: Probe,
        spill: Spill | None,
        replay: Replay,
        offsets: dict[tuple[str, int], int],
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        say: Say,
    ) -> None:
        """`offsets`: ends of the topics' partitions as they were before anything was written."""
        self._config = config
        self._timeout = timeout
        self._retry = retry
        self._probe = probe
        self._spill = spill
        self._replay = replay
        self._offsets = offsets
        self._clock = clock
        self._loop = loop
        self._say = say
        self._producer: Producer | None = Producer(config)
        self._flying: dict[_Entry, None] = {}
        # Queues between threads: one end each.
        self._to_disk: deque[_Entry] = deque()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._threads: list[threading.Thread] = []
        self.ended: deque[_Entry] = deque()
        self.down: str | None = None
        """Why the topic cannot be written, while it cannot."""
        self.acknowledged = 0
        self.spilled = 0
        self.replayed = 0
        self.slow = 0.0
        """Seconds that an acknowledgement takes, of late."""
        self.seconds = Tally(LOG_DURATION)
        """Seconds that each acknowledgement took."""

    def start(self) -> None:
        """Begin."""
        for work in (self._poll, self._keep):
            thread = threading.Thread(target=work, name="decision-log", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._loop.call_later(SWEEP, self._sweep)
        self._wake.set()

    @property
    def spills(self) -> bool:
        """Does it go on, on disk, while the topic is down?"""
        return self._spill is not None

    @property
    def spilled_bytes(self) -> int:
        """On disk, and not known to be in the topic yet."""
        return 0 if self._spill is None or self._spill.empty else self._spill.size

    @property
    def spill_limit(self) -> int | None:
        """How many bytes may be there; None: nothing is spilled."""
        return None if self._spill is None else self._spill.limit

    @property
    def waiting(self) -> int:
        """Requests whose records are on their way."""
        return len(self._flying) + len(self._to_disk)

    def append(self, records: Sequence[Spilled]) -> asyncio.Future[None]:
        """Done when the broker, or the disk, holds every record of it.

        Raises:
            LogDown: the topic is down and nothing is spilled, or the producer's queue is full.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        entry = _Entry(self, records, future, self._loop.time())
        if self.down is not None:
            if self._spill is None:
                raise LogDown(self.down)
            self._put_on_disk([entry])
            return future
        assert self._producer is not None  # noqa: S101  it is there while the log is up
        produce: Callable[..., None] = self._producer.produce
        try:
            for topic, key, value, stamp in records:
                produce(topic, value, key, timestamp=stamp, on_delivery=entry)
        except BufferError as error:
            entry.log = None
            raise LogDown("the producer's queue is full") from error
        self._flying[entry] = None
        return future

    def delivered(self, message: Message) -> None:
        """In the polling thread: the topic is known to be so long."""
        if self._spill is not None:
            place = (message.topic() or "", message.partition() or 0)
            self._offsets[place] = (message.offset() or 0) + 1

    # The polling thread.

    def _poll(self) -> None:
        while not self._closed.is_set():
            producer = self._producer
            if producer is None:
                self._closed.wait(SLICE)
                continue
            producer.poll(SLICE)
            del producer
            if self.ended:
                self._tell(self._settle, _emptied(self.ended))

    def _tell(self, method: Callable[..., None], *parts: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(method, *parts)

    # The loop's thread.

    def _settle(self, ended: list[_Entry]) -> None:
        now = self._loop.time()
        for entry in ended:
            if entry not in self._flying:
                continue
            if entry.error is not None and meaning(entry.error) is not Meaning.RECORD:
                self._go_down(entry.error.str())
                if entry not in self._flying:
                    continue
            del self._flying[entry]
            if entry.error is None:
                self.acknowledged += len(entry.records)
                self.seconds.note(now - entry.began)
                self.slow += 0.1 * (now - entry.began - self.slow)
                _done(entry.future)
            else:
                _failed(entry.future, entry.error.str())

    def _sweep(self) -> None:
        if self._closed.is_set():
            return
        oldest = next(iter(self._flying), None)
        if oldest is not None and self._loop.time() - oldest.began > self._timeout:
            self._go_down(f"no acknowledgement in {self._timeout:g} s")
        self._loop.call_later(SWEEP, self._sweep)

    def _go_down(self, why: str) -> None:
        if self.down is not None:
            return
        self.down = why
        flying, self._flying = list(self._flying), {}
        self._say(GatewayEvent.LOG_DOWN, why=why, spilling=self._spill is not None)
        for entry in flying:
            entry.log = None
        # What is still queued there must not be sent behind our back; the keeper drops it.
        if self._producer is not None:
            self._producer.purge()
        if self._spill is None:
            for entry in flying:
                _failed(entry.future, why)
        else:
            self._put_on_disk(flying)
        self._wake.set()

    def _put_on_disk(self, entries: Sequence[_Entry]) -> None:
        self._to_disk.extend(entries)
        self._wake.set()

    def _come_up(self) -> None:
        why, self.down = self.down, None
        self._say(GatewayEvent.LOG_UP, after=why)

    # The keeper's thread: spills, and tries whether the topic is back.

    def _keep(self) -> None:
        tried = 0.0
        while True:
            self._wake.wait(self._retry)
            self._wake.clear()
            if self._closed.is_set():
                return
            self._write_out()
            behind = self._spill is not None and not self._spill.empty
            now = self._clock.monotonic()
            if (self.down is not None or behind) and now - tried >= self._retry:
                self._try()
                tried = self._clock.monotonic()

    def _write_out(self) -> None:
        """Spill what waits, with one wait for the disk."""
        taken = _emptied(self._to_disk)
        if not taken or self._spill is None:
            return
        try:
            self._spill.add((r for entry in taken for r in entry.records), dict(self._offsets))
        except SpillFull as full:
            self._tell(_all_failed, taken, str(full))
        else:
            if not self.spilled:
                self._say(GatewayEvent.SPILLED, first=len(taken))
            self.spilled += sum(len(entry.records) for entry in taken)
            self._tell(_all_done, taken)

    def _try(self) -> None:
        """Is the topic back? Then write what was spilled, and go on with it."""
        try:
            self._probe()
            if self._spill is not None:
                self._replay_all(self._spill)
        except WorkersError:
            return
        except Exception as error:  # noqa: BLE001  a dead thread would spill for ever
            self._say(GatewayEvent.BUG, where="replay", error=type(error).__name__)
            return
        if self.down is not None:
            # The old one may still hold, and send, what was spilled.
            self._producer = None
            self._producer = Producer(self._config)
            self._tell(self._come_up)

    def _replay_all(self, spill: Spill) -> None:
        for file in spill.seal():
            segment = read_segment(file)
            written = self._replay.write(segment)
            spill.done(segment)
            self.replayed += len(segment.records)
            self._say(
                GatewayEvent.REPLAYED,
                records=len(segment.records),
                written=written,
                there=len(segment.records) - written,
            )
            self._write_out()

    def replay_now(self) -> None:
        """Try at once; somebody asks for it."""
        self._wake.set()

    def close(self, seconds: float) -> None:
        """Wait for what is on its way, then end. Never closes the producer: that may hang."""
        producer = self._producer
        if producer is not None and self.down is None:
            producer.flush(seconds)
        self._closed.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(seconds)
        self._write_out()
        if self._spill is not None:
            self._spill.close()


def _emptied(queue: deque[_Entry]) -> list[_Entry]:
    """All that is in it now."""
    return [queue.popleft() for _ in range(len(queue))]


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _failed(future: asyncio.Future[None], why: str) -> None:
    if not future.done():
        future.set_exception(LogDown(why))


def _all_done(entries: Sequence[_Entry]) -> None:
    for entry in entries:
        _done(entry.future)


def _all_failed(entries: Sequence[_Entry], why: str) -> None:
    for entry in entries:
        _failed(entry.future, why)
