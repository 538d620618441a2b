"""Training rows in the memory of this process."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from workers.feedback.learning.parts import Cuts, Part, Summary
from workers.feedback.learning.rows import Logged
from workers.feedback.quality.measures import Values
from workers.feedback.quality.weights import effective
from workers.models.booster import Booster
from workers.models.bundle import Feature, FeatureType
from workers.models.learning import Parameters, train
from workers.topology.feedback import Retrain

TICK = datetime.timedelta(milliseconds=1)


@dataclass(frozen=True)
class LocalRows:
    """All of them in one table. `TrainingRows` says what the methods promise."""

    rows: Logged
    features: tuple[Feature, ...]
    settings: Retrain
    cuts: Cuts

    @property
    def summary(self) -> Summary:
        """What is said of them."""
        frame, weights = self.rows.judged.frame, self._part(Part.TRAIN).weights
        return Summary(
            rows=self.cuts.test,
            since=frame["event_at"][0],
            until=frame["event_at"][self.cuts.test - 1] + TICK,
            versions=frame["model_version"].unique().sort().to_list(),
            left_out=self.rows.left_out,
            effective=None if weights is None else effective(weights),
        )

    def trees(self, parameters: Parameters, *, search: bool) -> str:
        """A booster's text."""
        rows = self.rows.part(0, self.cuts.held if search else self.cuts.calibrate)
        return train(
            rows.matrix(self.features),
            rows.labels,
            rows.weights,
            names=[feature.name for feature in self.features],
            categorical=categorical(self.features),
            parameters=parameters,
            rounds=self.settings.rounds,
            seed=self.settings.seed,
            threads=self.settings.threads,
        )

    def happened(self, part: Part) -> float:
        """The share of labels that are 1."""
        return float(self._part(part).labels.mean())

    def labels(self, part: Part) -> Values:
        """0 or 1 a row."""
        return self._part(part).labels

    def weights(self, part: Part) -> Values | None:
        """A weight a row, or None where they count alike."""
        return self._part(part).weights

    def scores(self, text: str, part: Part) -> Values:
        """A booster's score a row."""
        matrix = self._part(part).matrix(self.features)
        return Booster(text, threads=self.settings.threads).predict(matrix)

    def sample(self) -> Values:
        """Every `stride`th training row."""
        rows = self._part(Part.TRAIN)
        return rows.matrix(self.features)[:: self.cuts.stride]

    def _part(self, part: Part) -> Logged:
        return self.rows.part(*self.cuts.of(part))


def categorical(features: tuple[Feature, ...]) -> list[str]:
    """Names of the features that are codes."""
    return [f.name for f in features if f.type is FeatureType.CATEGORICAL]
