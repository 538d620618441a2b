"""A seat: one block's model with its rules, its canary and its fallback."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workers.enrich.batch import NOTHING, Batch, Explained
from workers.enrich.policy import Effort
from workers.enrich.reading import Rows
from workers.enrich.rules import Places, Rules
from workers.errors import Reject
from workers.models.model import Model, Scored
from workers.models.serving import Serving
from workers.telemetry.steps import Lap, untimed
from workers.topology import RuleSet

Column = npt.NDArray[np.object_]
CHAMPION, CHALLENGER = "champion", "challenger"


@dataclass(slots=True)
class OpinionState:
    """What a seat says of each place of `Rows`, by columns, while it is found out.

    `scores` has NaN where there is none; `without` has the reason where the decision was made
    without the model, and `marked` says whether any has; places of `failed` were asked about and
    got no usable score. `asked` is what the champion was given and said, `challenged` the places
    that a canary's challenger decided. `explained`: what its reasons took.
    """

    scores: npt.NDArray[np.float64]
    decisions: Column
    versions: Column
    arms: Column
    without: Column
    rules: Column
    reasons: list[Any]
    rejections: dict[int, Reject]
    failed: dict[int, str]
    marked: bool = False
    asked: Scored | None = None
    challenged: Places | None = None
    explained: Explained = NOTHING

    @classmethod
    def empty(cls, rows: int, version: str) -> OpinionState:
        """Nothing yet."""
        none = np.full(rows, None, dtype=object)
        return cls(
            scores=np.full(rows, np.nan),
            decisions=none.copy(),
            versions=np.full(rows, version, dtype=object),
            arms=np.full(rows, CHAMPION, dtype=object),
            without=none.copy(),
            rules=none.copy(),
            reasons=[[]] * rows,
            rejections={},
            failed={},
        )

    @property
    def changed(self) -> Column | None:
        """Places where a rule, a challenger or nothing of a model decided; None: there are none."""
        found: Column = (
            (self.arms != CHAMPION) | (self.rules != None) | (self.without != None)  # noqa: E711
        )
        return found if found.any() else None


@dataclass(frozen=True, slots=True)
class Given:
    """What a seat is given beside the rows: opinions of seats that its rules may look at, which
    places are stale, where that matters, and whom to tell of its steps.
    """

    others: Mapping[str, OpinionState]
    stale: npt.NDArray[np.bool_] | None = None
    lap: Lap = untimed


class Seat:
    """Decides for every place of a batch, and says for each how."""

    def __init__(self, name: str, serving: Serving, rules: RuleSet, others: Sequence[str]) -> None:
        """`others` are the blocks that are decided before this one: its rules may look at them.

        Raises:
            ModelError: a rule is not SQL.
        """
        self.name = name
        self.serving = serving
        self.before = Rules(rules.before)
        given = [f"{other}_{what}" for other in others for what in ("score", "decision")]
        self.after = Rules(rules.after, ["score", "decision", *given])

    @property
    def fields(self) -> frozenset[str]:
        """Fields of the event that its rules read."""
        return self.before.fields | self.after.fields

    def bypass(self, why: str | None) -> None:
        """From now on decide without the model; None: with it."""
        self.serving = replace(self.serving, bypass=why)

    def decide(self, batch: Batch, rows: Rows, effort: Effort, given: Given) -> OpinionState:
        """An opinion of every place; nothing of what is wrong with one harms another."""
        manifest = self.serving.model.manifest
        found = OpinionState.empty(len(rows.rows), manifest.version)
        left = self._ruled(rows, found) if self.before else None
        if given.stale is not None:
            left = self._too_old(given.stale, left, found)
        if self.serving.bypass is not None or not effort.model:
            self._without(found, left)
        else:
            self._asked(batch, rows, left, found, effort, given.lap)
        if self.after:
            self._overruled(rows, left, found, given.others)
        return found

    def _ruled(self, rows: Rows, found: OpinionState) -> Places:
        """Decide what rules decide; the places that are left."""
        rule, found.rejections = self.before.first(rows.table)
        decided = np.flatnonzero(rule >= 0)
        found.decisions[decided] = self.before.decisions[rule[decided]]
        found.rules[decided] = self.before.names[rule[decided]]
        found.without[decided] = "rule"
        found.marked = True
        open_ = rule < 0
        open_[list(found.rejections)] = False
        return np.flatnonzero(open_)

    def _too_old(
        self, stale: npt.NDArray[np.bool_], left: Places | None, found: OpinionState
    ) -> Places:
        """Decide stale events without the model; the places that are left."""
        places = np.arange(len(stale)) if left is None else left
        old = places[stale[places]]
        found.decisions[old] = self.serving.model.manifest.decisions.fallback
        found.without[old] = "stale"
        found.marked = True
        return places[~stale[places]]

    def _without(self, found: OpinionState, left: Places | None) -> None:
        why = "over_budget" if self.serving.bypass is None else "bypassed"
        places = slice(None) if left is None else left
        found.decisions[places] = self.serving.model.manifest.decisions.fallback
        found.without[places] = why
        found.marked = True

    def _asked(
        self,
        batch: Batch,
        rows: Rows,
        left: Places | None,
        found: OpinionState,
        effort: Effort,
        lap: Lap,
    ) -> None:
        canary = self.serving.canary
        if canary is not None and canary.share > 0:
            every = np.arange(len(rows.rows)) if left is None else left
            taken = self._taken(batch, rows, every, canary.share)
            trial = _Trial(canary.model, rows, taken, lap)
            good = trial.good
            trial.write(found, good, CHALLENGER, effort)
            # What the challenger cannot decide, the champion does: a canary takes nothing away.
            found.challenged = trial.places[good]
            left = np.setdiff1d(every, found.challenged, assume_unique=True)
        trial = _Trial(self.serving.model, rows, left, lap)
        found.asked = trial.scored
        trial.write(found, None, CHAMPION, effort)
        found.rejections |= trial.rejections
        found.failed |= trial.failed
        failed = list(trial.failed)
        found.decisions[failed] = self.serving.model.manifest.decisions.fallback
        found.without[failed] = "model_failed"
        found.marked |= bool(failed)

    def _taken(self, batch: Batch, rows: Rows, places: Places, share: float) -> Places:
        """Places whose key falls into the canary's share."""
        salt = self.serving.model.manifest.name.encode()[:16]
        taken = []
        for place in places.tolist():
            row = rows.rows[place]
            key = batch.keys[row]
            if key is None:
                key = b"%d:%d" % (batch.partitions[row], batch.offsets[row])
            if share_of(key, salt) < share:
                taken.append(place)
        return np.array(taken, dtype=np.intp)

    def _overruled(
        self,
        rows: Rows,
        left: Places | None,
        found: OpinionState,
        others: Mapping[str, OpinionState],
    ) -> None:
        """Rules after the model, over what no rule decided before it."""
        table = rows.table
        for name, opinion in {"": found, **{f"{n}_": o for n, o in others.items()}}.items():
            for what, column in (("score", opinion.scores), ("decision", opinion.decisions)):
                if f"{name}{what}" in table.schema.names:
                    # A field of the event: no rule reads both (Rules.check_fields).
                    continue
                kind = pa.float64() if what == "score" else pa.string()
                table = table.append_column(
                    f"{name}{what}", pa.array(column, kind, from_pandas=True)
                )
        rule, rejections = self.after.first(table)
        if left is not None:
            untouched = np.ones(len(rule), dtype=bool)
            untouched[left] = False
            rule[untouched] = -1
            rejections = {place: why for place, why in rejections.items() if not untouched[place]}
        decided = np.flatnonzero(rule >= 0)
        found.decisions[decided] = self.after.decisions[rule[decided]]
        found.rules[decided] = self.after.names[rule[decided]]
        found.rejections = {**rejections, **found.rejections}


