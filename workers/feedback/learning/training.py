"""One training: trees, calibration, decisions, each from its own part of the rows."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from workers.errors import ModelError
from workers.feedback.learning.rows import Logged
from workers.feedback.learning.tuning import tuned
from workers.feedback.opening import Loop
from workers.feedback.quality import measures
from workers.feedback.quality.costs import cheapest_bands
from workers.feedback.quality.measures import Values
from workers.models.booster import Booster
from workers.models.bundle import Bundle, Calibration, Decisions, Feature, FeatureType, Training
from workers.models.fitting import fit_platt, log_loss
from workers.models.learning import Parameters, train
from workers.models.model import calibrated

DEFAULTS: Parameters = {"num_leaves": 31, "learning_rate": 0.1}


@dataclass(frozen=True, slots=True)
class Parts:
    """Rows by what they are for, in the order of their events."""

    train: Logged
    calibrate: Logged
    test: Logged

    @property
    def until(self) -> datetime.datetime:
        """After the last event that the model has learned anything from."""
        last: datetime.datetime = self.calibrate.judged.frame["event_at"][-1]
        return last + datetime.timedelta(milliseconds=1)

    @property
    def since(self) -> datetime.datetime:
        """The first event."""
        first: datetime.datetime = self.train.judged.frame["event_at"][0]
        return first


def split(loop: Loop, rows: Logged) -> Parts:
    """By the time of events: what a model is judged on is later than all it has learned from."""
    settings, count = loop.feedback.retrain, len(rows)
    test = int(count * (1 - settings.test))
    learned = int(test - count * settings.calibrate)
    return Parts(rows.part(0, learned), rows.part(learned, test), rows.part(test, count))


@dataclass(frozen=True, slots=True)
class Made:
    """What a training has made."""

    text: str
    features: tuple[Feature, ...]
    calibration: Calibration | None
    decisions: Decisions
    training: Training
    parameters: Parameters
    metrics: dict[str, float]
    matrix: Values
    scores: Values


class Trainer:
    """One training."""

    def __init__(
        self, loop: Loop, bundle: Bundle, features: tuple[Feature, ...], parts: Parts
    ) -> None:
        self._loop = loop
        self._bundle = bundle
        self._features = features
        self._parts = parts
        self._settings = loop.feedback.retrain

    def make(self) -> Made:
        """Trees, calibration and decisions; measured on the rows after all of them."""
        parts, settings = self._parts, self._settings
        for part in (parts.train, parts.calibrate, parts.test):
            if not 0 < part.labels.mean() < 1:
                raise ModelError(
                    "a part of the rows has outcomes of one kind alone; widen `window`"
                )
        matrix, labels = parts.train.matrix(self._features), parts.train.labels
        parameters: Parameters = {**DEFAULTS, **settings.parameters}
        if settings.tune is not None:
            parameters = tuned(settings, parameters, self._trees, matrix, labels)
        text = self._trees(matrix, labels, parameters)
        calibration = self._calibration(text)
        decisions = cheapest_bands(
            self._loop.feedback.cost, self._bundle.manifest.decisions.fallback
        )
        training = Training(
            since=parts.since,
            until=parts.until,
            rows=len(parts.train) + len(parts.calibrate),
            seed=settings.seed,
        )
        scores = calibrated(self._raw(text, matrix), calibration)
        return Made(
            text,
            self._features,
            calibration,
            decisions or self._bundle.manifest.decisions,
            training,
            parameters,
            self._measured(text, calibration),
            matrix,
            scores,
        )

    def _trees(self, matrix: Values, labels: Values, parameters: Parameters) -> str:
        settings = self._settings
        categorical = [f.name for f in self._features if f.type is FeatureType.CATEGORICAL]
        return train(
            matrix,
            labels,
            names=[feature.name for feature in self._features],
            categorical=categorical,
            parameters=parameters,
            rounds=settings.rounds,
            seed=settings.seed,
            threads=settings.threads,
        )

    def _raw(self, text: str, matrix: Values) -> Values:
        return Booster(text, threads=self._settings.threads).predict(matrix)

    def _calibration(self, text: str) -> Calibration | None:
        """Platt's line, if fitted to the first half it makes the second likelier than none."""
        part = self._parts.calibrate
        raw, labels = self._raw(text, part.matrix(self._features)), part.labels
        half = len(raw) // 2
        try:
            tried = fit_platt(raw[:half], labels[:half])
            if log_loss(calibrated(raw[half:], tried), labels[half:]) >= log_loss(
                raw[half:], labels[half:]
            ):
                return None
            return fit_platt(raw, labels)
        except ModelError:
            return None

    def _measured(self, text: str, calibration: Calibration | None) -> dict[str, float]:
        part = self._parts.test
        scores = calibrated(self._raw(text, part.matrix(self._features)), calibration)
        error = measures.calibration_error(measures.calibration(part.labels, scores))
        return {
            "test_rows": float(len(part)),
            "test_auc": round(measures.auc(part.labels, scores).value, 6),
            "test_log_loss": round(measures.log_loss(part.labels, scores).value, 6),
            "test_brier": round(measures.brier(part.labels, scores).value, 6),
            "test_calibration_error": round(error, 6),
        }
