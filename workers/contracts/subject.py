"""subject.yaml: what a subject is, who owns it, and which versions it has."""

from __future__ import annotations

import datetime
import uuid
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from workers.contracts.derive import BLOCKS
from workers.errors import ContractError

SUBJECT_FILE = "subject.yaml"


class Compatibility(StrEnum):
    """A registry's compatibility modes: what a new version must be able to do.

    Backward: new readers read old records. Forward: old readers read new records. Full: both.
    Transitive: with every earlier version, not with the last one alone.
    """

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"

    @property
    def backward(self) -> bool:
        """Must new readers read old records?"""
        return self.name.startswith(("BACKWARD", "FULL"))

    @property
    def forward(self) -> bool:
        """Must old readers read new records?"""
        return self.name.startswith(("FORWARD", "FULL"))

    @property
    def transitive(self) -> bool:
        """With every earlier version?"""
        return self.name.endswith("TRANSITIVE")


class Role(StrEnum):
    """What a topic is to the workers."""

    INPUT = "input"
    OUTPUT = "output"
    DECISIONS = "decisions"
    COMPARISONS = "comparisons"
    OUTCOMES = "outcomes"
    DEAD_LETTER = "dead_letter"


class Naming(StrEnum):
    """How the subject's name comes about: Confluent's subject name strategies."""

    TOPIC = "topic"
    RECORD = "record"
    TOPIC_RECORD = "topic_record"


_DEFAULT_MODE = {
    # We are the reader of inputs; subscribers upgrade later than we do.
    Role.INPUT: Compatibility.BACKWARD_TRANSITIVE,
    Role.OUTCOMES: Compatibility.BACKWARD_TRANSITIVE,
    Role.OUTPUT: Compatibility.FULL_TRANSITIVE,
    Role.DECISIONS: Compatibility.FULL_TRANSITIVE,
    Role.COMPARISONS: Compatibility.FULL_TRANSITIVE,
    Role.DEAD_LETTER: Compatibility.NONE,
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reference(_Part):
    """A named type that another subject defines, as a registry's `references`."""

    name: str = Field(description="Full name of the type.")
    subject: str
    version: Annotated[int, Field(ge=1)]


class VersionEntry(_Part):
    """One version: its file is `v<N>.avsc`."""

    id: Annotated[int, Field(ge=0, lt=2**32)] | None = Field(
        default=None, description="What stands in the records' framing; the registry gives it."
    )
    guid: uuid.UUID | None = Field(default=None, description="For ids in a header.")
    released: datetime.date | None = None
    change: str | None = Field(default=None, description="What is new, for the changelog.")
    sunset: datetime.date | None = Field(
        default=None, description="Until when records of this version may come."
    )
    derived_from: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Version of the input that it is derived from."
    )
    references: tuple[Reference, ...] = ()


class Key(_Part):
    """What the record's key is."""

    field: str | None = Field(default=None, description="The field of the value that it repeats.")
    format: str = Field(default="UTF-8 text", description="How it is encoded.")
    description: str | None = None


class SubjectFile(_Part):
    """A subject: its topic, its promises to readers, its versions."""

    subject: str | None = Field(
        default=None, description="Name in the registry; none where the topic has no schema."
    )
    topic: str
    role: Role
    owner: str = Field(description="Who answers for it: an address.")
    description: str
    compatibility: Compatibility = Field(
        default=None,  # type: ignore[assignment]  # the validator below fills it in by role
        description="By role: inputs BACKWARD_TRANSITIVE, all that is written FULL_TRANSITIVE.",
    )
    naming: Naming = Naming.TOPIC
    key: Key | None = None
    ordering: str | None = Field(default=None, description="What order a reader may count on.")
    retention: str | None = Field(default=None, description="As in 7d; `compact` for ever.")
    sunset: datetime.date | None = Field(default=None, description="When the topic ends.")
    replaced_by: str | None = Field(default=None, description="The subject to move to.")
    derived_from: str | None = Field(
        default=None, description="The input subject whose events this one holds, enriched."
    )
    blocks: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        default=BLOCKS, description="The enrichment blocks after the input's fields, in order."
    )
    versions: dict[Annotated[int, Field(ge=1)], VersionEntry] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _mode_by_role(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("compatibility") is None:
            try:
                return {**data, "compatibility": _DEFAULT_MODE[Role(str(data.get("role")))]}
            except ValueError:
                return {**data, "compatibility": Compatibility.NONE}
        return data

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.subject is None) != (not self.versions):
            raise ValueError("`subject` and `versions` come together")
        if self.role is Role.DEAD_LETTER and self.versions:
            raise ValueError("a dead letter is the failed record, byte for byte: it has no schema")
        if self.subject and self.naming is Naming.TOPIC and self.subject != f"{self.topic}-value":
            raise ValueError(
                f"naming is topic, so the subject of {self.topic} is {self.topic}-value; or write "
                "`naming: record` or `naming: topic_record`"
            )
        return self


def read_subject(file: Path) -> SubjectFile:
    """Read one subject.yaml.

    Raises:
        ContractError: it cannot be read or says what it may not; names file and field.
    """
    try:
        return SubjectFile.model_validate(YAML(typ="safe").load(file.read_text()))
    except ValidationError as error:
        faults = (
            f"{file}: {'.'.join(map(str, fault['loc'])) or 'subject'}: "
            f"{fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise ContractError("\n".join(faults)) from error
    except (YAMLError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise ContractError(f"{file}: cannot be read: {error}") from error
