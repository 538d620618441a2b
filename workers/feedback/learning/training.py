"""One training: trees, calibration, decisions, each from its own part of the rows."""

from __future__ import annotations

from dataclasses import dataclass

from workers.errors import ModelError
from workers.feedback.learning.parts import Part, TrainingRows
from workers.feedback.learning.tuning import tuned
from workers.feedback.opening import Loop
from workers.feedback.quality import measures
from workers.feedback.quality.costs import cheapest_bands
from workers.feedback.quality.measures import Values
from workers.feedback.quality.weights import effective
from workers.models.booster import Booster
from workers.models.bundle import Bundle, Calibration, Decisions, Feature, Training
from workers.models.fitting import fit_platt, log_loss
from workers.models.learning import Parameters
from workers.models.model import calibrated

DEFAULTS: Parameters = {"num_leaves": 31, "learning_rate": 0.1}


@dataclass(frozen=True, slots=True)
class Made:
    """What a training has made; `sample` and `scores` are of the same training rows."""

    text: str
    features: tuple[Feature, ...]
    calibration: Calibration | None
    decisions: Decisions
    training: Training
    parameters: Parameters
    metrics: dict[str, float]
    sample: Values
    scores: Values


class Trainer:
    """One training."""

    def __init__(self, loop: Loop, bundle: Bundle, rows: TrainingRows) -> None:
        self._loop = loop
        self._bundle = bundle
        self._rows = rows
        self._settings = loop.feedback.retrain

    def make(self) -> Made:
        """Trees, calibration and decisions; measured on the rows after all of them."""
        rows, settings = self._rows, self._settings
        for part in (Part.TRAIN, Part.CALIBRATE, Part.TEST):
            if not 0 < rows.happened(part) < 1:
                raise ModelError(
                    "a part of the rows has outcomes of one kind alone; widen `window`"
                )
        parameters = tuned(settings, {**DEFAULTS, **settings.parameters}, rows)
        text = rows.trees(parameters, search=False)
        calibration = self._calibration(text)
        decisions = cheapest_bands(
            self._loop.feedback.cost, self._bundle.manifest.decisions.fallback
        )
        said, sample = rows.summary, rows.sample()
        raw = Booster(text, threads=settings.threads).predict(sample)
        return Made(
            text,
            rows.features,
            calibration,
            decisions or self._bundle.manifest.decisions,
            Training(since=said.since, until=said.until, rows=said.rows, seed=settings.seed),
            parameters,
            self._measured(text, calibration),
            sample,
            calibrated(raw, calibration),
        )

    def _calibration(self, text: str) -> Calibration | None:
        """Platt's line, if fitted to the first half it makes the second likelier than none."""
        rows = self._rows
        raw, labels = rows.scores(text, Part.CALIBRATE), rows.labels(Part.CALIBRATE)
        weights, half = rows.weights(Part.CALIBRATE), len(raw) // 2
        first, second = (None, None) if weights is None else (weights[:half], weights[half:])
        try:
            tried = fit_platt(raw[:half], labels[:half], first)
            if log_loss(calibrated(raw[half:], tried), labels[half:], second) >= log_loss(
                raw[half:], labels[half:], second
            ):
                return None
            return fit_platt(raw, labels, weights)
        except ModelError:
            return None

    def _measured(self, text: str, calibration: Calibration | None) -> dict[str, float]:
        rows = self._rows
        labels, weights = rows.labels(Part.TEST), rows.weights(Part.TEST)
        scores = calibrated(rows.scores(text, Part.TEST), calibration)
        error = measures.calibration_error(measures.calibration(labels, scores, weights))
        weighed = {} if weights is None else {"test_effective_rows": round(effective(weights), 1)}
        return {
            "test_rows": float(len(labels)),
            **weighed,
            "test_auc": round(measures.auc(labels, scores, weights).value, 6),
            "test_log_loss": round(measures.log_loss(labels, scores, weights).value, 6),
            "test_brier": round(measures.brier(labels, scores, weights).value, 6),
            "test_calibration_error": round(error, 6),
        }
