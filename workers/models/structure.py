"""A booster's text, held to what LightGBM writes, before LightGBM reads it.

Its parser and its prediction trust the text: a size that is wrong reads beyond the buffer, a child
that points back to its parent never ends. Such damage is found here by name; what is left, `verify`
meets in a child process, though only where a golden row leads. So nothing may stay unread here: the
text has lines as LightGBM parts them, each once, none unknown, and each with its count of numbers.
The format is `Tree::ToString` (LightGBM, src/io/tree.cpp, v3 and v4).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from workers.errors import ModelError
from workers.models.text import refuse_other_formats

END = "end of trees"
FORMATS = ("v3", "v4")
"""LightGBM 2.3 to 3.3, and 4: what a later one means by the same lines nobody knows here."""
LARGEST = 131_072
"""Leaves of a tree at most; LightGBM trains no more."""
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
"""LightGBM ends a line at a carriage return and a text at a zero, Python lines at most of these."""
_PARAMETER = re.compile(r"\[\w+: .*\]")
_OF_LEAVES = ("leaf_weight", "leaf_count")
_OF_SPLITS = ("split_gain", "internal_value", "internal_weight", "internal_count")
_OTHERS = (
    *("Tree", "shrinkage", "num_leaves", "num_cat", "is_linear", "leaf_value", "split_feature"),
    *("threshold", "decision_type", "left_child", "right_child", "cat_boundaries"),
    *("cat_threshold", "leaf_const", "num_features", "leaf_features", "leaf_coeff"),
)
_KNOWN = frozenset((*_OTHERS, *_OF_LEAVES, *_OF_SPLITS))


def check_structure(text: str) -> None:
    """Hold header and trees to each other.

    Raises:
        ModelError: something is cut, counted wrongly, no number, or a tree is none; names the tree.
    """
    refuse_other_formats(text)
    if stray := _CONTROL.search(text):
        raise ModelError(f"it holds the character {stray.group()!r}, which LightGBM never writes")
    _check_parameters(text)
    head, *rest = text.split("\nTree=")
    header = _fields(head)
    _check_kind(header)
    if f"\n{END}\n" not in text:
        raise ModelError(f"it is cut: the line `{END}` is missing")
    trees = [f"Tree={part}" for part in rest]
    if not trees:
        raise ModelError("it has no trees")
    trees[-1] = trees[-1].partition(END)[0]
    features, sizes = _counts(header, len(trees))
    for number, (tree, size) in enumerate(zip(trees, sizes, strict=True)):
        try:
            _check_tree(number, tree, size, features)
        except ModelError as error:
            raise ModelError(f"tree {number}: {error}") from error


def _check_kind(header: Mapping[str, str]) -> None:
    """A format that is known, and one score a row."""
    if header.get("version") not in FORMATS:
        raise ModelError(
            f"its format is {header.get('version')}; {' and '.join(FORMATS)} are known"
        )
    for key in ("num_class", "num_tree_per_iteration"):
        if header.get(key) != "1":
            raise ModelError(f"{key} is {header.get(key)}: a model gives one score a row")


def _check_parameters(text: str) -> None:
    """What it was trained with: LightGBM reads beyond a line that has no colon."""
    given = text.partition("\nparameters:\n")[2].partition("\nend of parameters\n")[0]
    for line in filter(None, given.split("\n")):
        if not _PARAMETER.fullmatch(line):
            raise ModelError(f"its parameters have a line {line[:40]!r}")


def _counts(header: Mapping[str, str], trees: int) -> tuple[int, list[str]]:
    """How many features there are, and the trees' sizes."""
    features = _whole(header.get("max_feature_idx", ""), "max_feature_idx") + 1
    if features != len(header.get("feature_names", "").split(" ")):
        raise ModelError(f"max_feature_idx says {features} features, feature_names others")
    sizes = header.get("tree_sizes", "").split()
    if len(sizes) != trees:
        raise ModelError(f"tree_sizes has {len(sizes)} entries for {trees} trees")
    return features, sizes


def _check_tree(number: int, tree: str, size: str, features: int) -> None:
    # The line break that parts it from the next one was taken to split by, and is its own.
    written = len(tree.rstrip("\n").encode())
    if not 0 <= _whole(size, "tree_sizes") - written <= 3 or not tree.startswith(
        f"Tree={number}\n"
    ):
        raise ModelError("it is not as long, or not where, the header says")
    fields = _fields(tree)
    leaves = _whole(fields.get("num_leaves", ""), "num_leaves")
    if not 1 <= leaves <= LARGEST:
        raise ModelError(f"it has {leaves} leaves")
    _numbers(fields, "leaf_value", leaves, finite=True)
    _check_lines(fields, leaves)
    if leaves > 1:
        _check_splits(fields, leaves - 1, features)
        _check_shape(fields, leaves)
    if fields.get("is_linear", "0") != "0":
        _check_linear(fields, leaves, features)


