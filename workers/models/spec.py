"""A model's spec: what `workers models build` is told beside the booster and events."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from workers.contracts.schema import Schema
from workers.errors import ModelError, TopologyError
from workers.models.build import Recipe
from workers.models.bundle import (
    Calibration,
    ContractRef,
    Decisions,
    Feature,
    Licence,
    Name,
    Reasons,
    Training,
)
from workers.topology import load_as


class Spec(BaseModel):
    """The YAML file. Its parts are those of the bundle's manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Name
    version: Name
    created: AwareDatetime | None = None
    description: str = ""
    owner: str = ""
    licence: Licence = ""
    training: Training | None = None
    contract: ContractRef
    features: Annotated[tuple[Feature, ...], Field(min_length=1)]
    decisions: Decisions
    calibration: Calibration | None = None
    reasons: Reasons | None = None
    score_range: tuple[float, float] = (0.0, 1.0)
    metrics: dict[str, float] = Field(default_factory=dict)

    def recipe(self, schema: Schema, now: datetime) -> Recipe:
        """The recipe of `build`; `created` is `now` where the file does not say it."""
        return Recipe(
            name=self.name,
            version=self.version,
            created=self.created or now,
            description=self.description,
            owner=self.owner,
            licence=self.licence,
            training=self.training,
            contract=self.contract,
            schema=schema,
            features=self.features,
            decisions=self.decisions,
            calibration=self.calibration,
            reasons=self.reasons,
            score_range=self.score_range,
            metrics=self.metrics,
        )


def read_spec(path: Path) -> Spec:
    """Read a spec; nothing in it is taken from the environment.

    Raises:
        ModelError: it cannot be used; the text has a line for every fault.
    """
    try:
        return load_as(Spec, path)
    except TopologyError as error:
        raise ModelError(str(error)) from error
