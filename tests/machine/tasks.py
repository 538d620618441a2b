"""Threads that run one at a time, from one call into the client to the next, when they are told to.

So a test decides where every thread of every worker stands, and the same decisions give the same
run. Code under test calls `pause` in each call that leaves the process, and nowhere else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Killed(BaseException):
    """The task's process was killed: nothing of it runs any more."""


class Task:
    """One thread. `error` is what ended it, None where it ended well or is not over."""

    def __init__(self, target: Callable[[], None]) -> None:
        self.over = False
        self.error: BaseException | None = None
        self._target = target
        self._killed = False
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._go.acquire()
        _HERE.task = self
        try:
            if not self._killed:
                self._target()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  carried over to who looks
            self.error = error
        self.over = True
        self._back.release()

    def step(self) -> None:
        """Run to the next pause, or to the end."""
        if not self.over:
            self._go.release()
            self._back.acquire()

    def kill(self) -> None:
        """End it where it stands: every pause raises from now on."""
        self._killed = True
        while not self.over:
            self.step()

    def pause(self) -> None:
        """Called by the task itself."""
        if not self._killed:
            self._back.release()
            self._go.acquire()
        if self._killed:
            raise Killed


class _Here(threading.local):
    task: Task | None = None


_HERE = _Here()


def current() -> Task | None:
    """The task that asks."""
    return _HERE.task


def pause() -> None:
    """Stand still until the next step. Nothing where no task asks."""
    if _HERE.task is not None:
        _HERE.task.pause()


class SimulatedClock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> int:
        """Milliseconds."""
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds

    def wait(self, seconds: float) -> None:
        """So long."""
        self.seconds += max(0.0, seconds)
