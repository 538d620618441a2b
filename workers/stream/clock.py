"""Time, as an argument."""

from __future__ import annotations

import time
from random import SystemRandom
from typing import Protocol


class Clock(Protocol):
    """What the stream needs of time."""

    def now(self) -> int:
        """Milliseconds UTC since 1970."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


class SystemClock:
    """The machine's."""

    def now(self) -> int:
        """Milliseconds UTC since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


_DICE = SystemRandom()
"""Without a state that another part of the process could seed."""


def jittered(seconds: float) -> float:
    """Half of it to all of it, by chance: all who wait for one thing do not come back at once."""
    return seconds * _DICE.uniform(0.5, 1.0)
