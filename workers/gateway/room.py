"""How many may ask a gateway at once, so that those who do are answered in time.

Additive increase, multiplicative decrease, as TCP's congestion control (RFC 5681): an answer in
time makes room for one more, up to half of where it last went wrong, and from there on for one more
each round; an answer that is late or missing halves the room. Who finds none goes on at once
instead of waiting, with the others, for what comes too late for all of them.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST, MOST = 16, 1024
"""Who may ask at once before anything is known, and at most."""
PAUSE = 1.0
"""Seconds without a question, after one that was alone had no answer either."""


class Room:
    """Counts who asks. One thread's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds that only grow."""
        self._clock = clock
        self._inside = 0
        self._size, self._careful = float(FIRST), float(MOST)
        self._halved = 0
        self._shut = False
        self._again = 0.0

    @property
    def shut(self) -> bool:
        """Is the gateway left alone? Once in `PAUSE` seconds one may ask all the same."""
        return self._shut and self._clock() < self._again

    @property
    def full(self) -> bool:
        """Do as many ask as it keeps up with?"""
        return self._inside >= int(self._size)

    def enter(self) -> int:
        """One more asks; the number goes into `leave`."""
        self._inside += 1
        self._again = self._clock() + PAUSE
        return self._halved

    def leave(self, entered: int, *, in_time: bool | None) -> None:
        """It has its answer, in time or not; None where it no longer wants one."""
        self._inside -= 1
        if in_time:
            self._shut = False
            grown = self._size + (1.0 if self._size < self._careful else 1.0 / self._size)
            self._size = min(grown, MOST)
        elif in_time is not None and entered == self._halved:
            # Those that were on their way then say nothing of the room that is left.
            self._halved += 1
            self._shut = self._size <= 1
            self._size = max(1.0, self._size / 2)
            # After a silence nothing is known of it any more.
            self._careful = float(FIRST) if self._shut else self._size
