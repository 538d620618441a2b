"""A challenger and its process: started again after a failure, ever later, and at last no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from workers.models.shadow.challenger import Challenger
from workers.models.shadow.comparison import Opinion, opinion
from workers.models.shadow.counts import Fault
from workers.models.shadow.process import Child, ChildFailed, Closing

LOAD_SECONDS = 60.0
GIVE_UP_AFTER = 3
"""Processes in a row that failed; then nothing is tried until the alias names another version."""
HEALTHY_SECONDS = 60.0
"""A process that lived so long was well: what ends it then is the first failure again."""
FIRST_WAIT = 1.0
"""Seconds until a failed process is started again; doubled each time."""


@dataclass(slots=True)
class RunState:
    """A challenger that was proven, and its process, where it has one."""

    challenger: Challenger
    command: Sequence[str]
    closing: threading.Event
    child: Child | None = None
    failures: int = 0
    began: float = 0.0
    again_at: float = 0.0

    @property
    def gave_up(self) -> bool:
        """Is it not to be started again?"""
        return self.failures >= GIVE_UP_AFTER

    @property
    def starts_at(self) -> float | None:
        """When it is to be started; None where it runs already, or never again."""
        return None if self.gave_up or self.child is not None else self.again_at

    def start(self) -> None:
        """Start the process and give it the bundle.

        Raises:
            ChildFailed: it cannot be used; `fail` is next.
            Closing: the worker ends.
        """
        self.began = time.monotonic()
        self.child = Child(self.command, self.closing)
        self.child.load(self.challenger.bundle, LOAD_SECONDS)

    def score(self, table: pa.RecordBatch, seconds: float) -> Opinion:
        """What the challenger makes of a table's rows.

        Raises:
            ChildFailed: it does not answer as it should, or not in time; `fail` is next.
            Closing: the worker ends.
        """
        if self.child is None:
            raise ChildFailed(Fault.CRASH, "it does not run")
        try:
            answers = self.child.score(table.select(list(self.challenger.columns)), seconds)
            return opinion(answers, self.challenger)
        except (ChildFailed, Closing):
            raise
        except Exception as error:
            # A bug of ours, and no reason to touch the worker.
            raise ChildFailed(Fault.INTERNAL, type(error).__name__) from error

    def fail(self) -> float:
        """End the process; seconds until it is to be started again, if it has not been given up."""
        self.end()
        now = time.monotonic()
        self.failures = 1 if now - self.began >= HEALTHY_SECONDS else self.failures + 1
        wait = FIRST_WAIT * (1 << (self.failures - 1))
        self.again_at = now + wait
        return wait

    def end(self) -> None:
        """End the process, if there is one."""
        child, self.child = self.child, None
        if child is not None:
            child.end()
