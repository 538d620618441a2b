"""Drift: how far what is served has moved from what a model was made with.

The population stability index of two spreads over the same bins, p of the reference and q of what
is served, is the sum of (q - p) * ln(q / p). A bin that is empty in one of them would make it
infinite, so half a row is added to every bin of both. Bins are those of the bundle's reference,
neighbours joined until each has one per cent of its rows (categories: all smaller ones together),
because bins with hardly a row in them make an index of noise. What was missing is a bin of its own,
and so are numbers below the reference's lowest and above its highest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from workers.models.bundle import Feature
from workers.models.features import Counts
from workers.models.model import Model, Scored
from workers.models.reference import Bins, Categories, Values

LEAST_SHARE = 0.01
"""Of the reference's rows: bins with less are joined."""
AT_ONCE = 500
"""Rows that are counted together, where batches are small."""
PANES = 12
"""Steps of the window: so much of it is forgotten at once."""


def psi(reference: Counts, served: Counts) -> float:
    """The index of two counts of the same bins; 0 where they are spread alike."""
    p = (reference + 0.5) / (reference.sum() + len(reference) / 2)
    q = (served + 0.5) / (served.sum() + len(served) / 2)
    return float(np.sum((q - p) * np.log(q / p)))


@dataclass(frozen=True, slots=True)
class Column:
    """The bins of a feature or of the scores, and the reference's rows in each; missing ones last.

    Numbers are told apart by `edges`, the lowest and just above the highest included; categories
    have the bin of each code in `bins`.
    """

    counts: Counts
    edges: Values | None = None
    bins: npt.NDArray[np.intp] | None = None

    def places(self, values: Values) -> npt.NDArray[np.intp]:
        """The bin of each value."""
        missing = np.isnan(values)
        if self.bins is not None:
            codes = np.where(missing, -1, values).astype(np.intp)
            found = self.bins[codes]
        else:
            found = np.searchsorted(np.asarray(self.edges), values, side="right")
        found[missing] = len(self.counts) - 1
        return found


def column_of(spread: Bins | Categories) -> Column:
    """The bins of a reference's spread, joined."""
    counts = np.asarray(spread.counts, dtype=np.int64)
    least = LEAST_SHARE * (counts.sum() + spread.missing)
    if isinstance(spread, Categories):
        large = counts >= least
        bins = np.where(large, np.cumsum(large) - 1, np.count_nonzero(large)).astype(np.intp)
        # A place more, at the end, so that a code of -1 has one too.
        bins = np.append(bins, 0)
        joined = np.bincount(bins[:-1], counts).astype(np.int64)
        return Column(np.append(joined, spread.missing), bins=bins)
    kept, row = list[int](), 0
    for place, count in enumerate(counts.tolist()):
        row += count
        if row >= least:
            kept.append(place + 1)
            row = 0
    if not kept or kept[-1] != len(counts):
        # What is left over at the end goes to the last one.
        kept[-1:] = [len(counts)]
    starts = [0, *kept[:-1]]
    joined = np.add.reduceat(counts, starts).tolist()
    beyond = np.nextafter(spread.edges[-1], np.inf)
    edges = np.array([*(spread.edges[start] for start in starts), beyond])
    return Column(np.array([0, *joined, 0, spread.missing], dtype=np.int64), edges=edges)


@dataclass(slots=True)
class _PaneState:
    """What was served in a step of the window."""

    since: float
    counts: Counts
    rows: int = 0
    missing: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    unseen: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class DriftFigures:
    """A window. Indices only where it has enough rows: `looked_at` of them.

    `missing` and `unseen` are parts of all `rows`, by feature; the latter of categories alone.
    """

    rows: int
    looked_at: int
    score: float | None
    features: Mapping[str, float]
    missing: Mapping[str, float]
    unseen: Mapping[str, float]


@dataclass(slots=True)
class _AllowanceState:
    """How many rows may be looked at: so many a second, those of one second saved up."""

    rate: int
    saved: float
    at: float = -math.inf

    def take(self, rows: int, now: float) -> int:
        """Some of these, or all, or none."""
        self.saved = min(float(self.rate), self.saved + self.rate * min(now - self.at, 1.0))
        self.at = now
        taken = min(rows, int(self.saved))
        self.saved -= taken
        return taken


