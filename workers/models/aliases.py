"""What serves: one document a model, with champion, challenger, previous, bypass and a history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workers.errors import ModelError
from workers.models.bundle import Name

MAX_HISTORY = 1000
MAX_DOCUMENT = 4 * 1024**2
"""Bytes of a document; a larger one is not read."""
Alias = Literal["champion", "challenger", "previous"]
ALIAS_NAMES: tuple[Alias, ...] = ("champion", "challenger", "previous")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Change(_Part):
    """Who did what, when and why."""

    when: datetime
    who: str
    why: str
    did: str


class Bypass(_Part):
    """Decisions are made without the model until somebody resumes it."""

    since: datetime
    who: str
    why: str


class CanaryShare(_Part):
    """The challenger decides for this share of the keys."""

    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
    since: datetime
    who: str
    why: str


class WorkerPause(_Part):
    """A worker reads nothing, or nothing of these partitions, until somebody resumes it."""

    partitions: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """None of them: all."""
    since: datetime
    who: str
    why: str

    def covers(self, partition: int) -> bool:
        """Is it paused?"""
        return not self.partitions or partition in self.partitions

    def __str__(self) -> str:
        """For people."""
        numbers = ", ".join(map(str, self.partitions))
        what = f"partitions {numbers}" if numbers else "all partitions"
        return f"{what} paused by {self.who} since {self.since:%Y-%m-%d %H:%M:%SZ}: {self.why}"


class Aliases(_Part):
    """The document. `revision` grows by one with each change."""

    format: Literal[1] = 1
    revision: int = 0
    champion: Name | None = None
    challenger: Name | None = None
    previous: Name | None = None
    bypass: Bypass | None = None
    canary: CanaryShare | None = None
    pauses: dict[str, WorkerPause] = Field(
        # Left out while there is none: what was made before it knows no such field.
        default_factory=dict,
        exclude_if=lambda pauses: not pauses,
    )
    """Workers that serve this model and are paused, by name."""
    history: tuple[Change, ...] = ()

    def version(self, alias: Alias) -> str | None:
        """The version that an alias stands for."""
        found: str | None = getattr(self, alias)
        return found


Document = TypeVar("Document", bound=Aliases)
Make = Callable[[Aliases], Aliases]
"""The next document, of the one before."""


def parse(content: bytes | str, place: str, kind: type[Document]) -> Document:
    """The document that these bytes are.

    Raises:
        ModelError: they are none; names `place`.
    """
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise ModelError(f"{place}: cannot be read: {error}") from error
