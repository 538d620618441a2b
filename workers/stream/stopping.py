"""Waiting, as a loop does: in the group, and no longer than until it is to stop."""

from __future__ import annotations

from workers.stream.clock import Clock
from workers.stream.source import Source

PATIENCE = 0.5
"""Seconds the loop waits for a publish before it pauses the partitions and keeps polling."""


class Stopping:
    """Whether a loop is to stop, and how long it may wait until then and after."""

    def __init__(self, source: Source, clock: Clock, drain_timeout: float) -> None:
        """Nobody has asked yet."""
        self.asked = False
        self._source = source
        self._clock = clock
        self._drain_timeout = drain_timeout
        self._by: float | None = None

    def ask(self) -> None:
        """Stop. Safe in a signal handler."""
        self.asked = True

    def budget(self) -> float:
        """Seconds that may be waited for a publish: once stopping, what is left of them."""
        if not self.asked:
            return self._drain_timeout
        now = self._clock.monotonic()
        if self._by is None:
            self._by = now + self._drain_timeout
        return max(0.0, self._by - now)

    def idle(self, seconds: float) -> None:
        """Wait, in the group, until it is time or the worker is to stop."""
        until = self._clock.monotonic() + seconds
        while True:
            self._source.idle(min(PATIENCE, max(0.0, until - self._clock.monotonic())))
            if self.asked or self._clock.monotonic() >= until:
                return

    def wait(self, seconds: float) -> bool:
        """Wait, in the group; is there still something to do then?"""
        self.idle(seconds)
        return not self.asked
