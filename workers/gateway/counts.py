"""What a gateway counts: plain numbers of the event loop's thread, read when somebody looks.

A request costs a look-up and two additions. Opinions of batches, which often are one event, wait
until there are many: what counting them costs is hardly by row.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from workers.enrich.batch import Batch, Opinion, Outcomes
from workers.gateway.problems import Kind
from workers.models.model import Scored
from workers.stream.clock import Clock
from workers.stream.counting import count_opinion
from workers.stream.drifting import Drifting
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
_ALL = Outcomes(Batch("", 0), {}, {}, frozenset())


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
            for _, alike in groupby(sorted(found, key=_alike), key=_alike):
                joined = _joined(list(alike))
                self._drifting.feed(joined, now)
                self._count(joined)
            self._drifting.look(now)

    def _count(self, opinion: Opinion) -> None:
        for decision, count in Counter(opinion.decisions.tolist()).items():
            self._registry.add(names.DECISIONS, count, opinion.block, decision)
        count_opinion(self._registry, opinion, _ALL)


def _alike(opinion: Opinion) -> tuple[str, int, bool]:
    """Opinions with the same can be joined."""
    return opinion.block, id(opinion.model), opinion.challenged is None


def _joined(opinions: Sequence[Opinion]) -> Opinion:
    """One of several of the same block and model, for counting."""
    first = opinions[0]
    without = None
    if any(opinion.without is not None for opinion in opinions):
        parts = [_causes(opinion) for opinion in opinions]
        without = np.concatenate(parts)
    return replace(
        first,
        rows=[row for opinion in opinions for row in opinion.rows],
        scores=np.concatenate([opinion.scores for opinion in opinions]),
        decisions=np.concatenate([opinion.decisions for opinion in opinions]),
        without=without,
        challenged=None
        if first.challenged is None
        else sum(opinion.challenged or 0 for opinion in opinions),
        asked=_asked([opinion.asked for opinion in opinions if opinion.asked is not None]),
    )


def _asked(served: Sequence[Scored]) -> Scored | None:
    """What the champion was asked, of all of them."""
    if not served:
        return None
    return Scored(
        scores=np.concatenate([each.scores for each in served]),
        bands=np.concatenate([each.bands for each in served]),
        rejections={},
        failed={},
        matrix=np.concatenate([each.matrix for each in served]),
        missing=np.sum([each.missing for each in served], axis=0),
        unseen=np.sum([each.unseen for each in served], axis=0),
    )


def _causes(opinion: Opinion) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    if opinion.without is not None:
        return opinion.without
    return np.full(len(opinion.rows), None, dtype=np.object_)


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
