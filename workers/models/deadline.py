"""Calls with an end: what a library does on its own time must not hold up a worker for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from workers.errors import StoreUnwell

MAX_GIVEN_UP = 4
"""Calls past their end whose threads still hang; then no more are begun."""
T = TypeVar("T")


class Deadline:
    """Makes calls, each on a thread of its own, and goes on without them after `seconds`."""

    def __init__(self, seconds: float, place: str) -> None:
        self._seconds = seconds
        self._place = place
        self._lock = threading.Lock()
        self._hanging: set[_Call[object]] = set()

    def run(self, call: Callable[[], T], seconds: float | None = None) -> T:
        """What the call returns, or raises.

        Raises:
            StoreUnwell: it took too long, or too many before it still hang.
        """
        limit = self._seconds if seconds is None else seconds
        with self._lock:
            self._hanging = {waiting for waiting in self._hanging if not waiting.done.is_set()}
            if len(self._hanging) >= MAX_GIVEN_UP:
                raise StoreUnwell(f"{self._place}: earlier requests still hang")
        made = _Call(call)
        # A daemon: the process may end while it hangs.
        threading.Thread(target=made.run, name="models", daemon=True).start()
        if not made.done.wait(limit):
            with self._lock:
                self._hanging.add(made)  # type: ignore[arg-type]
            raise StoreUnwell(f"{self._place}: no answer within {limit:g} s")
        return made.result()


class _Call(Generic[T]):
    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._found: list[T] = []
        self._error: BaseException | None = None
        self.done = threading.Event()

    def run(self) -> None:
        try:
            self._found.append(self._call())
        except BaseException as error:  # noqa: BLE001  raised again by `result`
            self._error = error
        finally:
            self.done.set()

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._found[0]