class _Trial:
    """What one model says of some places."""

    def __init__(self, model: Model, rows: Rows, places: Places | None, lap: Lap) -> None:
        self._model = model
        read = rows.read(model.manifest.contract.version, places)
        self.places = read.places
        self.scored: Scored = model.score(read.table, lap)
        at = self.places
        self.rejections = {
            **read.rejections,
            **{int(at[row]): why for row, why in self.scored.rejections.items()},
        }
        self.failed = {int(at[row]): why for row, why in self.scored.failed.items()}

    @property
    def good(self) -> Places:
        """Numbers of its rows that have a score."""
        return np.flatnonzero(~np.isnan(self.scored.scores))

    def write(self, found: OpinionState, only: Places | None, arm: str, effort: Effort) -> None:
        """Put its rows, or only those numbers of them, into an opinion."""
        model, scored = self._model, self.scored
        every = only is None and len(self.places) == len(found.scores)
        places: Any = slice(None) if every else self.places if only is None else self.places[only]
        mine: Any = slice(None) if only is None else only
        decisions = np.array(model.decisions, dtype=object)[scored.bands[mine]]
        found.scores[places] = scored.scores[mine]
        found.decisions[places] = decisions
        found.versions[places] = model.manifest.version
        found.arms[places] = arm
        if effort.reasons and model.manifest.reasons is not None:
            began = effort.clock()
            rows = self._reason(found, mine, decisions)
            found.explained += Explained(rows, effort.clock() - began)

    def _reason(self, found: OpinionState, mine: Any, decisions: Column) -> int:
        """Give reasons to whoever asks for them; how many rows got some."""
        matrix = self.scored.matrix
        scores = self.scored.scores[mine]
        asked = ["" if np.isnan(s) else d for s, d in zip(scores, decisions, strict=True)]
        try:
            reasons = self._model.reasons(matrix[mine], asked)
        except Exception:  # noqa: BLE001  a decision without its reasons is still the decision
            # That they can be had at all was proven with the golden rows.
            return 0
        for place, given in zip(self.places[mine].tolist(), reasons, strict=True):
            found.reasons[place] = given
        return sum(map(bool, reasons))


def share_of(key: bytes, salt: bytes) -> float:
    """Where a key falls in [0, 1): always the same, and even; another salt, another order.

    BLAKE2b, RFC 7693. Keys below one share stay below a larger one, so a canary that grows keeps
    those it has.
    """
    digest = hashlib.blake2b(key, digest_size=8, salt=salt).digest()
    return int.from_bytes(digest, "big") / 2**64
