"""Ids that a resolver was asked for and does not know: being looked up, or denied."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import SystemRandom

from workers.contracts.framing import SchemaKey

MAX_KEYS = 10_000
"""Open questions, and denials, that are held."""
GRACE = 4
"""Denials hold that many times longer while other questions are open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When a source is asked; seconds.

    `refresh`: between looks at the subjects' versions. `unknown_for`: how long a denial is
    believed. `confirm_after`: between two denials of an id. `backoff` doubles up to `backoff_max`
    while the source is unwell. `monotonic` and `chance` (0 to 1, for jitter) are the clock and the
    dice.
    """

    refresh: float = 60.0
    unknown_for: float = 30.0
    confirm_after: float = 0.5
    backoff: float = 0.2
    backoff_max: float = 10.0
    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = SystemRandom().random


@dataclass(frozen=True, slots=True)
class Question:
    """A key that is being looked up: how often it was denied, and when it is asked next."""

    denials: int
    due: float


@dataclass(frozen=True, slots=True)
class Denial:
    """A key that is not there: until when that is believed, and what else is known of it."""

    until: float
    reason: str


@dataclass(slots=True)
class QuestionsState:
    """Keys to look up and keys that were denied. Both are bounded; the oldest denial goes first."""

    open: OrderedDict[SchemaKey, Question] = field(default_factory=OrderedDict)
    denied: OrderedDict[SchemaKey, Denial] = field(default_factory=OrderedDict)

    def ask(self, key: SchemaKey, now: float) -> bool:
        """Open a question, once; False where there are too many."""
        if key not in self.open:
            if len(self.open) >= MAX_KEYS:
                return False
            self.open[key] = Question(0, now)
        return True

    def due(self, now: float) -> SchemaKey | None:
        """A key to be asked for now."""
        return next((key for key, question in self.open.items() if question.due <= now), None)

    def next_due(self) -> float | None:
        """When the next question is due."""
        return min((question.due for question in self.open.values()), default=None)

    def again(self, key: SchemaKey, due: float) -> None:
        """Denied, and to be confirmed."""
        self.open[key] = Question(self.open[key].denials + 1, due)

    def deny(self, key: SchemaKey, denial: Denial) -> None:
        """Denied often enough."""
        self.open.pop(key, None)
        self.denied.pop(key, None)
        self.denied[key] = denial
        while len(self.denied) > MAX_KEYS:
            self.denied.popitem(last=False)

    def holds(self, key: SchemaKey, now: float, unknown_for: float) -> bool:
        """Is the key denied?

        A batch may hold thousands of ids that nobody knows. They are settled one by one, so the
        first must not expire before the last is denied: none would ever be settled together.
        """
        denial = self.denied.get(key)
        if denial is None:
            return False
        grace = GRACE * unknown_for if self.open else 0.0
        return now < denial.until + grace
