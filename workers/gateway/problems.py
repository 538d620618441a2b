"""What a request is told when it is not answered with a decision: RFC 9457, a closed list."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from workers.contracts.jsonform import FieldFault
from workers.enrich.batch import Rejection
from workers.errors import CAUSES, Verdict

MEDIA_TYPE = b"application/problem+json"
URN = "urn:workers:problem:"


class Kind(StrEnum):
    """Every `type` of a problem, after its URN. Never renamed."""

    NOT_JSON = "not-json"
    NOT_AVRO = "not-avro"
    BAD_HEADER = "bad-header"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    METHOD = "method-not-allowed"
    IN_FLIGHT = "in-flight"
    CONFLICT = "conflict"
    TOO_LARGE = "too-large"
    MEDIA = "unsupported-media-type"
    INVALID = "invalid-event"
    REJECTED = "rejected"
    KEY_REUSED = "idempotency-key-reused"
    RATE = "rate-limited"
    BUG = "internal"
    OVERLOADED = "overloaded"
    STOPPED = "stopped"
    LOG_DOWN = "decision-log-unavailable"
    KEYS_DOWN = "idempotency-unavailable"
    SCHEMA_PENDING = "schema-pending"
    MODEL_FAILED = "model-failed"


@dataclass(frozen=True, slots=True)
class About:
    """Status and title of a kind."""

    status: int
    title: str


ABOUT = {
    Kind.NOT_JSON: About(400, "The body is no JSON that can be read"),
    Kind.NOT_AVRO: About(400, "The body is no framed Avro"),
    Kind.BAD_HEADER: About(400, "A header or parameter cannot be used"),
    Kind.UNAUTHENTICATED: About(401, "Who asks is not known"),
    Kind.FORBIDDEN: About(403, "This caller may not"),
    Kind.NOT_FOUND: About(404, "There is no such thing"),
    Kind.METHOD: About(405, "Not by this method"),
    Kind.IN_FLIGHT: About(409, "The first request with this key is not answered yet"),
    Kind.CONFLICT: About(409, "The store does not allow it now"),
    Kind.TOO_LARGE: About(413, "The request is too large"),
    Kind.MEDIA: About(415, "The media type is none that can be read"),
    Kind.INVALID: About(422, "The event does not fit its contract"),
    Kind.REJECTED: About(422, "The event cannot be decided"),
    Kind.KEY_REUSED: About(422, "The key belongs to another request"),
    Kind.RATE: About(429, "Too many events for this caller"),
    Kind.BUG: About(500, "A fault of ours"),
    Kind.OVERLOADED: About(503, "Too much waits to be decided"),
    Kind.STOPPED: About(503, "This worker decides nothing until somebody acts"),
    Kind.LOG_DOWN: About(503, "The decision could not be logged"),
    Kind.KEYS_DOWN: About(503, "Keys of requests cannot be kept now"),
    Kind.SCHEMA_PENDING: About(503, "The schema is being looked up"),
    Kind.MODEL_FAILED: About(503, "The model failed, and the policy is not to fall back"),
}


class Problem(Exception):  # noqa: N818  what the answer is
    """The request, or one event of it, ends with this."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        retry_after: float | None = None,
        errors: Iterable[FieldFault] = (),
        **members: Any,
    ) -> None:
        """`retry_after` in seconds; `members` are added to the document."""
        super().__init__(detail)
        self.kind = kind
        self.status = ABOUT[kind].status
        self.retry_after = None if retry_after is None else max(1, math.ceil(retry_after))
        self._detail = detail
        self._errors = tuple(errors)
        self._members = members

    def document(self) -> dict[str, Any]:
        """The problem's members."""
        found: dict[str, Any] = {
            "type": f"{URN}{self.kind}",
            "title": ABOUT[self.kind].title,
            "status": self.status,
            "detail": self._detail,
            **self._members,
        }
        if self._errors:
            found["errors"] = [
                {"pointer": f"#{e.path}", "detail": e.detail, "remedy": e.remedy}
                for e in self._errors
            ]
        return found

    def body(self) -> bytes:
        """The document's bytes."""
        return json.dumps(self.document()).encode()


def of_rejection(rejection: Rejection) -> Problem:
    """What a stream would have dead-lettered."""
    reject = rejection.reject
    kind = Kind.MODEL_FAILED if reject.verdict is Verdict.MODEL else Kind.REJECTED
    return Problem(
        kind,
        str(reject),
        retry_after=5 if kind is Kind.MODEL_FAILED else None,
        code=reject.code.value,
        verdict=reject.verdict.value,
        remedy=CAUSES[reject.code].remedy,
    )
