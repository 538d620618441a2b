"""What decides: models, the rules beside them, and how long it may take."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workers.topology.names import ModelName
from workers.topology.security import Part
from workers.topology.units import Duration

BlockName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
RuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


MIN_POLL, MAX_POLL = 0.01, 5.0
"""Seconds. A bypass is to be in force everywhere within ten, whoever wrote the topology."""


class OnModelFailure(StrEnum):
    """What to do with an event whose features are good and whose model failed."""

    FALLBACK = "fallback"
    DEAD_LETTER = "dead_letter"
    HALT = "halt"


class Backend(StrEnum):
    """What adds up a model's trees."""

    LIGHTGBM = "lightgbm"
    COMPILED = "compiled"


class ModelRef(Part):
    """Which bundle scores."""

    name: ModelName = Field(description="Folder under the models directory.")
    version: ModelName | None = Field(
        default=None, description="Folder under the model's name; write it in quotes."
    )
    alias: Literal["champion", "challenger", "previous"] | None = Field(
        default=None,
        description="Instead of a version: what `workers models promote` lets it stand for.",
    )
    poll: Duration = Field(
        default=2.0,
        description="How often the store is looked at, for aliases and bypass: 5s at most.",
    )
    backend: Backend = Field(
        default=Backend.LIGHTGBM,
        description="compiled: the trees as machine code, same scores; where that cannot be "
        "proven, LightGBM. Needs the extra `compiled`.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.version is None) == (self.alias is None):
            raise ValueError("write one of `version` and `alias`")
        if not MIN_POLL <= self.poll <= MAX_POLL:
            raise ValueError(f"poll is {MIN_POLL * 1000:g}ms at least and {MAX_POLL:g}s at most")
        return self

    def __str__(self) -> str:
        """Name, and version or alias."""
        said = f"version {self.version}" if self.version is not None else f"@{self.alias}"
        return f"{self.name} {said}"


class Rule(Part):
    """A decision that is declared, not learned."""

    name: RuleName = Field(description="What the block's `rule` says; stable.")
    when: str = Field(description="SQL scalar expression that is true or not; null is not.")
    decision: RuleName = Field(description="The decision where it is true.")


class RuleSet(Part):
    """Rules beside a model, in order: the first that is true decides. They hold in a bypass too."""

    before: tuple[Rule, ...] = Field(
        default=(),
        description="Over the event's fields: decide without asking the model.",
    )
    after: tuple[Rule, ...] = Field(
        default=(),
        description="Over the event's fields, `score` and `decision`, and `<block>_score` and "
        "`<block>_decision` of the other blocks: change what the model decided.",
    )

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [rule.name for rule in (*self.before, *self.after)]
        if len(set(names)) != len(names):
            raise ValueError("two rules have one name")
        return self


class Block(Part):
    """One more model of a worker, with an enrichment block of its own."""

    model: ModelRef = Field(description="What scores.")
    rules: RuleSet = Field(default_factory=RuleSet, description="Rules beside the model.")


class Degrade(StrEnum):
    """What is given up, in this order, so that a batch keeps to its latency budget."""

    ROWS = "rows"
    REASONS = "reasons"
    SHADOW = "shadow"
    FALLBACK = "fallback"


class Latency(Part):
    """How long a batch may take, from its first record handed out to the broker's answer.

    What a record waited on the broker before, because the worker was behind, is its lag.
    """

    wait: Duration = Field(default=0.02, description="Until the batch is full or `linger` is over.")
    score: Duration = Field(description="Decode, features, prediction, encoding.")
    publish: Duration = Field(description="Until the broker has acknowledged all of it.")
    degrade: tuple[Degrade, ...] = Field(
        default=(Degrade.ROWS, Degrade.REASONS, Degrade.SHADOW),
        description="What a batch gives up that would break the budget: rows (fewer a batch), "
        "reasons, shadow, fallback (decide without the model). In this order; leave out what may "
        "not be given up.",
    )

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if min(self.wait, self.score, self.publish) < 0.001:
            raise ValueError("each stage needs 1ms at least")
        order = list(Degrade)
        places = [order.index(step) for step in self.degrade]
        if places != sorted(set(places)):
            raise ValueError(f"degrade keeps this order: {', '.join(order)}")
        return self

    @property
    def total(self) -> float:
        """Seconds for all stages."""
        return self.wait + self.score + self.publish
