"""What a gateway counts: plain numbers of the event loop's thread, read when somebody looks.

A request costs a look-up and two additions. Opinions of batches, which often are one event, wait
until there are many: what counting them costs is hardly by row.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from workers.enrich.batch import Opinion, Outcomes
from workers.gateway.problems import Kind
from workers.stream.clock import Clock
from workers.stream.counting import count_opinion
from workers.stream.drifting import Drifting
from workers.stream.opinions import joined
from workers.telemetry import gateway as n
from workers.telemetry import names
from workers.telemetry.attributes import HTTP_METHOD, HTTP_STATUS
from workers.telemetry.registry import Registry, Sample, Values
from workers.telemetry.tally import Tally

AT_ONCE = 64
"""Opinions that are counted together."""
_METHODS = frozenset(HTTP_METHOD.values)
_STATUSES = {int(text): text for text in HTTP_STATUS.values if text}
_KEYED = {Kind.KEY_REUSED: "reused", Kind.IN_FLIGHT: "in_flight", Kind.KEYS_DOWN: "unavailable"}


class Requests:
    """Durations of requests by what was asked and answered, all of it from closed lists."""

    def __init__(self) -> None:
        """None so far."""
        self._tallies: dict[Values, Tally] = {}

    def note(self, method: str, route: str, status: int, problem: str, seconds: float) -> None:
        """One request, answered; `problem` is the kind of its answer, or empty."""
        asked = method if method in _METHODS else "_OTHER"
        key = (asked, "http", route, _STATUSES.get(status, ""), problem)
        found = self._tallies.get(key)
        if found is None:
            found = self._tallies[key] = Tally(n.REQUEST_DURATION)
        found.note(seconds)

    def samples(self) -> Iterator[Sample]:
        """What there was so far."""
        for values, tally in self._tallies.copy().items():
            yield n.REQUEST_DURATION, values, tally.spread


class Counts:
    """One worker's. `settled` and the numbers are the loop's thread's; any thread may look."""

    def __init__(self, registry: Registry, drifting: Drifting, clock: Clock) -> None:
        """Decisions, scores and drift go to `registry`."""
        self.requests = Requests()
        self.rejected = Counter[str]()
        """Events with a problem of their own, by its kind."""
        self.keyed = Counter[str]()
        """Requests with a key, by what became of them."""
        self._sizes, self._seconds = Tally(n.BATCH_SIZE), Tally(n.BATCH_DURATION)
        self._registry = registry
        self._drifting = drifting
        self._clock = clock
        self._waiting: deque[Opinion] = deque()
        self._pouring = threading.Lock()

    def key_failed(self, kind: Kind) -> None:
        """A request with a key ended with this problem."""
        self.keyed[_KEYED.get(kind, "failed")] += 1

    def settled(self, outcomes: Outcomes, late: Collection[int], seconds: float) -> None:
        """A batch is scored; what was decided of the rows `late` is nobody's answer."""
        self._sizes.note(len(outcomes.batch))
        self._seconds.note(seconds)
        opinions = outcomes.opinions
        self._waiting.extend([_without(o, late) for o in opinions] if late else opinions)

    def before(self) -> None:
        """In the scoring thread, before each batch: count, if there is much to be counted."""
        if len(self._waiting) < AT_ONCE:
            return
        try:
            self._pour()
        except Exception:  # noqa: BLE001  no event is to wait for a number
            self._registry.add(names.FAULTS, 1)

    def samples(self) -> Iterator[Sample]:
        """What there was so far; decisions and scores are in the registry by then."""
        self._pour()
        yield from self._drifting.samples()
        yield from self.requests.samples()
        yield n.BATCH_SIZE, (), self._sizes.spread
        yield n.BATCH_DURATION, (), self._seconds.spread
        for kind, count in self.rejected.copy().items():
            yield n.EVENTS_REJECTED, (kind,), count
        for result, count in self.keyed.copy().items():
            yield n.KEYED_REQUESTS, (result,), count

    def _pour(self) -> None:
        with self._pouring:
            now = self._clock.monotonic()
            found = [self._waiting.popleft() for _ in range(len(self._waiting))]
            for opinion in joined(found):
                self._drifting.feed(opinion, now)
                count_opinion(self._registry, opinion)
            self._drifting.look(now)


def _without(opinion: Opinion, late: Collection[int]) -> Opinion:
    """Without these rows; of a canary's share is not known which they are."""
    kept = np.array([row not in late for row in opinion.rows], dtype=np.bool_)
    return replace(
        opinion,
        rows=[row for row in opinion.rows if row not in late],
        scores=opinion.scores[kept],
        decisions=opinion.decisions[kept],
        without=None if opinion.without is None else opinion.without[kept],
        challenged=None,
    )
