"""What a booster's text says of its features, read without LightGBM.

LightGBM's own parser can abort the process on a damaged file; this one only refuses. The format is
that of `GBDT::SaveModelToString` and `Tree::ToString` (LightGBM, src/boosting/gbdt_model_text.cpp
and src/io/tree.cpp, format v3 and v4).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from workers.errors import ModelError

PANDAS = "pandas_categorical:"
_CATEGORICAL = 1
_WORD = 32


@dataclass(frozen=True, slots=True)
class Split:
    """`code` is the highest category that goes left; None where it splits by a number."""

    feature: int
    gain: float
    code: int | None


@dataclass(frozen=True)
class BoosterText:
    """`infos` has an entry a feature: `[low:high]`, `code:code:…`, or `none` where it is unused."""

    names: tuple[str, ...]
    infos: tuple[str, ...]
    pandas_categories: tuple[tuple[str, ...], ...] | None
    """Where it was trained on a pandas table: the categories of each categorical column."""
    trees: tuple[dict[str, str], ...] = field(repr=False)

    @cached_property
    def gain(self) -> dict[str, float]:
        """What the splits of each feature gained in all, as `feature_importance("gain")`."""
        gains = dict.fromkeys(self.names, 0.0)
        for split in self._splits():
            gains[self._name(split.feature)] += split.gain if 0 < split.gain < math.inf else 0.0
        return gains

    @cached_property
    def highest_code(self) -> dict[str, int]:
        """The highest category code that the booster knows, of each feature that is categorical."""
        found = {
            name: max(_codes(info))
            for name, info in zip(self.names, self.infos, strict=True)
            if not info.startswith("[") and info != "none"
        }
        for split in self._splits():
            if split.code is not None:
                name = self._name(split.feature)
                found[name] = max(split.code, found.get(name, -1))
        return found

    @cached_property
    def numeric(self) -> frozenset[str]:
        """Features that it was trained with, or splits by, as numbers."""
        known = {n for n, info in zip(self.names, self.infos, strict=True) if info.startswith("[")}
        return frozenset(
            known | {self._name(split.feature) for split in self._splits() if split.code is None}
        )

    def _splits(self) -> Iterator[Split]:
        for tree in self.trees:
            yield from _splits(tree)

    def _name(self, place: int) -> str:
        if not 0 <= place < len(self.names):
            raise ModelError(f"the booster splits by feature {place}; it has {len(self.names)}")
        return self.names[place]


def read_text(text: str) -> BoosterText:
    """Read the header, the trees' splits and the pandas categories of a booster's text.

    Raises:
        ModelError: it is no booster's text, or its parts do not fit each other; says what is wrong.
    """
    refuse_other_formats(text)
    parts = text.split("\n\nTree=")
    header = _fields(parts[0])
    names = tuple(header.get("feature_names", "").split(" "))
    infos = tuple(header.get("feature_infos", "").split(" "))
    if len(names) != len(infos) or not all(names):
        raise ModelError(
            f"the booster's text names {len(names)} features and describes {len(infos)}; save it "
            "again with booster.save_model(file)"
        )
    trees = tuple(_fields(part) for part in parts[1:])
    return BoosterText(names, infos, _pandas(text), trees)


def refuse_other_formats(text: str) -> None:
    """Only text that LightGBM wrote is a booster here: a pickle runs code when it is loaded.

    Raises:
        ModelError: it is a JSON dump, or anything else; says what to call.
    """
    if text.startswith("tree\n"):
        return
    remedy = "save it with booster.save_model('model.txt')"
    if text.lstrip().startswith("{"):
        raise ModelError(
            f"this is JSON, as dump_model gives it, which LightGBM cannot read: {remedy}"
        )
    raise ModelError(
        f"this is not the text of a LightGBM model, which begins with `tree`: {remedy}"
    )


def text_of(content: bytes) -> str:
    """A booster file's text.

    Raises:
        ModelError: a pickle, a compressed file or another that is no text; says what to call.
    """
    remedy = (
        "save the model with booster.save_model('model.txt') (scikit-learn: "
        "model.booster_.save_model('model.txt'))"
    )
    # Protocol 2 and later begin so; joblib's compressed pickles are zlib, gzip, bz2, xz or lz4.
    if content.startswith((b"\x80", b"x\x9c", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x04\x22M\x18")):
        raise ModelError(f"this is a pickle or a compressed file, which is never loaded: {remedy}")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"this is not text: {remedy}") from error
    refuse_other_formats(text)
    return text


def _fields(part: str) -> dict[str, str]:
    lines = (line.partition("=") for line in part.split("\n\n", 1)[0].splitlines())
    return {key: value for key, equals, value in lines if equals}


def _pandas(text: str) -> tuple[tuple[str, ...], ...] | None:
    last = text.rstrip().rpartition("\n")[2]
    if not last.startswith(PANDAS):
        return None
    try:
        found = json.loads(last.removeprefix(PANDAS))
        return None if not found else tuple(tuple(map(str, each)) for each in found)
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"the booster's {PANDAS} line is not a list of lists") from error


def _codes(info: str) -> list[int]:
    try:
        return [int(code) for code in info.split(":")]
    except ValueError as error:
        raise ModelError(f"the booster describes a feature as {info[:40]!r}") from error


def _splits(tree: dict[str, str]) -> Iterator[Split]:
    """The splits of a tree, in its own order.

    Raises:
        ModelError: its lines contradict each other.
    """
    try:
        columns = [
            tree.get(key, "").split() for key in ("split_feature", "split_gain", "threshold")
        ]
        kinds = tree.get("decision_type", "").split()
        bounds, words = (tree.get(key, "").split() for key in ("cat_boundaries", "cat_threshold"))
        for feature, gain, threshold, kind in zip(*columns, kinds, strict=True):
            by_category = int(kind) & _CATEGORICAL
            code = _highest(bounds, words, int(float(threshold))) if by_category else None
            yield Split(int(feature), float(gain), code)
    except (ValueError, OverflowError) as error:
        raise ModelError("the lines of a tree in the booster contradict each other") from error


def _highest(bounds: list[str], words: list[str], which: int) -> int:
    """The highest category of a split: bits of the words from one boundary to the next."""
    start, end = (int(bound) for bound in bounds[which : which + 2])
    bits = [int(word).bit_length() for word in words[start:end]]
    return max((place * _WORD + bit - 1 for place, bit in enumerate(bits) if bit), default=-1)
