"""The gate: what a challenger must show, on outcomes that it has learned nothing from.

Both versions score the same logged rows, later than the last that the challenger was made with.
Each rule has a verdict in words; one that cannot be judged is not passed.
"""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from workers.errors import Halt, ModelError
from workers.feedback.dataset import Joiner, Window
from workers.feedback.learning.rows import Logged, labelled
from workers.feedback.opening import Loop
from workers.feedback.quality import measures
from workers.feedback.quality.drift import score_drift
from workers.feedback.quality.measures import Measure, Values
from workers.feedback.quality.weights import effective
from workers.models.bundle import Bundle
from workers.models.model import Model
from workers.topology.feedback import Gate
from workers.wiring import prove

TIMED = 20
"""Predictions that a latency is the fastest of."""
ROWS_TIMED = 4000


class GateShut(ModelError):  # noqa: N818  named as its siblings are
    """The challenger has not shown what the gate asks for; the text has the rules that failed."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule and what became of it."""

    name: str
    passed: bool
    said: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of a challenger; `champion` is None where there is none to compare with."""

    model: str
    challenger: str
    champion: str | None
    rows: int
    rules: tuple[Rule, ...]

    @property
    def passed(self) -> bool:
        """Every rule."""
        return all(rule.passed for rule in self.rules)

    def hold(self) -> None:
        """Raise GateShut unless every rule is passed."""
        if not self.passed:
            failed = "; ".join(f"{r.name}: {r.said}" for r in self.rules if not r.passed)
            raise GateShut(f"{self.model} version {self.challenger} is not promoted: {failed}")

    def __str__(self) -> str:
        """A line a rule, for people."""
        beside = f"version {self.champion}" if self.champion else "no champion"
        head = f"{self.model} version {self.challenger} beside {beside}, {self.rows:,} rows"
        lines = [f"  {'passed' if r.passed else 'FAILED'}  {r.name}: {r.said}" for r in self.rules]
        return "\n".join([head, *lines, "open" if self.passed else "shut"])


def gate(loop: Loop, challenger: str, as_of: datetime.datetime) -> Verdict:
    """Judge a version by what is known at `as_of`.

    Raises:
        ModelError: there is no such version, or a feature of it is not in the decision log.
    """
    name, store = loop.model.name, loop.store
    champion = store.served(name, "champion") or loop.model.version
    bundle = store.bundle(name, challenger)
    other = None if champion in (None, challenger) else store.bundle(name, str(champion))
    beside = champion if other else None
    # First of all, in a child process: what cannot be proven is not loaded here.
    proven = _golden(loop, bundle)
    if not proven.passed:
        return Verdict(name, challenger, beside, 0, (proven,))
    rows = _rows(loop, bundle, as_of)
    rules = _Judged(loop, bundle, other, rows).rules()
    return Verdict(name, challenger, beside, len(rows), (proven, *rules))


def _golden(loop: Loop, bundle: Bundle) -> Rule:
    manifest = bundle.manifest
    try:
        prove(loop.topology, manifest.name, manifest.version)
    except Halt as halt:
        return Rule("golden rows", passed=False, said=str(halt))
    said = f"{len(bundle.golden.rows)} reproduced, and every worker can serve it"
    return Rule("golden rows", passed=True, said=said)


def _rows(loop: Loop, bundle: Bundle, as_of: datetime.datetime) -> Logged:
    """Labelled decisions of events after the last that the challenger has learned from."""
    training, settings = bundle.manifest.training, loop.feedback.retrain
    since = as_of - datetime.timedelta(seconds=settings.window)
    if training is not None:
        since = max(since, training.until)
    joiner = Joiner(loop.log.place, loop.log.newest(), loop.feedback, loop.model.name)
    window = Window(since, max(since, as_of), as_of)
    return labelled(joiner, window, bundle.manifest.features, loop.feedback.segments)


class _Judged:
    """A challenger beside the champion, on the same rows."""

    def __init__(self, loop: Loop, bundle: Bundle, other: Bundle | None, rows: Logged) -> None:
        self._loop = loop
        self._settings: Gate = loop.feedback.gate
        self._bundle = bundle
        self._rows = rows
        self._labels: Values = rows.labels
        self._weights = rows.weights
        self._model = Model(bundle, threads=1)
        self._other = None if other is None else Model(other, threads=1)
        self._scores = _scores(self._model, rows)
        self._others = None if self._other is None else _scores(self._other, rows)

    def rules(self) -> Iterator[Rule]:
        """Every rule; those that compare are left out where there is nothing to compare with."""
        yield self._enough()
        yield self._calibration()
        yield self._size()
        yield self._drift()
        if self._other is None or self._others is None:
            return
        asked = (self._labels, self._scores, self._others, self._weights)
        auc, loss = measures.auc_difference(*asked), measures.log_loss_difference(*asked)
        yield self._at_least("AUC", auc, -self._settings.auc_margin)
        yield self._at_most("log loss", loss, self._settings.log_loss_margin)
        yield self._segments(self._others)
        yield self._latency(self._other)

    def _enough(self) -> Rule:
        needed, count = self._settings.min_rows, len(self._rows)
        kinds = len(np.unique(self._labels))
        text = f"{count:,} rows with an outcome, {needed:,} are needed"
        if self._weights is not None:
            # Few that weigh much know little: what counts is how many alike would know as much.
            count = int(effective(self._weights))
            text = f"{text}; by their weights they are as good as {count:,}"
        return Rule("rows", count >= needed and kinds == 2, text)

    def _calibration(self) -> Rule:
        limit = self._settings.calibration
        found = self._error(self._scores)
        if self._others is not None:
            limit = max(limit, _number(self._error(self._others)))
        passed = not math.isnan(found) and found <= limit
        return Rule("calibration", passed, f"expected error {found:.4f}, at most {limit:.4f}")

    def _error(self, scores: Values) -> float:
        bins = measures.calibration(self._labels, scores, self._weights)
        return measures.calibration_error(bins)

    def _size(self) -> Rule:
        size = self._bundle.manifest.booster.bytes / 1e6
        limit = self._settings.megabytes
        return Rule("size", size <= limit, f"booster of {size:.2f} MB, at most {limit:g}")

    def _at_least(self, name: str, found: Measure, limit: float) -> Rule:
        low, high = found.interval(self._settings.confidence)
        said = f"challenger less champion {found.value:+.4f} ({low:+.4f} to {high:+.4f})"
        return Rule(name, low >= limit, f"{said}, must be above {limit:+.4f}")

    def _at_most(self, name: str, found: Measure, limit: float) -> Rule:
        low, high = found.interval(self._settings.confidence)
        said = f"challenger less champion {found.value:+.4f} ({low:+.4f} to {high:+.4f})"
        return Rule(name, high <= limit, f"{said}, must be below {limit:+.4f}")

    def _segments(self, others: Values) -> Rule:
        """One that is worse with confidence fails; small ones are not judged."""
        worse, judged = [], 0
        for name in self._loop.feedback.segments if len(self._rows) else ():
            column = self._rows.judged.frame[f"segment.{name}"]
            for value in column.unique().sort().to_list():
                mine = (column == value).to_numpy()
                if mine.sum() < self._settings.segment_rows:
                    continue
                judged += 1
                some = (self._labels[mine], self._scores[mine], others[mine])
                weights = None if self._weights is None else self._weights[mine]
                found = measures.log_loss_difference(*some, weights)
                low, _ = found.interval(self._settings.confidence)
                if low > self._settings.segment_margin:
                    worse.append(f"{name} {value} by {found.value:.4f}")
        said = f"log loss is worse in {', '.join(worse)}" if worse else f"none of {judged} is worse"
        return Rule("segments", not worse, said)

    def _drift(self) -> Rule:
        """Do events now look to it like those that it was made with?"""
        reference, limit = self._bundle.reference, self._settings.drift
        if reference is None:
            return Rule("drift", passed=True, said="the bundle has no reference to compare with")
        found = score_drift(reference, self._scores)
        said = f"scores now against those of its training: index {found:.3f}, at most {limit:g}"
        return Rule("drift", found <= limit, said)

    def _latency(self, other: Model) -> Rule:
        limit, part = self._settings.latency, self._rows.part(0, min(len(self._rows), ROWS_TIMED))
        if not len(part):
            return Rule("latency", passed=False, said="there are no rows")
        mine, theirs = (
            _fastest(model, part.matrix(model.features.ordered)) for model in (self._model, other)
        )
        said = f"{mine / theirs:.2f} times the champion's prediction, at most {limit:g}"
        return Rule("latency", mine <= limit * theirs, said)


def _scores(model: Model, rows: Logged) -> Values:
    if not len(rows):
        return np.empty(0)
    return model.scores_of(rows.matrix(model.features.ordered))


def _fastest(model: Model, matrix: Values) -> float:
    """Seconds of the fastest of some predictions: what is beside us on the machine slows others."""
    spent: list[float] = []
    clock: Callable[[], float] = time.perf_counter
    for _ in range(TIMED):
        began = clock()
        model.scores_of(matrix)
        spent.append(clock() - began)
    return min(spent)


def _number(value: float) -> float:
    return 0.0 if math.isnan(value) else value
