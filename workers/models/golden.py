"""Golden rows picked from scored events: the whole range of scores, and every decision."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def spread(scores: npt.NDArray[np.float64], bands: npt.NDArray[np.intp], count: int) -> list[int]:
    """At most `count` rows, ascending: half of them shared by the bands that occur, half by rank.

    `scores` and `bands` have an entry a row; a row whose score is NaN is not picked. The same rows
    are picked from the same input; where `count` allows, the lowest and highest score of each band.
    """
    order = np.argsort(scores, kind="stable")
    order = order[~np.isnan(scores[order])]
    present = np.unique(bands[order])
    picked: set[int] = set()
    for band in present.tolist():
        picked |= _evenly(order[bands[order] == band], max(1, count // (2 * len(present))))
    left = np.array([row for row in order.tolist() if row not in picked], dtype=np.intp)
    picked = set(sorted(picked)[:count])
    return sorted(picked | _evenly(left, count - len(picked)))


def _evenly(rows: npt.NDArray[np.intp], count: int) -> set[int]:
    """As many of the rows, the first and the last among them."""
    if count <= 0 or not len(rows):
        return set()
    places = np.linspace(0, len(rows) - 1, min(count, len(rows)))
    return {int(row) for row in rows[places.round().astype(np.intp)]}
