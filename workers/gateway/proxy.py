"""The transparent proxy: a request goes to the system behind it, with a decision in its headers.

The system's answer never depends on a decision: one that is late, missing or refused leaves only a
cause. What is forwarded is what came, but for hop-by-hop headers (RFC 9110, 7.6.1) and headers that
look like ours.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

import httpx2

from workers.gateway.asking import Asker, Cause, Names, NoDecision, RawHeader
from workers.gateway.events import AVRO_TYPES, JSON_TYPE
from workers.gateway.http import Answer, Gone, Receive, Scope, Send, respond
from workers.telemetry import gateway as n
from workers.telemetry.registry import Sample
from workers.telemetry.tally import Tally
from workers.topology.proxy import Proxy as Settings
from workers.topology.proxy import Side

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
LEAST = 0.0005
"""Seconds with which there is no use in asking: the body took the others."""
UPSTREAM_FAILED = "upstream_failed"
_VIA = (b"via", b"1.1 workers")


@dataclass(frozen=True, slots=True)
class Begun:
    """A body as far as it is here. `whole`: there is no more; `cause`: why nobody is asked."""

    content: bytes
    whole: bool
    cause: Cause | None = None


class Proxied:
    """An ASGI application before one system."""

    def __init__(
        self,
        settings: Settings,
        upstream: httpx2.AsyncBaseTransport,
        asker: Asker,
        names: Names,
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self._base = httpx2.URL(settings.upstream)
        self._asker = asker
        self._names = names
        self._methods = frozenset(settings.methods)
        self.counts = Counter[str]()
        """Requests by what came of them."""
        self._added = Tally(n.PROXY_ADDED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one request."""
        if scope["type"] != "http":
            return
        with contextlib.suppress(Gone):
            await self._forward(scope, receive, send)

    def samples(self) -> Iterator[Sample]:
        """What there was so far; any thread may look."""
        counts = self.counts.copy()
        yield n.UPSTREAM_FAILED, (), counts.pop(UPSTREAM_FAILED, 0)
        for result, count in counts.items():
            yield n.PROXY_REQUESTS, (result,), count
        yield n.PROXY_ADDED, (), self._added.spread

    async def close(self) -> None:
        """Let go of the connections to the system and to the gateway."""
        await self._upstream.aclose()
        await self._asker.close()

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        until = asyncio.get_running_loop().time() + self._settings.budget
        media = self._event(scope)
        if media is None:
            self.counts["no_event"] += 1
            await self._passed(scope, receive, send, Begun(b"", whole=False), None)
            return
        begun = await self._begin(receive, until)
        clock = asyncio.get_running_loop().time
        asked, asking = clock(), asyncio.create_task(self._said(begun, media, until))
        try:
            if Side.REQUEST in self._settings.add:
                await asking
                self._added.note(clock() - asked)
            await self._passed(scope, receive, send, begun, asking)
        finally:
            asking.cancel()

    def _event(self, scope: Scope) -> bytes | None:
        """The media type of what may be an event."""
        if scope["method"] not in self._methods:
            return None
        if not scope["path"].startswith(self._settings.paths):
            return None
        found: list[bytes] = [v for name, v in scope["headers"] if name == b"content-type"]
        media = found[0].split(b";")[0].strip().lower().decode("latin-1") if found else ""
        encoded = any(name == b"content-encoding" for name, _ in scope["headers"])
        return found[0] if media in {JSON_TYPE, *AVRO_TYPES} and not encoded else None

    async def _begin(self, receive: Receive, until: float) -> Begun:
        """The body, as much of it as there is time and room for."""
        found = bytearray()
        try:
            async with asyncio.timeout_at(until):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    found += message.get("body", b"")
                    whole = not message.get("more_body", False)
                    if len(found) > self._settings.max_body:
                        return Begun(bytes(found), whole, Cause.TOO_LARGE)
                    if whole:
                        return Begun(bytes(found), whole)
        except TimeoutError:
            return Begun(bytes(found), whole=False, cause=Cause.SLOW_BODY)

    async def _said(self, begun: Begun, media: bytes, until: float) -> list[RawHeader]:
        """The headers of a decision, or of none. Never raises."""
        try:
            if begun.cause is not None:
                raise NoDecision(begun.cause)  # noqa: TRY301  one place for causes
            left = until - asyncio.get_running_loop().time()
            if left < LEAST:
                raise NoDecision(Cause.SLOW_BODY)  # noqa: TRY301  as above
            outcome = await self._asker.ask(begun.content, media, left)
        except NoDecision as none:
            self.counts[none.cause.value] += 1
            return self._names.without(none.cause)
        except Exception:  # noqa: BLE001  a bug of ours must not be the system's
            self.counts["bug"] += 1
            return self._names.without(Cause.UNAVAILABLE)
        self.counts["decided"] += 1
        return self._names.decided(outcome)

    async def _passed(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        begun: Begun,
        asking: asyncio.Task[list[RawHeader]] | None,
    ) -> None:
        added = list[RawHeader]()
        if asking is not None and Side.REQUEST in self._settings.add:
            added = asking.result()
        body = _Body(begun, receive)
        request = self._request(scope, body, added)
        gone = asyncio.create_task(body.gone())
        sending = asyncio.create_task(self._upstream.handle_async_request(request))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise Gone
            response = sending.result()
            try:
                await self._answer(response, send, self._late(asking), gone)
            finally:
                await response.aclose()
        except (httpx2.HTTPError, OSError) as error:
            if body.left:
                raise Gone from error
            self.counts[UPSTREAM_FAILED] += 1
            await respond(scope, send, _unreachable(error))
        finally:
            for task in (gone, sending):
                task.cancel()

    def _late(self, asking: asyncio.Task[list[RawHeader]] | None) -> list[RawHeader]:
        """What is added to the answer: nobody waits for it."""
        if asking is None or Side.RESPONSE not in self._settings.add:
            return []
        if asking.done():
            return asking.result()
        self.counts[Cause.LATE.value] += 1
        return self._names.without(Cause.LATE)

    def _request(self, scope: Scope, body: _Body, added: list[RawHeader]) -> httpx2.Request:
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        if scope["query_string"]:
            raw += b"?" + scope["query_string"]
        kept = [h for h in _end_to_end(scope["headers"]) if not self._names.ours(h[0])]
        headers = [h for h in kept if h[0] not in (b"x-forwarded-for", b"expect")]
        client = scope.get("client")
        by = [value for name, value in kept if name == b"x-forwarded-for"]
        by += [client[0].encode()] if client else []
        if by:
            headers.append((b"x-forwarded-for", b", ".join(by)))
        if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            headers.append((b"transfer-encoding", b"chunked"))
        return httpx2.Request(
            scope["method"],
            self._base.copy_with(raw_path=raw),
            headers=[*headers, _VIA, *added],
            stream=body,
            extensions={
                "timeout": {
                    "connect": self._settings.connect_timeout,
                    "read": None,
                    "write": None,
                    "pool": None,
                }
            },
        )

    async def _answer(
        self,
        response: httpx2.Response,
        send: Send,
        added: list[RawHeader],
        gone: asyncio.Task[None],
    ) -> None:
        # Headers that look like a decision are the proxy's to say, where it says them.
        mine = Side.RESPONSE in self._settings.add
        kept = _end_to_end((name.lower(), value) for name, value in response.headers.raw)
        headers = [h for h in kept if not (mine and self._names.ours(h[0]))]
        head = {"type": "http.response.start", "status": response.status_code}
        await send({**head, "headers": [*headers, *added]})
        async for part in response.stream:  # type: ignore[union-attr]
            if gone.done():
                raise Gone
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class _Body(httpx2.AsyncByteStream):
    """A request's body, what is here already and the rest as it comes."""

    def __init__(self, begun: Begun, receive: Receive) -> None:
        self._begun = begun
        self._receive = receive
        self._ended = asyncio.Event()
        self._gone = asyncio.Event()
        if begun.whole:
            self._ended.set()

    @property
    def left(self) -> bool:
        """Is the client gone in the middle of it?"""
        return self._gone.is_set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._begun.content:
            yield self._begun.content
        while not self._ended.is_set():
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._gone.set()
                raise ConnectionError("the client left in the middle of its request")
            if not message.get("more_body", False):
                self._ended.set()
            if part := message.get("body", b""):
                yield part

    async def gone(self) -> None:
        """Until the client is: only one may receive, so the body comes first."""
        await self._ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _end_to_end(headers: Iterable[RawHeader]) -> list[RawHeader]:
    """Headers that pass: not those of the connection, nor those that it names."""
    listed = list(headers)
    named = {
        token.strip().lower()
        for name, value in listed
        if name == b"connection"
        for token in value.split(b",")
    }
    return [h for h in listed if h[0] not in HOP_BY_HOP and h[0] not in named]


def _unreachable(error: Exception) -> Answer:
    status, title = (504, b"Timeout") if isinstance(error, httpx2.TimeoutException) else (502, b"")
    text = b'{"type":"urn:workers:problem:upstream","title":"%s","status":%d}'
    body = text % (b"The system behind the proxy did not answer" + (title and b" in time"), status)
    return Answer(status, body, b"application/problem+json")
