"""manifest.json: what a model version says of itself."""

from __future__ import annotations

import math
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

MAX_FILE = 512 * 1024 * 1024
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Licence = Annotated[str, Field(pattern=r"^[A-Za-z0-9.+() -]{0,200}$")]
"""An SPDX licence expression: `Apache-2.0`, `MIT OR LicenseRef-internal`."""


class Part(BaseModel):
    """A part of a bundle's documents: no other keys, only finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FileEntry(Part):
    """A file of the bundle: its bytes are held to this size and digest."""

    file: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=1, le=MAX_FILE)]


class FeatureType(StrEnum):
    """Numbers as they are, or strings by their place in `categories`."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


class Feature(Part):
    """One column of the matrix."""

    name: str
    sql: str = Field(description="SQL scalar expression over the event's fields")
    type: FeatureType = FeatureType.NUMERIC
    categories: tuple[str, ...] = ()
    missing: Literal["nan", "reject"] | float = Field(
        default="nan",
        description="what null means: LightGBM's missing, a rejection, or this number",
    )
    range: tuple[float, float] | None = Field(
        default=None, description="a value outside is rejected"
    )

    @model_validator(mode="after")
    def _categories_fit(self) -> Self:
        if (self.type is FeatureType.CATEGORICAL) != bool(self.categories):
            raise ValueError("categories belong to a categorical feature, and it needs them")
        if len(set(self.categories)) != len(self.categories):
            raise ValueError("a category is listed twice")
        return self

    @model_validator(mode="after")
    def _numbers_fit(self) -> Self:
        low, high = self.range or (-math.inf, math.inf)
        if low > high:
            raise ValueError(f"feature {self.name}: range begins at {low}, above its end {high}")
        if not isinstance(self.missing, float):
            return self
        if not low <= self.missing <= high:
            raise ValueError(
                f"feature {self.name}: `missing` is {self.missing}, outside range {low} to {high}: "
                "write reject, or a number inside"
            )
        if self.categories and self.missing not in range(len(self.categories)):
            raise ValueError(
                f"feature {self.name}: `missing` is {self.missing}, not the place of a category"
            )
        return self


class Band(Part):
    """From this score on, this decision, until the next band begins."""

    since: float
    decision: Name


class Decisions(Part):
    """Scores to decisions; the fallback is what is published without the model."""

    bands: Annotated[tuple[Band, ...], Field(min_length=1)]
    fallback: Name

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        starts = [band.since for band in self.bands]
        if starts != sorted(set(starts)):
            raise ValueError("bands must ascend by `since`, each its own")
        return self


class Platt(Part):
    """Calibrated score = 1 / (1 + exp(-(slope * logit(score) + intercept))); Platt 1999."""

    method: Literal["platt"]
    slope: Annotated[float, Field(gt=0)]
    intercept: float


class Isotonic(Part):
    """Calibrated score by straight lines between points, constant beyond them.

    Zadrozny and Elkan 2002: a step function that never falls, fitted by pool-adjacent-violators.
    """

    method: Literal["isotonic"]
    scores: Annotated[tuple[float, ...], Field(min_length=2, max_length=10_000)]
    calibrated: Annotated[tuple[float, ...], Field(min_length=2, max_length=10_000)]

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if len(self.scores) != len(self.calibrated):
            raise ValueError("`scores` and `calibrated` have one entry a point, both")
        if list(self.scores) != sorted(set(self.scores)):
            raise ValueError("`scores` must ascend, each its own")
        if list(self.calibrated) != sorted(self.calibrated):
            raise ValueError("`calibrated` may not fall")
        return self


Calibration = Annotated[Platt | Isotonic, Field(discriminator="method")]


class Reasons(Part):
    """Why a decision was made: the features, or groups of them, that moved the score most."""

    decisions: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        description="decisions that are given reasons; each costs over a hundred predictions"
    )
    top: Annotated[int, Field(ge=1, le=20)] = 3
    codes: dict[str, Name] = Field(
        default_factory=dict,
        description="code of a feature; features with one code are one reason; without a code a "
        "feature's name is its code",
    )
    rows_per_batch: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=200, description="the budget: later rows of a batch get no reasons"
    )


class ContractRef(Part):
    """The contract version whose fields the features read."""

    subject: str
    version: int


class Training(Part):
    """What the booster has learned from."""

    since: AwareDatetime = Field(description="the first instant of the training window")
    until: AwareDatetime = Field(description="the instant at which the window ended")
    rows: Annotated[int, Field(ge=1)]
    dataset: Annotated[str, Field(max_length=2000)] = Field(
        default="", description="where the rows came from, and what was left out"
    )
    seed: int | None = None

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.since >= self.until:
            raise ValueError("the training window must end after it begins")
        return self


class Manifest(Part):
    """manifest.json. What is None came with later builds; bundles without it are served as well."""

    format: Literal[1]
    name: Name
    version: Name
    created: datetime
    description: str = ""
    owner: str = ""
    licence: Licence = ""
    training: Training | None = None
    contract: ContractRef
    booster: FileEntry
    golden: FileEntry
    reference: FileEntry | None = None
    features: Annotated[tuple[Feature, ...], Field(min_length=1)]
    decisions: Decisions
    calibration: Calibration | None = None
    reasons: Reasons | None = None
    score_range: tuple[float, float] = (0.0, 1.0)
    metrics: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names):
            raise ValueError("a feature is listed twice")
        if self.decisions.bands[0].since > self.score_range[0]:
            raise ValueError("the first band must begin at the bottom of score_range")
        if self.reasons is not None:
            _hold_reasons(self.reasons, names, [band.decision for band in self.decisions.bands])
        return self


def _hold_reasons(reasons: Reasons, features: list[str], decisions: list[str]) -> None:
    """Raise ValueError where reasons name what is not there."""
    for what, named, known in (
        ("codes", set(reasons.codes), set(features)),
        ("decisions", set(reasons.decisions), set(decisions)),
    ):
        if unknown := sorted(named - known):
            raise ValueError(f"reasons.{what}: there is no {', '.join(unknown)}")
