"""A challenger beside the champion: how much of it, and where the comparison goes."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from workers.topology.names import Subject, TopicName
from workers.topology.security import Part
from workers.topology.units import Duration
from workers.topology.wanted import TopicSettings


class ShadowTopic(Part):
    """The challenger scores what the champion scored, afterwards, in a process of its own."""

    topic: TopicName = Field(description="Topic of the comparisons.")
    subject: Subject = Field(default="", description="Contract; default `<topic>-value`.")
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Part of the records, chosen by key: a key is always in or out."
    )
    timeout: Duration = Field(
        default=5.0, description="A challenger that has not scored a batch by then is ended."
    )
    queue: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=20_000,
        description="Records that may wait for the challenger; batches that come then are skipped.",
    )
    settings: TopicSettings = Field(
        default_factory=TopicSettings, description="What the topic should have."
    )

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if not 0.01 <= self.timeout <= 300:
            raise ValueError("timeout must be from 10ms to 5m")
        return self
