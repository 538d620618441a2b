"""Numbers of a batch, from its outcomes: by columns, never record by record."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from workers.enrich.batch import Batch, Opinion, Outcomes
from workers.telemetry import names
from workers.telemetry.registry import Registry
from workers.topology import Staleness

_MILLISECONDS = itemgetter(1)


def latencies(batch: Batch, now: int) -> npt.NDArray[np.float64]:
    """Seconds from each record's timestamp to `now`; without those that have none."""
    times = np.array(list(map(_MILLISECONDS, batch.timestamps)), dtype=np.int64)
    return np.maximum(now - times[times > 0], 0) / 1000


def count_opinion(registry: Registry, opinion: Opinion, outcomes: Outcomes) -> None:
    """Decisions, fallbacks and scores of what was published of a block."""
    block, scores, without = opinion.block, opinion.scores, opinion.without
    decisions = opinion.decisions
    if any(why.stage == "output" for why in outcomes.rejected.values()):
        # Too large for the output topic, or refused by it: decided, but not published.
        kept = np.array([row in outcomes.enriched for row in opinion.rows], dtype=np.bool_)
        scores, decisions = scores[kept], decisions[kept]
        without = None if without is None else without[kept]
    for decision, count in Counter(decisions.tolist()).items():
        registry.add(names.DECISIONS, count, block, decision)
    if without is not None:
        for cause, count in Counter(without.tolist()).items():
            if cause is not None:
                registry.add(names.FALLBACKS, count, block, cause)
    if opinion.challenged is not None:
        registry.add(names.CANARY, opinion.challenged, block, "challenger")
        registry.add(names.CANARY, len(opinion.rows) - opinion.challenged, block, "champion")
    low, high = opinion.model.manifest.score_range
    registry.spread(names.SCORE, (scores[~np.isnan(scores)] - low) / (high - low), block)


def count_staleness(registry: Registry, outcomes: Outcomes, settings: Staleness) -> None:
    """Ages of events, and how many were over the limit."""
    if outcomes.ages is None:
        return
    known = outcomes.ages[~np.isnan(outcomes.ages)]
    registry.spread(names.EVENT_AGE, known)
    if old := int(np.count_nonzero(known > settings.limit)):
        registry.add(names.STALE, old, settings.policy)
