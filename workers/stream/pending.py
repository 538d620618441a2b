"""One publish at a time, beside the scoring of the next batch."""

from __future__ import annotations

import threading

from workers.errors import ClientHalt
from workers.stream.clock import Clock
from workers.stream.publish import SLICE, Publisher
from workers.stream.work import Work

HANG = SLICE + 10.0
"""Seconds without a sign of life after which a call into the client counts as hung."""


class Pending:
    """One publish at a time, in a thread of its own, so that the next batch is scored meanwhile.

    A call into the client may hang past its timeout: `send_offsets_to_transaction` does, for ever,
    when the group's coordinator was gone for a while (librdkafka #5456, #5511). The thread is left
    behind then; what it may still do is fenced by the next producer.
    """

    def __init__(self, publisher: Publisher, clock: Clock) -> None:
        """Nothing runs before `start`."""
        self._publisher = publisher
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._work: Work | None = None
        self._error: BaseException | None = None
        self._began = 0.0
        self.finished = 0.0
        """When the last one was over, well or not."""

    @property
    def busy(self) -> bool:
        """Has a publish been started whose result nobody took?"""
        return self._thread is not None

    @property
    def hangs(self) -> bool:
        """Has a publish shown no sign of life for so long that it never will?"""
        if self._work is None or self._thread is None or not self._thread.is_alive():
            return False
        seen = max(self._began, self._work.watch.seen)
        return self._clock.monotonic() - seen > HANG

    @property
    def succeeded(self) -> bool:
        """Is a publish over, and well?"""
        over = self._thread is not None and not self._thread.is_alive()
        return over and self._error is None

    def start(self, work: Work) -> None:
        """Publish; `result` says how it went."""
        if self._thread is not None:
            raise ClientHalt("two publishes at once: a bug in the loop")
        self._error, self._work, self._began = None, work, self._clock.monotonic()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Work) -> None:
        try:
            self._publisher.publish(work)
        except BaseException as error:  # noqa: BLE001  carried over to the thread that waits
            self._error = error
        self.finished = self._clock.monotonic()

    def abandon(self) -> None:
        """Nobody waits any more."""
        if self._work is not None:
            self._work.watch.abandoned.set()

    def wait(self, seconds: float) -> bool:
        """Is it over? Waits so long at most."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> None:
        """Take the result of a publish that is over.

        Raises:
            Retry: or Halt: what `publish` raised.
        """
        self._thread = self._work = None
        error, self._error = self._error, None
        if error is not None:
            raise error
