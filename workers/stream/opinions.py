"""Opinions of several batches as one, to be counted: what that costs is hardly by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import numpy.typing as npt

from workers.enrich.batch import Opinion
from workers.models.model import Scored


def joined(opinions: Iterable[Opinion]) -> Iterator[Opinion]:
    """One of all of a block and a model."""
    for _, alike in groupby(sorted(opinions, key=_alike), key=_alike):
        yield _joined(list(alike))


def _alike(opinion: Opinion) -> tuple[str, int, bool]:
    return opinion.block, id(opinion.model), opinion.challenged is None


def _joined(opinions: Sequence[Opinion]) -> Opinion:
    first = opinions[0]
    if len(opinions) == 1:
        return first
    without = None
    if any(opinion.without is not None for opinion in opinions):
        without = np.concatenate([_causes(opinion) for opinion in opinions])
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


def _causes(opinion: Opinion) -> npt.NDArray[np.object_]:
    if opinion.without is not None:
        return opinion.without
    return np.full(len(opinion.rows), None, dtype=np.object_)
