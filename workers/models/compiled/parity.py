"""Rows that tell two evaluators of one forest apart, and the comparison."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from workers.errors import ModelError
from workers.models.booster import Matrix
from workers.models.compiled.trees import ZERO, Forest, Split, Tree

TOLERANCE = 1e-12
"""Beyond it scores differ. On Linux they have the same bits; other systems' `exp` may not."""
RANDOM_ROWS = 4096
WAYS = 3
SPECIAL = (
    *(math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, -5e-324, 1e300, -1e300),
    *(ZERO, -ZERO, math.nextafter(ZERO, 1), math.nextafter(-ZERO, -1), ZERO / 2, -ZERO / 2),
    *(-1.0, -0.5, 0.5, 3.7, 2.0**31 - 1, 2.0**31, 2.0**32, 2.0**53 + 2, -(2.0**31)),
)

_Path = tuple[tuple[Split, bool], ...]


def edge_rows(forest: Forest, *, seed: int = 1) -> Matrix:
    """Rows at the edges of what the trees decide.

    For each leaf of each tree the two corners of its box, every numeric bound met exactly, or
    passed by the least that a number can be; and NaN wherever it leads there. What the way to a
    leaf does not bound, and some rows more, is drawn from the features' thresholds, the numbers
    beside them, categories in sets and in none, and numbers that programs stumble over.
    """
    pools = _pools(forest)
    corners = sum(WAYS * len(tree.leaves) for tree in forest.trees)
    rng = np.random.default_rng(seed)
    count = corners + RANDOM_ROWS
    rows = np.column_stack([pool[rng.integers(len(pool), size=count)] for pool in pools])
    at = 0
    for tree in forest.trees:
        for path in _paths(tree):
            _move(rows[at : at + WAYS], path)
            at += WAYS
    return np.ascontiguousarray(rows)


def check_same(wanted: npt.NDArray[np.float64], found: npt.NDArray[np.float64], *, of: str) -> None:
    """Hold the scores of one evaluator to the other's.

    Raises:
        ModelError: they differ; says in how many rows and by how much.
    """
    with np.errstate(invalid="ignore"):
        apart = np.abs(wanted - found)
        far = ~((apart <= TOLERANCE) | (wanted == found) | (np.isnan(wanted) & np.isnan(found)))
    if far.any():
        raise ModelError(
            f"not compiled: {int(far.sum())} of {len(wanted)} {of} rows score otherwise than by "
            f"LightGBM, up to {apart[far].max():.3g} apart"
        )


def _pools(forest: Forest) -> list[npt.NDArray[np.float64]]:
    """Values worth trying, a list a feature."""
    found: list[set[float]] = [set(SPECIAL) for _ in range(forest.features)]
    for tree in forest.trees:
        for split in tree.splits:
            found[split.feature].update(_beside(split))
    return [np.array(sorted(pool, key=lambda v: (math.isnan(v), v))) for pool in found]


def _beside(split: Split) -> tuple[float, ...]:
    if split.categories is None:
        at = split.threshold
        return (math.nextafter(at, -math.inf), at, math.nextafter(at, math.inf))
    # All categories up to the set's last, and the next.
    return tuple(float(code) for code in range(split.categories.bit_length() + 1))


def _paths(tree: Tree) -> list[_Path]:
    """The way to each leaf: splits, and whether it goes left at them."""
    found: list[_Path] = []
    waiting: list[tuple[int, _Path]] = [(0 if tree.splits else -1, ())]
    while waiting:
        child, path = waiting.pop()
        if child < 0:
            found.append(path)
            continue
        split = tree.splits[child]
        waiting += [(split.left, (*path, (split, True))), (split.right, (*path, (split, False)))]
    return found


def _move(rows: Matrix, path: _Path) -> None:
    """Move three rows to a leaf: to its box's upper corner, its lower one, by what is missing."""
    tops: dict[int, float] = {}
    bottoms: dict[int, float] = {}
    sets: dict[int, int] = {}
    missing: dict[int, bool] = {}
    for split, left in path:
        feature, limit = split.feature, split.threshold
        missing[feature] = missing.get(feature, True) and split.nan_left == left
        if split.categories is not None:
            # A number below zero has bits without end: every category that no set has, too.
            members = split.categories if left else ~split.categories
            sets[feature] = sets.get(feature, -1) & members
        elif left:
            tops[feature] = min(tops.get(feature, math.inf), _at_most(limit))
        else:
            bottoms[feature] = max(bottoms.get(feature, -math.inf), _above(limit))
    # The least category that goes there; a set that is empty leads nowhere.
    least = {
        feature: float((members & -members).bit_length() - 1)
        for feature, members in sets.items()
        if members
    }
    high = dict.fromkeys(bottoms, math.inf) | tops | least
    low = dict.fromkeys(tops, -math.inf) | bottoms | least
    gone = {feature: math.nan for feature, leads_here in missing.items() if leads_here}
    for row, values in zip(rows, (high, low, low | gone), strict=True):
        row[list(values)] = list(values.values())


def _at_most(limit: float) -> float:
    """The greatest number that goes left: LightGBM takes what is next to zero for zero."""
    return math.nextafter(-ZERO, -math.inf) if -ZERO <= limit < 0 else limit


def _above(limit: float) -> float:
    """The least number that goes right."""
    return math.nextafter(ZERO if 0 <= limit <= ZERO else limit, math.inf)
