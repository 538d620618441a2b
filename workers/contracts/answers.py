"""What a schema registry answers: shapes, and telling "there is none" from "I am unwell"."""

from __future__ import annotations

import json
import uuid
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from workers.contracts.exchange import Answer
from workers.contracts.subject import Compatibility, Reference
from workers.errors import ContractError


class _Answered(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Stored(_Answered):
    """A schema as the registry keeps it; what an endpoint does not say is None."""

    text: str = Field(alias="schema")
    kind: str | None = Field(default=None, alias="schemaType")
    references: tuple[Reference, ...] | None = None
    subject: str | None = None
    version: int | None = Field(default=None, ge=1)
    id: int | None = Field(default=None, ge=0, lt=2**32)
    guid: uuid.UUID | None = None

    @property
    def avro(self) -> bool:
        """Is it Avro? JSON Schema and Protobuf name themselves, Avro need not."""
        return self.kind in (None, "", "AVRO")


class SubjectVersion(_Answered):
    """Where an id stands."""

    subject: str
    version: int = Field(ge=1)


class Given(_Answered):
    """The id of a version that was added."""

    id: int = Field(ge=0, lt=2**32)


class ContextId(_Answered):
    """An id and its context; the default one is a dot."""

    context: str
    id: int = Field(ge=0, lt=2**32)


class Mode(_Answered):
    """What a subject's new versions are held to."""

    mode: Compatibility = Field(alias="compatibilityLevel")


class Judgement(_Answered):
    """What the registry says of a candidate."""

    compatible: bool = Field(alias="is_compatible")
    messages: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not compatible, in the registry's words."""
        return self.messages or ((self.reason,) if self.reason else ())


class Refused(ContractError):  # noqa: N818  what it did, not a fault of ours
    """The registry will not have it: incompatible, malformed, or not allowed by its rules."""


def fault_of(answer: Answer) -> str | None:
    """What makes an answer none."""
    if 300 <= answer.status < 400:
        return f"redirects to {answer.location or 'nowhere'}, which is never followed"
    if answer.status in (401, 403):
        return f"credentials refused ({answer.status})"
    if answer.status == 407:
        return "the proxy wants credentials (407)"
    if answer.status in (408, 429) or answer.status >= 500:
        return f"answers {answer.status}"
    return None


def denies(answer: Answer) -> bool:
    """Is a 404 the registry's own: 40401 subject, 40402 version, 40403 schema not found."""
    found = document(answer)
    code = found.get("error_code") if isinstance(found, dict) else None
    return isinstance(code, int) and code // 100 == 404


def document(answer: Answer) -> Any:
    """Its JSON; None where it is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def message(answer: Answer) -> str:
    """The registry's own words."""
    found = document(answer)
    text = found.get("message") if isinstance(found, dict) else None
    return str(text)[:1000] if text else f"status {answer.status}"
