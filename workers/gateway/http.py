"""Requests and answers as the hot path has them: no framework between the socket and the events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from workers.gateway.callers import KEY_HEADER
from workers.gateway.problems import MEDIA_TYPE, Kind, Problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
JSON = b"application/json"


class Gone(Exception):  # noqa: N818  what the client is
    """Nobody waits for the answer any more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: int
    body: bytes
    media: bytes = JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def headers_of(scope: Scope) -> dict[str, str]:
    """Headers by name, in lower case.

    Raises:
        Problem: one that decides something is there twice.
    """
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        text = name.decode("latin-1")
        if text in found and text in _ONCE:
            raise Problem(Kind.BAD_HEADER, f"{text} is there twice")
        found[text] = value.decode("latin-1")
    return found


_ONCE = frozenset(
    {KEY_HEADER, "authorization", "idempotency-key", "content-type", "x-request-timeout"}
)


def query_of(scope: Scope) -> dict[str, str]:
    """Parameters of the query.

    Raises:
        Problem: one is there twice, or there are far too many.
    """
    raw = scope["query_string"]
    if not raw:
        return {}
    try:
        pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, max_num_fields=16)
    except ValueError:
        raise Problem(Kind.BAD_HEADER, "the query has too many parameters") from None
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Problem(Kind.BAD_HEADER, "a parameter is there twice")
    return found


async def body_of(scope: Scope, receive: Receive, headers: dict[str, str], most: int) -> bytes:
    """The whole body; no more of it than `most` is ever held.

    Raises:
        Problem: it is longer.
        Gone: the client left.
    """
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > most:
        raise Problem(Kind.TOO_LARGE, f"{length[:20]} bytes, more than {most}")
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= most:
        return body
    parts = bytearray(body)
    while message.get("more_body", False):
        if len(parts) > most:
            break
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts += message.get("body", b"")
    if len(parts) > most:
        raise Problem(Kind.TOO_LARGE, f"more than {most} bytes")
    return bytes(parts)


def answer_of(problem: Problem) -> Answer:
    """A problem as an answer."""
    headers = []
    if problem.retry_after is not None:
        headers.append((b"retry-after", str(problem.retry_after).encode()))
    if problem.kind is Kind.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    if problem.kind is Kind.TOO_LARGE:
        # What is left of the body is not read.
        headers.append((b"connection", b"close"))
    return Answer(problem.status, problem.body(), MEDIA_TYPE, headers)


async def respond(send: Send, answer: Answer) -> None:
    """Send it."""
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [
                (b"content-type", answer.media),
                (b"content-length", str(len(answer.body)).encode()),
                *answer.headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": answer.body})
