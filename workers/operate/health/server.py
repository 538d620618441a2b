"""A small HTTP server beside the stream: one thread, hard limits, nothing to wait for.

It shares the interpreter with the loop, so what matters is how little anybody can make it do: few
connections at a time, few new ones a second, a short head, one request a connection, a deadline
over all of it. Where connections run out, the one that has said nothing for longest makes room: who
holds connections open, or drips bytes, cannot keep a probe out. HTTP itself is h11's.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

import h11

from workers.errors import ClientHalt
from workers.operate.health.pages import EVERY, TEXT, Answering, Page

CLOSE = 2.0
"""Seconds that the end may take."""
PACE = 0.1
"""Seconds between two handfuls of new connections."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What anybody may ask of the server. `accepts`: new connections in `PACE` seconds."""

    connections: int = 64
    accepts: int = 25
    backlog: int = 128
    head_bytes: int = 8192
    seconds: float = 5.0
    linger_bytes: int = 65_536


class Server:
    """Serves pages of one process until `close`."""

    def __init__(
        self, address: str, port: int, pages: Answering, limits: Limits | None = None
    ) -> None:
        """Listens at once, answers from `start` on.

        Raises:
            ClientHalt: the address cannot be had.
        """
        self._pages = pages
        self._limits = limits or Limits()
        self._listener = _listen(address, port, self._limits.backlog)
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._open: dict[asyncio.Task[None], socket.socket] = {}
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        found: int = self._listener.getsockname()[1]
        return found

    def start(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def close(self) -> None:
        """End, within a moment; who is being answered is cut off."""
        if self._thread.ident is None:
            self._listener.close()
            self._loop.close()
            return
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread.is_alive():
            self._thread.join(CLOSE)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._listener.close()
            self._loop.close()

    async def _serve(self) -> None:
        tasks = [asyncio.ensure_future(task) for task in (self._accept(), self._sample())]
        await self._stopping.wait()
        for task in (*tasks, *self._open):
            task.cancel()
        await asyncio.gather(*tasks, *self._open, return_exceptions=True)

    async def _sample(self) -> None:
        while True:
            self._pages.sample()
            await asyncio.sleep(EVERY)

    async def _accept(self) -> None:
        while True:
            for _ in range(self._limits.accepts):
                connection = await self._next()
                self._make_room()
                task = self._loop.create_task(self._attend(connection))
                self._open[task] = connection
                # Not in the task: one that is cancelled before it began does nothing at all.
                task.add_done_callback(self._gone)
            await asyncio.sleep(PACE)

    async def _next(self) -> socket.socket:
        """The next connection; asyncio's own would lose one that comes while it is cancelled."""
        while True:
            try:
                return self._listener.accept()[0]
            except BlockingIOError:
                await self._readable()
            except OSError:
                # Out of file descriptors, or gone before it was accepted.
                await asyncio.sleep(PACE)

    async def _readable(self) -> None:
        found = asyncio.Event()
        self._loop.add_reader(self._listener, found.set)
        try:
            await found.wait()
        finally:
            self._loop.remove_reader(self._listener)

    def _make_room(self) -> None:
        """The oldest goes: what is honest is answered within a moment of its coming."""
        staying = [task for task in self._open if not task.cancelling()]
        if len(staying) >= self._limits.connections:
            staying[0].cancel()

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._open.pop(task).close()
        if not task.cancelled():
            # Looked at, so that nobody complains of it; a broken connection is nobody's fault.
            task.exception()

    async def _attend(self, connection: socket.socket) -> None:
        connection.setblocking(False)  # noqa: FBT003  the socket module's way
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(self._limits.seconds):
                await self._answer(connection)

    async def _answer(self, connection: socket.socket) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_bytes)
        try:
            request = await self._request(connection, http)
            if request is None:
                return
            page = self._page(request)
        except h11.RemoteProtocolError as error:
            page, request = Page(error.error_status_hint, TEXT, b"not understood\n"), None
        if http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            head = request is not None and request.method == b"HEAD"
            await self._loop.sock_sendall(connection, _encoded(http, page, head=head))
        await self._linger(connection)

    async def _request(self, connection: socket.socket, http: h11.Connection) -> h11.Request | None:
        """The head of a request; None where the other side went away before its end."""
        while True:
            event = http.next_event()
            if isinstance(event, h11.Request):
                return event
            if event is not h11.NEED_DATA:
                return None
            data = await self._loop.sock_recv(connection, self._limits.head_bytes)
            http.receive_data(data)
            if not data:
                return None

    def _page(self, request: h11.Request) -> Page:
        if request.method not in (b"GET", b"HEAD"):
            return Page(405, TEXT, b"GET or HEAD\n")
        path = request.target.partition(b"?")[0]
        try:
            page = self._pages(path.decode("ascii", "replace"))
        except Exception as error:  # noqa: BLE001  one page's bug is not the others'
            page = Page(500, TEXT, f"{type(error).__name__}\n".encode())
        return page

    async def _linger(self, connection: socket.socket) -> None:
        """Let the answer arrive: closing with bytes unread would reset the connection."""
        connection.shutdown(socket.SHUT_WR)
        left = self._limits.linger_bytes
        while left > 0:
            data = await self._loop.sock_recv(connection, 4096)
            if not data:
                return
            left -= len(data)


def _encoded(http: h11.Connection, page: Page, *, head: bool) -> bytes:
    headers = [
        ("Content-Type", page.kind),
        ("Content-Length", str(len(page.body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Connection", "close"),
    ]
    if page.status == 405:
        headers.append(("Allow", "GET, HEAD"))
    parts = [http.send(h11.Response(status_code=page.status, headers=headers))]
    if page.body and not head:
        parts.append(http.send(h11.Data(data=page.body)))
    return b"".join(part for part in parts if part)


def _listen(address: str, port: int, backlog: int) -> socket.socket:
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(backlog)
        listener.setblocking(False)  # noqa: FBT003  the socket module's way
    except OSError as error:
        listener.close()
        raise ClientHalt(f"health: {address} port {port}: {error.strerror}") from error
    return listener
