"""What a worker watches of the events themselves: drift from the reference, and their age."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from workers.topology.security import Part
from workers.topology.units import Duration


class Drift(Part):
    """How served features and scores are compared with the bundle's reference. Never stops one."""

    window: Duration = Field(
        default=3600.0, description="Over so much of the past, in twelve steps: 1m to 7 days."
    )
    rows_per_second: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=2000,
        description="Rows that are looked at, at most, spread evenly over each batch: what it may "
        "cost. Missing values and unknown categories are counted over all rows.",
    )
    least: Annotated[int, Field(ge=100, le=10_000_000)] = Field(
        default=2000, description="Rows in the window before there is an index: fewer are noise."
    )

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if not 60 <= self.window <= 7 * 86_400:
            raise ValueError("window must be from 1m to 168h")
        return self


class OnStale(StrEnum):
    """What becomes of an event that is too old to decide about."""

    REPORT = "report"
    FALLBACK = "fallback"
    DEAD_LETTER = "dead_letter"


class Staleness(Part):
    """Events that come too late. Counted by their age when they are polled."""

    limit: Duration = Field(description="An older event is stale.")
    field: str | None = Field(
        default=None,
        description="The event's field with its time, a timestamp or date; default: the record's "
        "timestamp.",
    )
    policy: OnStale = Field(
        default=OnStale.REPORT,
        description="report: count it. fallback: decide without the model, `fallback_reason` "
        "`stale`; rules before the model hold. dead_letter: code `stale`. Of the stream alone: "
        "replays, probes and `workers score` go by no clock.",
    )
