"""One run at a time: a lease that ends by itself when its holder does not.

Numbered documents, as commits are: who writes the next number has the lease. A run that is killed
holds it until its time is over, and no longer.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict

from workers.feedback.lake.place import LakeFault, Place
from workers.stream.clock import Clock

SECONDS = 1800
"""How long a lease lasts; `renew` begins it anew."""
_KEPT = 3
_ASK = 15.0
"""Seconds between two looks at a lease that is waited for."""

_NEVER = threading.Event()
Pause = Callable[[float], object]
"""Lets so many seconds pass."""


class LeaseTaken(LakeFault):
    """Somebody else has the lease."""


class _Held(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    holder: str
    until: int


class Lease:
    """The right to run a loop. Times are the machine's, in milliseconds."""

    def __init__(self, place: Place, loop: str, clock: Clock) -> None:
        self._place = place
        self._folder = f"{loop}/lease"
        self._clock = clock
        self._holder = uuid.uuid4().hex

    def take(self) -> None:
        """Have it from now on.

        Raises:
            LeaseTaken: somebody else has it.
        """
        self._write(self._clock.now() + SECONDS * 1000)

    renew = take

    def leave(self) -> None:
        """Let the next one have it; nothing where another has."""
        numbers = self._numbers()
        if numbers and self._held(numbers[-1]).holder == self._holder:
            self._write(0)

    def _write(self, until: int) -> None:
        numbers = self._numbers()
        newest = numbers[-1] if numbers else 0
        if newest:
            held = self._held(newest)
            left = held.until - self._clock.now()
            if held.holder != self._holder and left > 0:
                raise LeaseTaken(
                    f"{self._place.name}/{self._folder}: another run has the loop; if it was "
                    f"killed, its lease ends in {left // 1000} s"
                )
        made = _Held(holder=self._holder, until=until)
        if not self._place.create(self._path(newest + 1), made.model_dump_json().encode()):
            raise LeaseTaken(f"{self._place.name}/{self._folder}: another run was first")
        for number in numbers[:-_KEPT]:
            self._place.remove(self._path(number))

    def _numbers(self) -> list[int]:
        return sorted(int(name.partition(".")[0]) for name in self._place.names(self._folder))

    def _held(self, number: int) -> _Held:
        return _Held.model_validate_json(self._place.read(self._path(number)))

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number:09d}.json"


@contextmanager
def held(
    lease: Lease, clock: Clock, wait: float = 0.0, pause: Pause = _NEVER.wait
) -> Iterator[None]:
    """Have the lease, and leave it at the end; wait so many seconds for another's to end.

    Raises:
        LeaseTaken: somebody else still has it.
    """
    try:
        # Within: a process that is told to end may be so just when the lease has become its own.
        _take(lease, clock, wait, pause)
        yield
    finally:
        lease.leave()


def _take(lease: Lease, clock: Clock, wait: float, pause: Pause) -> None:
    deadline = clock.monotonic() + wait
    while True:
        try:
            lease.take()
        except LeaseTaken:
            left = deadline - clock.monotonic()
            if left <= 0:
                raise
            pause(min(_ASK, left))
        else:
            return
