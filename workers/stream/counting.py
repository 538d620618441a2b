"""Numbers of a batch, from its outcomes: by columns, never record by record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

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


def count_decisions(registry: Registry, outcomes: Outcomes, decided: Mapping[str, int]) -> None:
    """Published decisions of all blocks; those of the first are counted already."""
    if not outcomes.opinions:
        return
    first = outcomes.opinions[0].block
    for decision, count in decided.items():
        registry.add(names.DECISIONS, count, first, decision)
    for opinion in outcomes.opinions:
        if opinion.block != first:
            kept = _published(opinion, outcomes)
            for decision, count in Counter(opinion.decisions[kept].tolist()).items():
                registry.add(names.DECISIONS, count, opinion.block, decision)


def count_opinion(registry: Registry, opinion: Opinion, outcomes: Outcomes) -> None:
    """Fallbacks, arms and scores of what was published of a block."""
    block, kept = opinion.block, _published(opinion, outcomes)
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


def _published(opinion: Opinion, outcomes: Outcomes) -> Any:
    """Which entries of an opinion were published, as an index."""
    if not outcomes.rejected.keys() & set(opinion.rows if outcomes.rejected else ()):
        return slice(None)
    # Too large for the output topic, refused by it, or behind another: decided, not published.
    return np.array([row in outcomes.enriched for row in opinion.rows], dtype=np.bool_)


def count_staleness(registry: Registry, outcomes: Outcomes, settings: Staleness) -> None:
    """Ages of events, and how many were over the limit."""
    if outcomes.ages is None:
        return
    known = outcomes.ages[~np.isnan(outcomes.ages)]
    registry.spread(names.EVENT_AGE, known)
    if old := int(np.count_nonzero(known > settings.limit)):
        registry.add(names.STALE, old, settings.policy)
