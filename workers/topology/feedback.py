"""The feedback loop: decisions and their outcomes become the next model."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from workers.topology.deciding import RuleName
from workers.topology.models import StoreUrl
from workers.topology.names import Subject, TopicName
from workers.topology.security import Part
from workers.topology.units import Duration

Share = Annotated[float, Field(gt=0, lt=1)]
Margin = Annotated[float, Field(ge=0, le=1)]
_SCHEDULER = re.compile(
    r"(tcp|tls)://[^\s/@:]+(:\d{1,5})?|(tcp|tls)://\[[0-9a-fA-F:]+\](:\d{1,5})?"
)
_DELTA = frozenset({"file", "local", "s3", "s3a"})
"""Where a Delta log is kept: tried to refuse one of two writers of its next entry."""


class Absent(StrEnum):
    """What it means that a matured decision has no outcome."""

    UNKNOWN = "unknown"
    NEGATIVE = "negative"


class Outcomes(Part):
    """What became of events. The expressions are SQL over the fields of the topic's contract."""

    topic: TopicName = Field(description="Topic of the outcomes.")
    subject: Subject = Field(default="", description="Contract; default `<topic>-value`.")
    decision_id: str | None = Field(
        default=None, description="The decision's id; where it is null, key and time are used."
    )
    key: str | None = Field(default=None, description="The event's business key, as text.")
    event_at: str | None = Field(default=None, description="The event's time, beside the key.")
    label: str = Field(
        description="1 or true, 0 or false; null says that it is not known, or no longer."
    )
    known_at: str = Field(description="When it was known: of several the last one counts.")

    @model_validator(mode="after")
    def _joins(self) -> Self:
        if (self.key is None) != (self.event_at is None):
            raise ValueError("`key` and `event_at` come together")
        if self.decision_id is None and self.key is None:
            raise ValueError("write `decision_id`, or `key` and `event_at`")
        return self


