"""The rows of a training by what they are for, wherever they are kept."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from workers.errors import ModelError
from workers.feedback.quality.measures import Values
from workers.models.bundle import Feature
from workers.models.learning import Parameters
from workers.topology.feedback import Retrain

HELD = 0.2
"""Part of the training rows, the later ones, that a search's trials are judged on."""
SAMPLED = 250_000
"""Training rows that the bundle's reference is counted on at most: every second, third, … row."""


class Part(StrEnum):
    """What rows are for. Those that are held are training rows too, once a search is over."""

    TRAIN = "train"
    HELD = "held"
    CALIBRATE = "calibrate"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Cuts:
    """Numbers of the rows that parts begin at, in the order of their events."""

    held: int
    calibrate: int
    test: int
    end: int

    def of(self, part: Part) -> tuple[int, int]:
        """The part's first row, and the one after its last."""
        return {
            Part.TRAIN: (0, self.calibrate),
            Part.HELD: (self.held, self.calibrate),
            Part.CALIBRATE: (self.calibrate, self.test),
            Part.TEST: (self.test, self.end),
        }[part]

    @property
    def stride(self) -> int:
        """Of the training rows every how manieth is sampled."""
        return max(1, -(-self.calibrate // SAMPLED))


def cuts(settings: Retrain, count: int) -> Cuts:
    """By the time of events: what a model is judged on is later than all it has learned from."""
    test = int(count * (1 - settings.test))
    learned = int(test - count * settings.calibrate)
    return Cuts(int(learned * (1 - HELD)), learned, test, count)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a training says of its rows; `since` and `until` are of what the model learned from.

    `effective` is how many training rows that count alike would be as good; None where they do.
    """

    rows: int
    since: datetime.datetime
    until: datetime.datetime
    versions: Sequence[str]
    left_out: Mapping[str, int]
    effective: float | None


class TrainingRows(Protocol):
    """Labelled rows, cut into parts. Matrices stay where they are; scores and labels come here."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """With the categories that came up since."""
        ...

    @property
    def summary(self) -> Summary:
        """What is said of them."""
        ...

    def trees(self, parameters: Parameters, *, search: bool) -> str:
        """A booster's text, of the training rows; in a search without those that are held.

        Raises:
            ModelError: it cannot be trained.
        """
        ...

    def happened(self, part: Part) -> float:
        """The share of labels that are 1; not of HELD."""
        ...

    def labels(self, part: Part) -> Values:
        """0 or 1 a row; not of TRAIN."""
        ...

    def weights(self, part: Part) -> Values | None:
        """A weight a row, or None where they count alike; not of TRAIN."""
        ...

    def scores(self, text: str, part: Part) -> Values:
        """A booster's score a row; not of TRAIN."""
        ...

    def sample(self) -> Values:
        """Every `stride`th training row, with a column a feature."""
        ...


def enough(settings: Retrain, count: int, left_out: Mapping[str, int]) -> Cuts:
    """Where so many rows are cut.

    Raises:
        ModelError: there are too few of them.
    """
    if count < settings.min_rows:
        raise ModelError(
            f"{count:,} labelled decisions; retrain.min_rows is {settings.min_rows:,}. "
            f"Left out: {dict(left_out) or 'none'}"
        )
    return cuts(settings, count)
