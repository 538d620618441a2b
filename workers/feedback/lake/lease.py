"""One run at a time: a lease that ends by itself when its holder does not.

Numbered documents, as commits are: who writes the next number has the lease. A run that is killed
holds it until its time is over, and no longer.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict

from workers.feedback.lake.place import LakeFault, Place
from workers.stream.clock import Clock

SECONDS = 1800
"""How long a lease lasts; `renew` begins it anew."""
_KEPT = 3


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
            LakeFault: somebody else has it.
        """
        self._write(self._clock.now() + SECONDS * 1000)

    renew = take

    def leave(self) -> None:
        """Let the next one have it."""
        self._write(0)

    def _write(self, until: int) -> None:
        numbers = sorted(int(name.partition(".")[0]) for name in self._place.names(self._folder))
        newest = numbers[-1] if numbers else 0
        if newest:
            held = _Held.model_validate_json(self._place.read(self._path(newest)))
            left = held.until - self._clock.now()
            if held.holder != self._holder and left > 0:
                raise LakeFault(
                    f"{self._place.name}/{self._folder}: another run has the loop; if it was "
                    f"killed, its lease ends in {left // 1000} s"
                )
        made = _Held(holder=self._holder, until=until)
        if not self._place.create(self._path(newest + 1), made.model_dump_json().encode()):
            raise LakeFault(f"{self._place.name}/{self._folder}: another run was first")
        for number in numbers[:-_KEPT]:
            self._place.remove(self._path(number))

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number:09d}.json"


@contextmanager
def held(lease: Lease) -> Iterator[None]:
    """Have the lease, and leave it at the end."""
    lease.take()
    try:
        yield
    finally:
        lease.leave()
