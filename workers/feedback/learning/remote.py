"""What runs on the workers of a Dask cluster: days are read, joined and cut where they are kept."""

from __future__ import annotations

import datetime
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from workers import __version__
from workers.feedback.collect import DECISIONS
from workers.feedback.dataset import Joiner, Window
from workers.feedback.lake.commits import Commit, Log
from workers.feedback.lake.place import open_place
from workers.feedback.learning.parts import Cuts, Part
from workers.feedback.learning.rows import Logged, category_counts, labelled
from workers.feedback.quality.measures import Values
from workers.models.booster import Booster
from workers.models.bundle import Feature
from workers.topology import Feedback

Places = npt.NDArray[np.int64]
"""Numbers of rows in the order of all events, over all workers."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which rows: those that the client would read itself, of the same commit and instant."""

    feedback: Feedback
    commit: int
    model: str
    window: Window
    features: tuple[Feature, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """What one worker's days have; `rows` has an entry a day."""

    rows: list[int]
    left_out: Counter[str]
    versions: set[str]
    categories: dict[str, Counter[str]]


@dataclass(frozen=True, slots=True)
class Piece:
    """One worker's rows of a part, in the order of their events; all entries are a row."""

    places: Places
    matrix: Values
    labels: Values
    weights: Values | None


@dataclass(frozen=True, slots=True)
class Facts:
    """Sums over one worker's rows of a part; `fitted` are those that no search holds back."""

    rows: int = 0
    fitted: int = 0
    ones: float = 0.0
    weight: float = 0.0
    squares: float = 0.0
    times: tuple[datetime.datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """One worker's rows, by part."""

    pieces: dict[Part, Piece]
    facts: dict[Part, Facts] = field(default_factory=dict)


def builds() -> dict[str, str]:
    """Versions that must be the same everywhere."""
    names = ("lightgbm", "numpy", "polars", "dask", "distributed")
    return {"enrichment-workers": __version__, **{name: version(name) for name in names}}


def quiet() -> None:
    """LightGBM's C code prints to standard output, which is the client's own where it forked us."""
    os.dup2(2, 1)


def read(asked: Asked, days: Sequence[datetime.date]) -> list[Logged]:
    """The labelled rows of each of the days, by the same join as everywhere."""
    place = open_place(asked.feedback.lake)
    commit = Log(place, asked.feedback.name).read(asked.commit)
    found = []
    for day in days:
        joiner = Joiner(place, only(commit, day), asked.feedback, asked.model)
        found.append(labelled(joiner, asked.window, asked.features))
    return found


def only(commit: Commit, day: datetime.date) -> Commit:
    """The commit with one day's decisions, and every outcome."""
    files = tuple(f for f in commit.files if f.table != DECISIONS or f.day == day)
    return commit.model_copy(update={"files": files})


def counted(days: Sequence[Logged], features: Sequence[Feature]) -> Counted:
    """What the client needs to know to cut them."""
    found = Counted([len(day) for day in days], Counter(), set(), {})
    for day in days:
        found.left_out.update(day.left_out)
        if not len(day):
            continue
        found.versions.update(day.judged.frame["model_version"].to_list())
        for name, counts in category_counts(features, day.features).items():
            found.categories.setdefault(name, Counter()).update(counts)
    return found


def cut(
    days: Sequence[Logged], starts: Sequence[int], cuts: Cuts, features: Sequence[Feature]
) -> Block:
    """Rows as matrices; `starts` has the number of each day's first row."""
    block = Block({})
    for part in (Part.TRAIN, Part.CALIBRATE, Part.TEST):
        first, end = cuts.of(part)
        found = list[tuple[int, Logged]]()
        for day, start in zip(days, starts, strict=True):
            low, high = max(first - start, 0), min(end - start, len(day))
            if low < high:
                found.append((start + low, day.part(low, high)))
        piece = _piece(found, features)
        block.pieces[part] = piece
        block.facts[part] = _facts(piece, found, cuts)
    return block


def _piece(found: Sequence[tuple[int, Logged]], features: Sequence[Feature]) -> Piece:
    if not found:
        none = np.empty(0)
        return Piece(np.empty(0, np.int64), np.empty((0, len(features))), none, none)
    weights = [rows.weights for _, rows in found]
    return Piece(
        np.concatenate([np.arange(at, at + len(rows)) for at, rows in found]),
        np.concatenate([rows.matrix(features) for _, rows in found]),
        np.concatenate([rows.labels for _, rows in found]),
        None if weights[0] is None else np.concatenate([w for w in weights if w is not None]),
    )


def _facts(piece: Piece, found: Sequence[tuple[int, Logged]], cuts: Cuts) -> Facts:
    weights = np.ones(len(piece.labels)) if piece.weights is None else piece.weights
    return Facts(
        rows=len(piece.labels),
        fitted=int((piece.places < cuts.held).sum()),
        ones=float(piece.labels.sum()),
        weight=float(weights.sum()),
        squares=float(np.square(weights).sum()),
        times=tuple(
            rows.judged.frame["event_at"][row] for _, rows in found for row in (0, len(rows) - 1)
        ),
    )


def facts(block: Block) -> dict[Part, Facts]:
    """Without the rows."""
    return block.facts


def column(block: Block, name: str, rows: int) -> Values | None:
    """Matrix, labels or weights of the first so many training rows."""
    found: Values | None = getattr(block.pieces[Part.TRAIN], name)
    return None if found is None else found[:rows]


def told(block: Block, part: Part, cuts: Cuts) -> tuple[Places, Values, Values | None]:
    """Places, labels and weights of a part."""
    piece = _of(block, part, cuts)
    return piece.places, piece.labels, piece.weights


def scored(block: Block, part: Part, cuts: Cuts, text: str, threads: int) -> Values:
    """A booster's scores of a part."""
    return Booster(text, threads=threads).predict(_of(block, part, cuts).matrix)


def sampled(block: Block, stride: int) -> tuple[Places, Values]:
    """Every so manieth training row, counted over all workers."""
    piece = block.pieces[Part.TRAIN]
    chosen = piece.places % stride == 0
    return piece.places[chosen], piece.matrix[chosen]


def _of(block: Block, part: Part, cuts: Cuts) -> Piece:
    if part is not Part.HELD:
        return block.pieces[part]
    piece = block.pieces[Part.TRAIN]
    held = piece.places >= cuts.held
    weights = None if piece.weights is None else piece.weights[held]
    return Piece(piece.places[held], piece.matrix[held], piece.labels[held], weights)