def _check_lines(fields: Mapping[str, str], leaves: int) -> None:
    """Names of all lines, and the counts of those that are not looked at closer."""
    if unknown := sorted(set(fields) - _KNOWN):
        raise ModelError(f"it has a line {unknown[0][:40]!r}, which no tree has")
    for count, names in ((leaves, _OF_LEAVES), (leaves - 1, _OF_SPLITS)):
        for name in names:
            # Older versions write fewer of these lines; a tree of one leaf has them empty.
            if fields.get(name):
                _numbers(fields, name, count)


def _check_splits(fields: Mapping[str, str], splits: int, features: int) -> None:
    _numbers(fields, "threshold", splits)
    kinds = _wholes(fields, "decision_type", splits)
    used = _wholes(fields, "split_feature", splits)
    if not all(0 <= place < features for place in used):
        raise ModelError(f"split_feature: there are {features} features")
    if not all(0 <= kind < 12 for kind in kinds):
        raise ModelError("decision_type has an entry that is no kind of split")
    categories = _whole(fields.get("num_cat", "0"), "num_cat")
    if categories < 1:
        if any(kind & 1 for kind in kinds):
            raise ModelError("it splits by category and has none")
        return
    bounds = _wholes(fields, "cat_boundaries", categories + 1)
    words = _wholes(fields, "cat_threshold", bounds[-1])
    if bounds[0] != 0 or bounds != sorted(bounds) or not all(0 <= w < 2**32 for w in words):
        raise ModelError("cat_boundaries or cat_threshold is no set of categories")
    for kind, place in zip(kinds, fields["threshold"].split(), strict=True):
        if kind & 1 and not 0 <= float(place) < categories:
            raise ModelError(f"it splits by category set {place} of {categories}")


def _check_linear(fields: Mapping[str, str], leaves: int, features: int) -> None:
    """Leaves that are linear: how many features each has, which, and their coefficients."""
    counts = _wholes(fields, "num_features", leaves)
    if not all(0 <= count <= features for count in counts):
        raise ModelError(f"num_features: there are {features} features")
    _numbers(fields, "leaf_const", leaves, finite=True)
    _numbers(fields, "leaf_coeff", sum(counts), finite=True)
    used = _wholes(fields, "leaf_features", sum(counts))
    if not all(0 <= place < features for place in used):
        raise ModelError(f"leaf_features: there are {features} features")


def _check_shape(fields: Mapping[str, str], leaves: int) -> None:
    """Every node but the root is the child of one node: no cycle, and nothing out of reach.

    A child below 0 is a leaf: -1 is leaf 0.
    """
    left, right = (_wholes(fields, f"{side}_child", leaves - 1) for side in ("left", "right"))
    if sorted([*left, *right]) != [*range(-leaves, 0), *range(1, leaves - 1)]:
        raise ModelError("its nodes make no tree: a child is missing, or has two parents")
    # One parent each: what the root does not reach goes round in a circle.
    reached, waiting = 0, [0]
    while waiting:
        node = waiting.pop()
        reached += 1
        waiting.extend(child for child in (left[node], right[node]) if child >= 0)
    if reached != leaves - 1:
        raise ModelError("its nodes make no tree: some go round in a circle")


def _fields(part: str) -> dict[str, str]:
    """The lines by name, as LightGBM reads them: it would take the last of two, or stop between."""
    found: dict[str, str] = {}
    for line in part.rstrip("\n").split("\n"):
        key, _, value = line.partition("=")
        if key in found:
            raise ModelError(f"{key[:40]!r} is there twice")
        found[key] = value
    return found


def _entries(text: str) -> list[str]:
    if not text.isascii() or "_" in text:
        # Python would read 1_000, and digits of other scripts; LightGBM would not.
        raise ModelError(f"no number: {text[:40]!r}")
    return text.split()


def _whole(text: str, name: str) -> int:
    try:
        (entry,) = _entries(text)
        return int(entry)
    except ValueError:
        raise ModelError(f"{name} is no whole number: {text[:40]!r}") from None


def _wholes(fields: Mapping[str, str], name: str, count: int) -> list[int]:
    found = _entries(fields.get(name, ""))
    if len(found) != count:
        raise ModelError(f"{name} has {len(found)} entries for {count}")
    return [_whole(each, name) for each in found]


def _numbers(
    fields: Mapping[str, str], name: str, count: int, *, finite: bool = False
) -> list[float]:
    found = _entries(fields.get(name, ""))
    if len(found) != count:
        raise ModelError(f"{name} has {len(found)} entries for {count}")
    try:
        numbers = [float(each) for each in found]
    except ValueError:
        raise ModelError(f"{name} has an entry that is no number") from None
    if any(math.isnan(n) for n in numbers) or (finite and any(math.isinf(n) for n in numbers)):
        raise ModelError(f"{name} has an entry that is not a number, or infinite")
    return numbers