class Lake(Part):
    """Where collected decisions and outcomes are kept, as Parquet."""

    directory: Path | None = Field(default=None, description="Relative to this file; made.")
    url: StoreUrl | None = Field(
        default=None, description="Instead of a directory: any url of fsspec."
    )
    options: dict[str, bool | int | SecretStr] = Field(
        default_factory=dict, description="fsspec's options for `url`; never printed."
    )
    timeout: Duration = Field(default=10.0, description="One question to an object store.")
    transfer_timeout: Duration = Field(default=120.0, description="One file on its way.")
    delta: bool = Field(
        default=False,
        description="Keep a Delta log beside the files of each table, so that others can read them "
        "as Delta tables; in a directory or on S3. Needs the extra `delta`.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.directory is None) == (self.url is None):
            raise ValueError("write one of `directory` and `url`")
        if self.delta and self.url is not None and urlsplit(self.url).scheme not in _DELTA:
            raise ValueError(
                "`delta` is for a `directory`, and for a `url` that begins with one of "
                f"{', '.join(f'{each}://' for each in sorted(_DELTA))}: no other store was tried"
            )
        return self


class Cost(Part):
    """What a decision costs, by what really happened; negative is a gain."""

    positive: float = Field(description="Where the label is 1.")
    negative: float = Field(description="Where the label is 0.")


class Tune(Part):
    """A search over parameters; needs the extra `tuning`."""

    trials: Annotated[int, Field(ge=1, le=10_000)] = Field(default=20, description="At most.")
    seconds: Duration = Field(default=300.0, description="At most.")


def _scheduler(address: str) -> str:
    if not _SCHEDULER.fullmatch(address):
        raise ValueError("not an address such as tcp://dask-scheduler:8786 or tls://…")
    return address


class Dask(Part):
    """Training rows spread over a Dask cluster; needs the extra `dask`, on its workers too.

    Whoever reaches a scheduler runs code on its workers, and LightGBM's own connections between
    them are neither encrypted nor authenticated: in a network of their own.
    """

    workers: Annotated[int, Field(ge=1, le=1000)] = Field(
        description="How many take part: of another number other trees come."
    )
    scheduler: Annotated[str, AfterValidator(_scheduler)] | None = Field(
        default=None,
        description="tcp:// or tls://, with Dask's own settings; default: processes on 127.0.0.1 "
        "that end with the training.",
    )
    port: Annotated[int, Field(ge=1, le=65_535)] | None = Field(
        default=None,
        description="Of LightGBM on each worker, where there is one a machine; default: any free.",
    )
    timeout: Duration = Field(default=300.0, description="Until the workers are there.")


class Weighting(StrEnum):
    """How much a row with an outcome counts."""

    NONE = "none"
    PROPENSITY = "propensity"


class Retrain(Part):
    """How the next model is made."""

    window: Duration = Field(default=90 * 86_400.0, description="How far back decisions are used.")
    calibrate: Share = Field(default=0.15, description="Part of the rows, the later ones.")
    test: Share = Field(default=0.15, description="Part of the rows, the latest.")
    min_rows: Annotated[int, Field(ge=100)] = Field(
        default=5000, description="Fewer labelled rows train nothing."
    )
    every: Duration = Field(
        default=7 * 86_400.0, description="`feedback run` trains again after so much event time."
    )
    rounds: Annotated[int, Field(ge=1, le=10_000)] = Field(default=100, description="Trees.")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(default=1, description="Of everything.")
    threads: Annotated[int, Field(ge=1, le=256)] = Field(default=1, description="Of LightGBM.")
    parameters: dict[str, float | int | str | bool] = Field(
        default_factory=dict, description="LightGBM's, beside objective, seed and threads."
    )
    tune: Tune | None = Field(default=None, description="Search first.")
    dask: Dask | None = Field(
        default=None, description="Where rows are more than one machine holds."
    )
    weighting: Weighting = Field(
        default=Weighting.NONE,
        description="none: rows count alike. propensity: by 1 / `propensity`, in training and in "
        "every measure of outcomes, where what happens depends on what was decided.",
    )
    max_weight: Annotated[float, Field(ge=1, le=1_000_000)] = Field(
        default=20.0, description="Of a row, with `weighting: propensity`."
    )


class Gate(Part):
    """What a challenger must show on matured outcomes that it was not trained on."""

    min_rows: Annotated[int, Field(ge=50)] = Field(
        default=1000, description="Fewer say nothing, and the gate stays shut."
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        default=0.95, description="Of the intervals."
    )
    auc_margin: Margin = Field(
        default=0.002, description="The interval of AUC less the champion's must be above -this."
    )
    log_loss_margin: Margin = Field(
        default=0.002, description="The interval of log loss less the champion's, below this."
    )
    calibration: Margin = Field(
        default=0.05, description="Expected calibration error at most, or the champion's."
    )
    segment_margin: Margin = Field(
        default=0.02, description="As `log_loss_margin`, in each value of each segment."
    )
    segment_rows: Annotated[int, Field(ge=30)] = Field(
        default=300, description="Smaller segments are not judged."
    )
    drift: Annotated[float, Field(gt=0)] = Field(
        default=0.25,
        description="Population stability index of its scores now to those of its training.",
    )
    latency: Annotated[float, Field(gt=0)] = Field(
        default=2.0, description="Time of a prediction, in the champion's."
    )
    megabytes: Annotated[float, Field(gt=0)] = Field(default=50.0, description="Of the booster.")


class Promotion(Part):
    """What `feedback run` does with a challenger that passed the gate."""

    mode: Literal["by_hand", "automatic"] = Field(
        default="by_hand", description="by_hand: nothing but say so."
    )
    steps: tuple[Share, ...] = Field(
        default=(0.05, 0.25), description="Shares of the canary before the promotion."
    )
    rows: Annotated[int, Field(ge=50)] = Field(
        default=500, description="Matured outcomes of the canary that a step needs."
    )
    rollback: Margin = Field(
        default=0.02,
        description="A canary, or a new champion, whose live log loss is worse than that of the "
        "other arm, or of the one before, by more than this, with confidence, is taken back.",
    )


class Feedback(Part):
    """A loop: a worker's decisions, their outcomes, and what is made of them."""

    name: str = Field(default="", description="Set from the key; do not write it.")
    worker: str = Field(description="Whose decisions.")
    principal: Annotated[str, Field(pattern=r"^([A-Za-z]+:.+)?$")] = Field(
        default="",
        description="Who collects, to the brokers: whose ACLs `workers plan` looks for; default: "
        "`User:` and the SASL user name, else the loop's name.",
    )
    block: str = Field(default="enrichment", description="Which of its blocks.")
    outcomes: Outcomes = Field(description="What became of the events.")
    decision_key: str = Field(
        default="event_key", description="SQL over the decision that `outcomes.key` equals."
    )
    tolerance: Duration | None = Field(
        default=None, description="How far event times may be apart; default: equal."
    )
    matures: Duration = Field(description="After so long no outcome is expected any more.")
    absent: Absent = Field(
        default=Absent.UNKNOWN,
        description="A matured decision without outcome: unknown, or negative where only positives "
        "are reported. Before that it is pending, never negative.",
    )
    lake: Lake = Field(description="Where it is kept.")
    run_every: Duration = Field(
        default=86_400.0,
        description="How often a timer runs `workers feedback run`: an alert is held to it.",
    )
    coverage: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5,
        description="Least share of due outcomes that is known, or an alert says so; not held to "
        "with `absent: negative`.",
    )
    segments: tuple[str, ...] = Field(
        default=(), description="Features by whose values quality is shown and held."
    )
    cost: dict[RuleName, Cost] = Field(
        default_factory=dict, description="Of each decision; thresholds are chosen for it."
    )
    retrain: Retrain = Field(default_factory=Retrain, description="How the next model is made.")
    gate: Gate = Field(default_factory=Gate, description="What it must show.")
    promotion: Promotion = Field(default_factory=Promotion, description="And then.")
