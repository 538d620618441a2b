"""A model that is ready to serve: features, booster and decision bands of one bundle."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from workers.errors import Code, ModelError, Reject
from workers.models.booster import Booster, Matrix, Scorer
from workers.models.bundle import Bundle, Calibration, Isotonic, Manifest, Platt, Reasons
from workers.models.features import Counts, Features
from workers.models.reference import Reference
from workers.telemetry.steps import Lap, Step, untimed


@dataclass(frozen=True, slots=True)
class Scored:
    """One entry a row of the table: score, and place of the decision in `Model.decisions`.

    Rows of `rejections` have NaN. Rows of `failed` have features but no usable score: the worker's
    failure policy says what becomes of them. `missing` and `unseen` are those of `Featured`.
    """

    scores: npt.NDArray[np.float64]
    bands: npt.NDArray[np.intp]
    rejections: dict[int, Reject]
    failed: dict[int, str]
    matrix: Matrix
    missing: Counts
    unseen: Counts


_UNUSABLE = "the score is not a number in the declared range"
Reason = dict[str, str | float]
"""`code` and `contribution`, as the block has them."""


class Model:
    """Scores batches. Pure: the same rows give the same scores, whatever stands beside them."""

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        """Compile a bundle that `verify` has accepted.

        Raises:
            ModelError: booster and manifest do not fit each other.
        """
        self.manifest: Manifest = bundle.manifest
        self.reference: Reference | None = bundle.reference
        self._booster = Booster(bundle.booster, threads=threads)
        self._scorer: Scorer = self._booster
        self.not_compiled: str | None = None
        """Why LightGBM scores, where compiled trees were asked for."""
        if self._booster.outputs != 1:
            raise ModelError(f"{self._booster.outputs} scores a row; one is needed")
        self.features = Features(bundle.manifest.features, columns=self._booster.feature_names)
        self.decisions = [band.decision for band in bundle.manifest.decisions.bands]
        self._reasons = bundle.manifest.reasons
        self._codes, self._groups = _groups(self._reasons, self._booster.feature_names)
        self._starts = np.array([band.since for band in bundle.manifest.decisions.bands])

    @property
    def compiled(self) -> bool:
        """Does something else than LightGBM add up the trees?"""
        return self._scorer is not self._booster

    def scored_by(self, scorer: Scorer) -> Model:
        """The same model with its scores from a proven stand-in; reasons are LightGBM's still."""
        other = copy.copy(self)
        other._scorer = scorer
        return other

    def without_compiling(self, why: str) -> Model:
        """The same model, with the reason why LightGBM scores."""
        other = copy.copy(self)
        other.not_compiled = why
        return other

    def score(self, table: pa.RecordBatch, lap: Lap = untimed) -> Scored:
        """Score every row of a batch; no row can harm another."""
        featured = self.features.compute(table)
        lap(Step.FEATURES)
        scores = np.full(table.num_rows, np.nan)
        good = np.ones(table.num_rows, dtype=bool)
        good[list(featured.rejections)] = False
        failed: dict[int, str] = {}
        rows = np.flatnonzero(good)
        try:
            raw = self.predict(featured.matrix[rows])
            scores[rows] = calibrated(raw, self.manifest.calibration)
        except Exception as error:  # noqa: BLE001  # whatever LightGBM raises, the policy decides
            failed = dict.fromkeys(rows.tolist(), f"predict failed: {type(error).__name__}")
        lap(Step.PREDICT)
        low, high = self.manifest.score_range
        with np.errstate(invalid="ignore"):
            usable = (scores >= low) & (scores <= high)
        for row in np.flatnonzero(good & ~usable).tolist():
            failed.setdefault(row, _UNUSABLE)
            scores[row] = np.nan
        bands = np.searchsorted(self._starts, np.nan_to_num(scores, nan=low), side="right") - 1
        bands = np.maximum(bands, 0)
        return Scored(
            scores,
            bands,
            featured.rejections,
            failed,
            featured.matrix,
            featured.missing,
            featured.unseen,
        )

    def predict(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Scores of rows of features, before calibration."""
        return self._scorer.predict(matrix)

    def reasons(self, matrix: Matrix, decided: Sequence[str]) -> list[list[Reason]]:
        """The strongest contributions of each row whose decision asks for them, within the budget.

        `matrix` has a row for each of `decided`. Contributions of one code are added up.
        """
        found: list[list[Reason]] = [[] for _ in decided]
        if self._reasons is None:
            return found
        asked = [row for row, name in enumerate(decided) if name in self._reasons.decisions]
        asked = asked[: self._reasons.rows_per_batch]
        shares = self._booster.contributions(matrix[asked])[:, :-1] @ self._groups
        strongest = np.argsort(-np.abs(shares), axis=1, kind="stable")[:, : self._reasons.top]
        for place, row in enumerate(asked):
            found[row] = [
                {"code": self._codes[code], "contribution": float(shares[place, code])}
                for code in strongest[place].tolist()
                if shares[place, code] != 0
            ]
        return found


def calibrated(
    scores: npt.NDArray[np.float64], calibration: Calibration | None
) -> npt.NDArray[np.float64]:
    """Scores as the bundle's calibration maps them; NaN stays NaN."""
    match calibration:
        case None:
            return scores
        case Platt():
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                logit = np.log(scores) - np.log1p(-scores)
                found = 1 / (1 + np.exp(-(calibration.slope * logit + calibration.intercept)))
            return np.asarray(found, dtype=np.float64)
        case Isotonic():
            return np.interp(scores, calibration.scores, calibration.calibrated)


def _groups(reasons: Reasons | None, features: Sequence[str]) -> tuple[list[str], Matrix]:
    """Codes, and a matrix that adds up the columns of each: a row a feature, a column a code."""
    named = {} if reasons is None else reasons.codes
    of_feature = [named.get(feature, feature) for feature in features]
    codes = list(dict.fromkeys(of_feature))
    matrix = np.zeros((len(features), len(codes)))
    for row, code in enumerate(of_feature):
        matrix[row, codes.index(code)] = 1
    return codes, matrix


def model_rejection(why: str) -> Reject:
    """The verdict of a row whose model failed, where the policy is to dead-letter it."""
    return Reject(Code.SCORE_UNUSABLE if why == _UNUSABLE else Code.MODEL_FAILED, why)
