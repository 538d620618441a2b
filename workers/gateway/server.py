"""uvicorn, held to limits that it has not: how long a request may take to arrive, and its head."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from workers.errors import ClientHalt
from workers.gateway.http import WHOLE, App
from workers.topology.gateway import RequestLimits

BACKLOG = 2048


def _said(status: str, retry: bool = False) -> bytes:  # noqa: FBT001, FBT002  two lines below
    title = status.partition(" ")[2]
    body = f'{{"type":"about:blank","title":"{title}","status":{status[:3]}}}'
    again = "retry-after: 1\r\n" if retry else ""
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\n{again}"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n{body}"
    ).encode()


BUSY = _said("503 Service Unavailable", retry=True)
SLOW = _said("408 Request Timeout")
LONG = _said("431 Request Header Fields Too Large")
_WHY = {BUSY: "busy", SLOW: "slow", LONG: "long"}


class BoundedProtocol(HttpToolsProtocol):
    """A connection. What is too slow, too long, or one too many is answered and closed."""

    limits = RequestLimits()
    refused: ClassVar[Counter[str]] = Counter()
    """Connections that were ended so, by why: of one server."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """One more."""
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._in_head, self._head = True, 0
        if len(self.connections) > self.limits.connections:
            self._end(BUSY)
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some of a request; the clock runs until it is whole."""
        if self._in_head:
            self._head += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            self._disarm()
        elif self._in_head and self._head > self.limits.head:
            self._end(LONG)
        elif self._in_head and not self._head:
            self._disarm()
        else:
            self._arm()

    def on_headers_complete(self) -> None:
        """The rest is body."""
        self._in_head = False
        super().on_headers_complete()
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            # Weak, for a cycle holds its scope: else each request would be left to the collector.
            whole = functools.partial(_whole, weakref.ref(cycle))
            self.scope["extensions"] = {WHOLE: {"send": whole}}

    def on_message_complete(self) -> None:
        """The next one begins with a head."""
        self._in_head, self._head = True, 0
        super().on_message_complete()

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.limits.receive, self._end, SLOW)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, answer: bytes) -> None:
        self._disarm()
        self.refused[_WHY[answer]] += 1
        # Where an answer has begun, another must not follow.
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(answer)
        self.transport.close()


def _whole(held: weakref.ref[RequestResponseCycle], status: int, media: bytes, body: bytes) -> bool:
    """What `cycle.send` does twice, with one write.

    False, and nothing done, where the connection is to be closed or has to be waited for.
    """
    cycle = held()
    closing = cycle is None or not cycle.keep_alive or cycle.disconnected
    if cycle is None or closing or cycle.flow.write_paused or cycle.response_started:
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    more = b"".join(b"%b: %b\r\n" % header for header in cycle.default_headers)
    cycle.transport.write(
        b"%b%bcontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
        % (STATUS_LINE[status], more, media, len(body), body)
    )
    cycle.message_event.set()
    cycle.on_response()
    return True


class QuietServer(uvicorn.Server):
    """One of several in a process: signals are the caller's."""

    def __init__(self, config: uvicorn.Config, refused: Counter[str]) -> None:
        """`refused` counts connections that are ended, by why."""
        super().__init__(config)
        self.refused = refused

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None of them."""
        yield


def server_of(app: App, limits: RequestLimits, drain: float) -> QuietServer:
    """A server for an application; it logs nothing."""
    refused = Counter[str]()
    protocol = type("Protocol", (BoundedProtocol,), {"limits": limits, "refused": refused})
    config = uvicorn.Config(
        app,
        loop="none",
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        # What a proxy says of the client is read by us, where the topology names the proxy.
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=max(1, int(limits.idle)),
        timeout_graceful_shutdown=max(1, int(drain)),
    )
    return QuietServer(config, refused)


def listener(host: str, port: int, path: Path | None = None) -> socket.socket:
    """A socket that listens; several processes of one host may share a port.

    Raises:
        ClientHalt: it is taken, or the address is none of ours.
    """
    try:
        if path is not None:
            return _unix(path)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = socket.create_server((host, port), family=family, backlog=BACKLOG)
        opened.settimeout(0)
    except OSError as error:
        place = path or f"{host}:{port}"
        raise ClientHalt(f"gateway: cannot listen on {place}: {error.strerror}") from error
    return opened


def _unix(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(FileNotFoundError):
        # Left by a process that was killed. One that lives still answers there.
        if path.is_socket() and not _answers(path):
            path.unlink()
    opened.bind(str(path))
    path.chmod(0o660)
    opened.listen(BACKLOG)
    opened.settimeout(0)
    return opened


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        return asking.connect_ex(str(path)) == 0
