"""Numbers of batches, from their outcomes: by columns, never record by record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from workers.enrich.batch import Opinion, Outcomes
from workers.telemetry import names
from workers.telemetry.registry import Registry
from workers.topology import Staleness

Kept = npt.NDArray[np.bool_] | slice
ALL = slice(None)
Timestamps = Sequence[tuple[int, int]]
"""Of a batch's records, as the client gives them: type, milliseconds UTC."""


def latencies(batches: Sequence[tuple[Timestamps, int]]) -> npt.NDArray[np.float64]:
    """Seconds from each record's timestamp until its batch was over, in milliseconds UTC; without
    those that have none.
    """
    times = np.array([at for stamps, _ in batches for _, at in stamps], dtype=np.int64)
    over = np.repeat([now for _, now in batches], [len(stamps) for stamps, _ in batches])
    known = times > 0
    return np.maximum(over[known] - times[known], 0) / 1000


def published(opinion: Opinion, outcomes: Outcomes) -> Kept:
    """Which entries of an opinion were published, as an index."""
    if not outcomes.rejected.keys() & set(opinion.rows if outcomes.rejected else ()):
        return ALL
    # Too large for the output topic, refused by it, or behind another: decided, not published.
    return np.array([row in outcomes.enriched for row in opinion.rows], dtype=np.bool_)


def count_opinion(registry: Registry, opinion: Opinion, kept: Kept = ALL) -> None:
    """Decisions, fallbacks, arms and scores of what was published of a block."""
    block = opinion.block
    for decision, count in Counter(opinion.decisions[kept].tolist()).items():
        registry.add(names.DECISIONS, count, block, decision)
    if opinion.without is not None:
        for cause, count in Counter(opinion.without[kept].tolist()).items():
            if cause is not None:
                registry.add(names.FALLBACKS, count, block, cause)
    if opinion.challenged is not None:
        registry.add(names.CANARY, opinion.challenged, block, "challenger")
        registry.add(names.CANARY, len(opinion.rows) - opinion.challenged, block, "champion")
    low, high = opinion.model.manifest.score_range
    scores = (opinion.scores[kept] - low) / (high - low)
    missing = np.isnan(scores)
    registry.spread(names.SCORE, scores[~missing] if missing.any() else scores, block)


def count_staleness(registry: Registry, ages: npt.NDArray[np.float64], settings: Staleness) -> None:
    """Ages of events in seconds, NaN where unknown, and how many were over the limit."""
    known = ages[~np.isnan(ages)]
    registry.spread(names.EVENT_AGE, known)
    if old := int(np.count_nonzero(known > settings.limit)):
        registry.add(names.STALE, old, settings.policy)
