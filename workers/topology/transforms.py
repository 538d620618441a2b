"""Repairs of dead letters: what is done to a record before it is replayed."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from workers.topology.security import Part

TransformName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class Transform(Part):
    """SQL for some fields, or a Python function for the whole record."""

    sql: dict[str, str] = Field(
        default_factory=dict,
        description="Field by SQL scalar expression over the record's fields.",
    )
    python: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = Field(
        default=None,
        description="`module:function`, which takes a record as a dict and returns one.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.sql) == (self.python is not None):
            raise ValueError("give one of sql and python")
        return self
