"""A decision asked of a gateway by HTTP, in time or not at all: what is wrong is a cause."""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import httpx2

from workers.enrich.headers import rfc3339
from workers.gateway.room import Room

RawHeader = tuple[bytes, bytes]
LARGEST = 1024**2
_SHARE = 0.8
"""Of the time that is left, what the gateway may take to decide; the rest is the way there."""
_SAFE = string.punctuation.replace("%", "") + " "


class Cause(StrEnum):
    """Why a request went on without a decision. Closed, and never renamed."""

    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    PAUSED = "paused"
    BUSY = "busy"
    REJECTED = "rejected"
    REFUSED = "refused"
    TOO_LARGE = "too_large"
    SLOW_BODY = "slow_body"
    SEVERAL = "several"
    LATE = "late"


class NoDecision(Exception):  # noqa: N818  what there is, not an error
    """There is none, and why."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.value)
        self.cause = cause


class Asker:
    """Asks one gateway for one worker's decisions."""

    def __init__(
        self,
        transport: httpx2.AsyncBaseTransport,
        url: httpx2.URL,
        key: str | None,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives seconds that only grow."""
        self._transport = transport
        self._url = url
        self._room = Room(clock)
        self._headers = [(b"host", url.netloc)]
        if key is not None:
            self._headers.append((b"x-api-key", key.encode()))

    async def ask(self, body: bytes, media: bytes, seconds: float) -> dict[str, Any]:
        """The outcome of one event, a decision.

        Raises:
            NoDecision: there is none within `seconds`, and why.
        """
        if body.lstrip()[:1] == b"[":
            raise NoDecision(Cause.SEVERAL)
        if self._room.shut:
            raise NoDecision(Cause.PAUSED)
        if self._room.full:
            raise NoDecision(Cause.BUSY)
        entered, in_time = self._room.enter(), None
        try:
            async with asyncio.timeout(seconds):
                status, content = await self._answer(body, media, seconds)
            in_time = status < 500
        except TimeoutError:
            in_time = False
            raise NoDecision(Cause.TIMEOUT) from None
        except (httpx2.HTTPError, OSError):
            in_time = False
            raise NoDecision(Cause.UNAVAILABLE) from None
        finally:
            self._room.leave(entered, in_time=in_time)
        if not in_time:
            raise NoDecision(Cause.UNAVAILABLE)
        return _outcome(status, content)

    async def close(self) -> None:
        """Let go of its connections."""
        await self._transport.aclose()

    async def _answer(self, body: bytes, media: bytes, seconds: float) -> tuple[int, bytes]:
        milliseconds = max(1, int(seconds * 1000 * _SHARE))
        request = httpx2.Request(
            "POST",
            self._url,
            headers=[
                *self._headers,
                (b"content-type", media),
                (b"content-length", str(len(body)).encode()),
                (b"x-request-timeout", f"{milliseconds}ms".encode()),
            ],
            content=body,
        )
        response = await self._transport.handle_async_request(request)
        try:
            found = bytearray()
            async for part in response.stream:  # type: ignore[union-attr]
                found += part
                if len(found) > LARGEST:
                    raise NoDecision(Cause.UNAVAILABLE)
        finally:
            await response.aclose()
        return response.status_code, bytes(found)


def _outcome(status: int, content: bytes) -> dict[str, Any]:
    if status in (400, 413, 415, 422):
        raise NoDecision(Cause.REJECTED)
    try:
        found = json.loads(content)
    except ValueError:
        raise NoDecision(Cause.UNAVAILABLE) from None
    if status != 200 or not isinstance(found, dict) or found.get("status") != "decided":
        raise NoDecision(Cause.REFUSED)
    return found


class Names:
    """Headers of decisions: `x-<block>-<field>`, and whose names begin so are ours alone."""

    def __init__(self, blocks: Iterable[str]) -> None:
        self._blocks = tuple(blocks)
        self._first = _name(self._blocks[0])
        self._own = tuple(f"x-{_name(block)}-".encode() for block in self._blocks)

    def ours(self, name: bytes) -> bool:
        """Must it not come from outside? Underscores too: some servers take them for hyphens."""
        return name.lower().replace(b"_", b"-").startswith(self._own)

    def without(self, cause: Cause) -> list[RawHeader]:
        """Headers of no decision."""
        return [self._status("none"), self._cause(cause.value)]

    def decided(self, outcome: Mapping[str, Any]) -> list[RawHeader]:
        """Headers of a decision: every field of every block that has one value."""
        found = [self._status("decided")]
        if outcome.get("degraded"):
            found.append(self._cause(str(outcome.get("cause"))))
        for block in self._blocks:
            fields = outcome.get(block)
            for field, value in (fields if isinstance(fields, dict) else {}).items():
                text = _text(field, value)
                if text is not None:
                    found.append((f"x-{_name(block)}-{_name(field)}".encode(), text))
        return found

    def _status(self, text: str) -> RawHeader:
        return f"x-{self._first}-status".encode(), text.encode()

    def _cause(self, text: str) -> RawHeader:
        return f"x-{self._first}-cause".encode(), quote(text, safe=_SAFE).encode()


def _name(text: str) -> str:
    return text.lower().replace("_", "-")


def _text(field: str, value: object) -> bytes | None:
    """Visible ASCII; what is none is percent-encoded UTF-8. None: not one value."""
    if field == "scored_at" and isinstance(value, int):
        return rfc3339(value).encode()
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int | float):
        return repr(value).encode()
    return quote(value, safe=_SAFE).strip().encode() if isinstance(value, str) else None
