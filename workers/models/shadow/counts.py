"""What a shadow says and counts. Every row that it is offered ends as exactly one of
compared, skipped or failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Skip(StrEnum):
    """Why a row was not given to the challenger."""

    NO_CHALLENGER = "no_challenger"
    """There is none, or it is the champion itself."""
    SHARE = "not_in_share"
    STARTING = "starting"
    """It is being proven, is loading, or waits to be started again after a failure."""
    BUSY = "busy"
    """`queue` rows wait already."""
    REFUSED = "refused"
    UNFIT = "does_not_fit"
    GAVE_UP = "gave_up"
    CLOSED = "closed"
    INTERNAL = "internal"
    """A bug of ours, in the worker's side of it."""


class Fault(StrEnum):
    """Why the challenger has no decision; the first two leave it running."""

    NAN = "nan"
    FEATURES = "features"
    HANG = "hang"
    CRASH = "crash"
    GARBAGE = "garbage"
    REFUSED = "refused"
    INTERNAL = "internal"
    """A bug of ours: the worker's side of the comparison failed."""


class ShadowEvent(StrEnum):
    """Every event name that a shadow notes."""

    STARTED = "shadow.started"
    ENDED = "shadow.ended"
    REFUSED = "shadow.refused"
    UNFIT = "shadow.does_not_fit"
    FAILED = "shadow.failed"
    GAVE_UP = "shadow.gave_up"


Note = Callable[[ShadowEvent, Mapping[str, object]], None]
"""Told of events, from the shadow's thread."""


def _each(causes: type[StrEnum]) -> Counter[str]:
    # All keys from the start: other threads read while one counts, and the size never changes.
    return Counter(dict.fromkeys(causes, 0))


@dataclass(slots=True)
class CountsState:
    """Rows since the start, of this process.

    `turned_away` is counted by the worker's loop, all else by the shadow's thread: no lock is
    needed. `differing` rows have a score of both, whose absolute differences are in
    `difference_sum` and `difference_max`. `undelivered`: comparisons that did not reach the topic.
    `restarts`: how often the challenger's process was ended by a failure.
    """

    compared: int = 0
    disagreed: int = 0
    differing: int = 0
    difference_sum: float = 0.0
    difference_max: float = 0.0
    restarts: int = 0
    undelivered: int = 0
    turned_away: Counter[str] = field(default_factory=lambda: _each(Skip))
    passed_over: Counter[str] = field(default_factory=lambda: _each(Skip))
    failed: Counter[str] = field(default_factory=lambda: _each(Fault))

    @property
    def skipped(self) -> Counter[str]:
        """Rows by the reason why they were not given to the challenger."""
        return self.turned_away + self.passed_over

    def totals(self) -> dict[str, Any]:
        """The counts, for a line or a summary."""
        return {
            "compared": self.compared,
            "disagreed": self.disagreed,
            "differing": self.differing,
            "difference_sum": self.difference_sum,
            "difference_max": self.difference_max,
            "skipped": dict(self.skipped),
            "failed": dict(+self.failed),
            "restarts": self.restarts,
            "undelivered": self.undelivered,
        }
