"""LightGBM's model text as plain arrays; what is not covered here is refused, never guessed.

The format is `Tree::ToString` and `GBDT::SaveModelToString` (LightGBM, version v4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np

from workers.errors import ModelError
from workers.models.structure import check_structure
from workers.models.text import read_text

FORMAT = "v4"
KINDS = frozenset({"regression", "binary", "cross_entropy"})
ZERO = float(np.float32(1e-35))
"""LightGBM's kZeroThreshold: it takes what is no further from zero for zero."""
_WORD = 32


class Missing(IntEnum):
    """What a numeric split takes for missing: bits 2 and 3 of its `decision_type`."""

    NONE = 0
    ZERO = 1
    NAN = 2


@dataclass(frozen=True, slots=True)
class Split:
    """One decision. Children are splits of the same tree from 0 on; a leaf is `~leaf`, below 0.

    `categories` is None for a numeric split, which goes left up to and including `threshold`;
    otherwise its bits are the categories that go left.
    """

    feature: int
    left: int
    right: int
    threshold: float = 0.0
    missing: Missing = Missing.NONE
    default_left: bool = False
    categories: int | None = None

    @property
    def zero_left(self) -> bool:
        """Where zero goes by its value."""
        return self.threshold >= 0

    @property
    def nan_left(self) -> bool:
        """Where NaN goes: as zero does, or as declared; with no category it is right."""
        if self.categories is not None:
            return False
        return self.zero_left if self.missing is Missing.NONE else self.default_left


@dataclass(frozen=True, slots=True)
class Tree:
    """Splits and leaf values; no split for a tree of one leaf."""

    splits: tuple[Split, ...]
    leaves: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Forest:
    """A booster with one score a row: the sum of its trees, through a sigmoid if there is one."""

    features: int
    trees: tuple[Tree, ...]
    sigmoid: float | None


def read_forest(text: str) -> Forest:
    """The trees of a model text.

    Raises:
        ModelError: the text is damaged, or has what the compiler does not cover; says what.
    """
    # No child out of reach or in a circle, no feature that is not there: machine code trusts it.
    check_structure(text)
    head = text.partition("\n\nTree=")[0]
    parsed = read_text(text)
    try:
        return Forest(
            len(parsed.names), tuple(_tree(tree) for tree in parsed.trees), _sigmoid(head)
        )
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(f"not compiled: the model text is not understood: {error}") from error


def _sigmoid(head: str) -> float | None:
    """What turns a sum into a score: a sigmoid's factor, or None for nothing."""
    lines = head.splitlines()
    if f"version={FORMAT}" not in lines:
        raise ModelError(f"not compiled: the model's format is not {FORMAT}")
    if "average_output" in lines:
        raise ModelError("not compiled: a random forest, whose trees are averaged")
    objective = next((line for line in lines if line.startswith("objective=")), "")
    kind, *options = objective.removeprefix("objective=").split() or ["regression"]
    factors = [o for o in options if kind == "binary" and o.startswith("sigmoid:")]
    if kind not in KINDS or factors != options:
        raise ModelError(f"not compiled: {objective}")
    if kind == "regression":
        return None
    return float(factors[0].removeprefix("sigmoid:")) if factors else 1.0


def _tree(fields: Mapping[str, str]) -> Tree:
    if fields.get("is_linear", "0") != "0":
        raise ModelError("not compiled: a tree with linear leaves")
    leaves = tuple(_numbers(fields["leaf_value"]))
    return Tree(tuple(_splits(fields)) if len(leaves) > 1 else (), leaves)


def _splits(fields: Mapping[str, str]) -> Iterator[Split]:
    sets = _sets(fields)
    columns = zip(
        _wholes(fields["split_feature"]),
        _wholes(fields["left_child"]),
        _wholes(fields["right_child"]),
        _numbers(fields["threshold"]),
        _wholes(fields["decision_type"]),
        strict=True,
    )
    for feature, left, right, threshold, kind in columns:
        if kind & 1:
            # Categorical: the threshold is the number of its set.
            yield Split(feature, left, right, categories=sets[int(threshold)])
        else:
            missing, default_left = Missing(kind >> 2 & 3), bool(kind & 2)
            yield Split(feature, left, right, threshold, missing, default_left)


def _sets(fields: Mapping[str, str]) -> list[int]:
    """Each set of categories as the bits of one number."""
    words = _wholes(fields.get("cat_threshold", ""))
    bounds = _wholes(fields.get("cat_boundaries", ""))
    return [
        sum(word << _WORD * place for place, word in enumerate(words[start:stop]))
        for start, stop in pairwise(bounds)
    ]


def _wholes(text: str) -> list[int]:
    return [int(number) for number in text.split()]


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split()]
