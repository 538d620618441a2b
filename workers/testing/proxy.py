"""A bad network between clients and brokers: TCP proxies on 127.0.0.1 that lose, delay and hold.

All of them run in one event loop, in a thread. A proxy reads what clients send as Kafka requests
(four bytes of length, then the API key), so that one request can be held back and delivered later.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

END_TXN = 26
"""API key of EndTxn (kafka.apache.org/protocol)."""
CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Weather:
    """What the network does to every connection of a proxy.

    delay: seconds each way. resets: share of requests that end their connection instead of
    arriving. deaf: requests do not arrive; mute: answers do not; both are late, as TCP repeats
    them, when the weather changes. refuse: there is nobody behind the port.
    """

    delay: float = 0.0
    resets: float = 0.0
    deaf: bool = False
    mute: bool = False
    refuse: bool = False


CLEAR = Weather()


@dataclass(slots=True, eq=False)
class _LinkState:
    """One client's connection, and ours to the broker for it."""

    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    dead: bool = False
    """Half open: the broker's side is gone, and the client is not told."""

    def abort(self) -> None:
        for writer in (self.client, self.broker):
            _reset(writer)


class HeldRequest:
    """A request that left its client, whose connection broke then, and that has not arrived."""

    def __init__(self, frame: bytes, deliver: Callable[[bytes], bytes]) -> None:
        self.frame = frame
        self._deliver = deliver

    def deliver(self) -> bytes:
        """Let it arrive on the connection it was sent on; the broker's answer, without length."""
        return self._deliver(self.frame)

    def try_to_deliver(self) -> bool:
        """The same, where the broker may be gone meanwhile; did an answer come?"""
        try:
            self.deliver()
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            return False
        return True


@dataclass(slots=True)
class _TrapState:
    """Catches the next request of an API key, at any of the proxies."""

    api: int | None = None
    caught: list[HeldRequest] = field(default_factory=list)


class Proxy:
    """The way to one broker."""

    def __init__(self, network: Network, port: int) -> None:
        self.weather = CLEAR
        self.port = 0
        self._network = network
        self._broker_port = port
        self._links: set[_LinkState] = set()
        self._server: asyncio.Server | None = None

    def reset(self) -> None:
        """End every connection with RST."""
        self._network.call(self._reset())

    def half_open(self) -> None:
        """Connections of now are dead, and clients hear nothing of it."""
        self._network.call(self._half_open())

    async def _reset(self) -> None:
        for link in list(self._links):
            link.abort()

    async def _half_open(self) -> None:
        for link in list(self._links):
            link.dead = True
            _reset(link.broker)

    async def listen(self) -> None:
        """Take a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def end(self) -> None:
        """No more connections; those there are end."""
        if self._server is not None:
            for listening in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
            # One accepted in this turn would be lost with its socket open, were it closed at once.
            await _turns()
            self._server.close()
        await self._reset()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._network.tasks.add(task)
            task.add_done_callback(self._network.tasks.discard)
        with suppress(asyncio.CancelledError, OSError):
            try:
                await self._connected(reader, client)
            finally:
                _reset(client)

    async def _connected(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self.weather.refuse:
            return
        try:
            answers, broker = await asyncio.open_connection("127.0.0.1", self._broker_port)
        except OSError:
            return
        link = _LinkState(client, broker)
        self._links.add(link)
        ways = [
            asyncio.ensure_future(self._requests(reader, answers, link)),
            asyncio.ensure_future(self._answers(answers, link)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if link.dead:
                # Only the client's own patience ends this one.
                await asyncio.wait(ways[:1])
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._links.discard(link)
            link.abort()

    async def _requests(
        self, reader: asyncio.StreamReader, answers: asyncio.StreamReader, link: _LinkState
    ) -> None:
        line = _Line(link.broker)
        try:
            while True:
                size = await reader.readexactly(4)
                frame = size + await reader.readexactly(struct.unpack(">i", size)[0])
                if link.dead:
                    continue
                if self._network.chance.random() < self.weather.resets:
                    return
                if struct.unpack_from(">h", frame, 4)[0] == self._network.trap.api:
                    self._catch(frame, answers, link)
                    return
                await self._until(lambda: not self.weather.deaf)
                line.send(frame, self.weather.delay)
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            line.end()

    async def _answers(self, reader: asyncio.StreamReader, link: _LinkState) -> None:
        line = _Line(link.client)
        try:
            while chunk := await reader.read(CHUNK):
                await self._until(lambda: not self.weather.mute)
                line.send(chunk, self.weather.delay)
        except OSError:
            return
        finally:
            line.end()

    async def _until(self, fine: Callable[[], bool]) -> None:
        while not fine():
            await asyncio.sleep(0.02)

    def _catch(self, frame: bytes, answers: asyncio.StreamReader, link: _LinkState) -> None:
        """Keep the broker's side open for the request; the client's breaks."""
        network, broker = self._network, link.broker
        network.trap.api = None
        network.kept.append(broker)
        # What ends with this link is the client's side alone.
        link.broker = link.client

        async def deliver(late: bytes) -> bytes:
            broker.write(late)
            await broker.drain()
            size = await answers.readexactly(4)
            return await answers.readexactly(struct.unpack(">i", size)[0])

        network.trap.caught.append(HeldRequest(frame, lambda late: network.call(deliver(late))))


class Network:
    """Proxies in front of brokers, in one thread; `seed` chooses which requests are lost."""

    def __init__(self, seed: int = 0) -> None:
        self.chance = random.Random(seed)
        self.proxies: list[Proxy] = []
        self.trap = _TrapState()
        self.kept: list[asyncio.StreamWriter] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, asked: Coroutine[Any, Any, Any]) -> Any:
        """Run it in the network's thread; its result."""
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result(30)

    def proxy(self, port: int) -> Proxy:
        """A proxy in front of 127.0.0.1:`port`, which need not be open yet."""
        made = Proxy(self, port)
        self.call(made.listen())
        self.proxies.append(made)
        return made

    def weather(self, weather: Weather) -> None:
        """The same for all."""
        for proxy in self.proxies:
            proxy.weather = weather

    def hold(self, api: int) -> list[HeldRequest]:
        """Hold back the next request of that API key; the list gets it. One at a time."""
        self.trap.api, self.trap.caught = api, []
        return self.trap.caught

    def clear(self) -> None:
        """Good weather, nothing held back, and connections that are as good as dead end."""
        self.weather(CLEAR)
        self.trap.api = None
        self.call(self._end_half_open())

    async def _end_half_open(self) -> None:
        for proxy in self.proxies:
            for link in list(proxy._links):
                if link.dead:
                    link.abort()

    def close(self) -> None:
        """End it all."""
        self.call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        for proxy in self.proxies:
            await proxy.end()
        # Connections just accepted get as far as to be ended; that takes turns of the loop.
        await _turns()
        for writer in self.kept:
            _reset(writer)
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        # So do transports, to close.
        await _turns()


class _Line:
    """One way of a connection: what is sent arrives after its delay, in order."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._task = asyncio.ensure_future(self._run())

    def send(self, data: bytes, delay: float) -> None:
        self._late.put_nowait((self._loop.time() + delay, data))

    async def _run(self) -> None:
        with suppress(OSError):
            while True:
                due, data = await self._late.get()
                if (wait := due - self._loop.time()) > 0:
                    await asyncio.sleep(wait)
                self._writer.write(data)
                await self._writer.drain()

    def end(self) -> None:
        self._task.cancel()


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0.002)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST, as a peer that lost its state does."""
    found = writer.get_extra_info("socket")
    if found is not None and not writer.transport.is_closing():
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