def _fits(feature: Feature, spread: Bins | Categories | None) -> bool:
    """Is this a reference of that feature? No check of a bundle says so."""
    if isinstance(spread, Categories):
        return len(spread.counts) == len(feature.categories)
    return spread is not None and not feature.categories


class DriftState:
    """A window over what one version of a model serves."""

    def __init__(self, model: Model, *, window: float, rows_per_second: int, least: int) -> None:
        """`window` in seconds. A model without reference has no indices."""
        self.version = model.manifest.version
        self._features = model.features.ordered
        self._pane = window / PANES
        self._allowance = _AllowanceState(rows_per_second, rows_per_second)
        self._least = least
        self._watched: list[int] = []
        """Features that the reference has, by their place."""
        self._columns: list[Column] = []
        if (reference := model.reference) is not None:
            found = reference.features
            fits = [_fits(feature, found.get(feature.name)) for feature in self._features]
            self._watched = np.flatnonzero(fits).tolist()
            spreads = [found[self._features[place].name] for place in self._watched]
            self._columns = [column_of(spread) for spread in (*spreads, reference.scores)]
        sizes = [len(column.counts) for column in self._columns]
        self._starts = np.cumsum([0, *sizes])
        self._panes: list[_PaneState] = []
        self._waiting: list[tuple[Values, Values]] = []
        self._waits = 0

    def feed(self, served: Scored, now: float) -> None:
        """Take note of what was asked and said; `now` in seconds that never go back."""
        pane = self._current(now)
        pane.rows += len(served.scores)
        pane.missing += served.missing
        pane.unseen += served.unseen
        if not self._columns:
            return
        scored = np.flatnonzero(~np.isnan(served.scores))
        if not (taken := self._allowance.take(len(scored), now)):
            return
        rows = scored[:: -(-len(scored) // taken)]
        self._waiting.append((served.matrix[rows], served.scores[rows]))
        self._waits += len(rows)
        if self._waits >= AT_ONCE:
            self._count(pane)

    def _count(self, pane: _PaneState) -> None:
        """Count the rows that wait: what that costs is hardly by row."""
        if not self._waiting:
            return
        matrices, columns = zip(*self._waiting, strict=True)
        matrix, scores = np.concatenate(matrices), np.concatenate(columns)
        self._waiting, self._waits = [], 0
        places = [
            column.places(values) + start
            for column, values, start in zip(
                self._columns, [*matrix.T[self._watched], scores], self._starts[:-1], strict=True
            )
        ]
        pane.counts += np.bincount(np.concatenate(places), minlength=int(self._starts[-1]))

    def figures(self, now: float) -> DriftFigures:
        """The window as it is now."""
        self._count(self._current(now))
        rows = sum(pane.rows for pane in self._panes)
        counts = np.sum([pane.counts for pane in self._panes], axis=0)
        parts = [counts[a:b] for a, b in zip(self._starts, self._starts[1:], strict=False)]
        looked_at = int(parts[-1].sum()) if parts else 0
        indices: list[float] = []
        if looked_at >= self._least:
            indices = [psi(c.counts, part) for c, part in zip(self._columns, parts, strict=True)]
        names = [feature.name for feature in self._features]
        missing = np.sum([pane.missing for pane in self._panes], axis=0) / max(rows, 1)
        unseen = np.sum([pane.unseen for pane in self._panes], axis=0) / max(rows, 1)
        kinds = zip(self._features, unseen.tolist(), strict=True)
        return DriftFigures(
            rows=rows,
            looked_at=looked_at,
            score=indices[-1] if indices else None,
            features={names[at]: index for at, index in zip(self._watched, indices, strict=False)},
            missing=dict(zip(names, missing.tolist(), strict=True)) if rows else {},
            unseen={f.name: part for f, part in kinds if f.categories} if rows else {},
        )

    def _current(self, now: float) -> _PaneState:
        self._panes = [pane for pane in self._panes if now - pane.since < self._pane * PANES]
        if not self._panes or now - self._panes[-1].since >= self._pane:
            counts = np.zeros(int(self._starts[-1]), dtype=np.int64)
            none = np.zeros(len(self._features), dtype=np.int64)
            self._panes.append(_PaneState(now, counts, 0, none, none.copy()))
        return self._panes[-1]
