"""Idempotency-Key: one answer a key, whichever replica is asked, and after a restart too."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b

from confluent_kafka import KafkaError, Message, Producer

from workers.gateway.claims import ClaimsState, Doing, Held, Note, note_of
from workers.gateway.notes import GatewayEvent, Say
from workers.gateway.problems import Kind, Problem
from workers.gateway.tail import Read, Tail, since
from workers.stream.clients import Config
from workers.stream.clock import Clock
from workers.topology.gateway import IdempotencyTopic

MARGIN = 60.0
"""Seconds before the window from which on the topic is read: clocks of gateways may differ."""
LONGEST_KEY = 255
RELEASE_SECONDS = 1.0
FORGET_EVERY = 1.0


def key_id(caller: str, worker: str, key: str) -> bytes:
    """What the topic knows a key by: of one caller, for one worker."""
    return blake2b(
        b"\0".join(part.encode() for part in (caller, worker, key)), digest_size=16
    ).digest()


def digest_of(*parts: bytes) -> str:
    """What makes two requests the same."""
    found = blake2b(digest_size=16)
    for part in parts:
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.hexdigest()


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer that was given."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """The key is ours: answer, or release it."""

    key: bytes
    claim: str
    digest: str


class Keys:
    """Keys of requests. State belongs to the event loop's thread; the tail hands records over."""

    def __init__(
        self,
        settings: IdempotencyTopic,
        producer: Config,
        consumer: Config,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        say: Say,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._loop = loop
        self._say = say
        self._state = ClaimsState(
            window=settings.window, patience=settings.claim, limit=settings.memory
        )
        self._met: dict[str, asyncio.Future[bool]] = {}
        self._down: str | None = "the topic is still being read"
        self._forgotten = 0.0
        self._producer = Producer({**producer, "on_delivery": self._reported})
        oldest = clock.now() - int((settings.window + settings.claim + MARGIN) * 1000)
        self._tail = Tail(consumer, [settings.topic], since(oldest), self._take, self._unwell)

    def start(self, seconds: float) -> bool:
        """Read what is there; was all of it read in this time?"""
        self._tail.start()
        return self._tail.caught_up.wait(seconds)

    def ready(self) -> None:
        """Everything was read: from now on keys can be claimed."""
        self._down = None

    def close(self) -> None:
        """End."""
        self._tail.close()

    @property
    def held(self) -> int:
        """Keys that are remembered."""
        return len(self._state)

    async def claim(self, key: bytes, digest: str, until: float) -> Claimed | Stored:
        """Take the key, or get the answer that was given under it.

        Raises:
            Problem: it belongs to another request, or to one that is not answered yet; or the
                topic cannot be written or read before `until`, in the loop's time.
        """
        if (stored := self._judge(self._state.find(key, self._clock.now()), digest)) is not None:
            return stored
        if self._down is not None:
            raise self._unavailable(self._down)
        if self._state.full:
            raise self._unavailable("the memory for keys is full")
        claim = secrets.token_hex(12)
        if await self._write(key, Note(Doing.CLAIM, claim, digest), until):
            return Claimed(key, claim, digest)
        # Another claim stands before ours: it may have been answered meanwhile.
        if (stored := self._judge(self._state.find(key, self._clock.now()), digest)) is not None:
            return stored
        raise self._in_flight()

    async def answer(self, claimed: Claimed, status: int, body: bytes, until: float) -> None:
        """Keep the answer. It counts, and may be given, when this returns.

        Raises:
            Problem: another request has the key by now, or that is not known.
        """
        note = Note(Doing.ANSWER, claimed.claim, claimed.digest, status, body.decode())
        if not await self._write(claimed.key, note, until):
            raise self._in_flight()

    async def release(self, claimed: Claimed) -> None:
        """There is no answer: whoever asks again may have the key. What cannot be written in a
        moment is left to the claim's end.
        """
        note = Note(Doing.RELEASE, claimed.claim, claimed.digest)
        with suppress(Problem):
            await self._write(claimed.key, note, self._loop.time() + RELEASE_SECONDS)

    def _judge(self, held: Held | None, digest: str) -> Stored | None:
        if held is None:
            return None
        if held.digest != digest:
            raise Problem(
                Kind.KEY_REUSED, "this Idempotency-Key came with another request: use a new one"
            )
        if not held.answered:
            raise self._in_flight()
        return Stored(held.status, held.body.encode())

    async def _write(self, key: bytes, note: Note, until: float) -> bool:
        """Write, and read on until it is met: does it count?"""
        met = self._loop.create_future()
        name = f"{note.doing}:{note.claim}"
        self._met[name] = met
        try:
            self._produce(key, note)
            return await asyncio.wait_for(met, max(0.0, until - self._loop.time()))
        except TimeoutError:
            raise self._unavailable("the topic of keys does not answer in time") from None
        except BufferError:
            raise self._unavailable("the producer's queue is full") from None
        finally:
            self._met.pop(name, None)

    def _produce(self, key: bytes, note: Note) -> None:
        produce: Callable[..., None] = self._producer.produce
        produce(self._settings.topic, note.packed(), key, timestamp=self._clock.now())
        self._producer.poll(0)

    def _reported(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._say(GatewayEvent.KEYS_DOWN, why=error.str())

    # In the tail's thread.

    def _take(self, found: list[Read]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._taken, found)

    def _unwell(self, why: str | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, why)

    # In the loop's.

    def _tell(self, why: str | None) -> None:
        if why is None:
            self._say(GatewayEvent.KEYS_UP)
        else:
            self._say(GatewayEvent.KEYS_DOWN, why=why)

    def _taken(self, found: list[Read]) -> None:
        for read in found:
            note = note_of(read.value)
            if note is None or read.key is None:
                continue
            counts = self._state.take(read.key, note, read.stamp)
            met = self._met.get(f"{note.doing}:{note.claim}")
            if met is not None and not met.done():
                met.set_result(counts)
        if time.monotonic() - self._forgotten > FORGET_EVERY:
            self._forgotten = time.monotonic()
            self._state.forget(self._clock.now() - int(MARGIN * 1000))

    def _in_flight(self) -> Problem:
        return Problem(Kind.IN_FLIGHT, "ask again with the same key and request", retry_after=1)

    def _unavailable(self, why: str) -> Problem:
        self._producer.poll(0)
        return Problem(Kind.KEYS_DOWN, why, retry_after=5)
