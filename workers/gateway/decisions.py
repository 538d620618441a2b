"""`POST /v1/decisions/{worker}`: from a request to its answer."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from workers.gateway.answers import Decided, shown
from workers.gateway.callers import Callers, Known
from workers.gateway.counts import Counts, Requests
from workers.gateway.decisionlog import DecisionLog, LogDown
from workers.gateway.engine import TOPIC, Engine, JobState, Row
from workers.gateway.events import (
    AVRO_TYPES,
    JSON_TYPE,
    Events,
    Reading,
    Shape,
    read_avro,
    read_json,
)
from workers.gateway.http import (
    Answer,
    App,
    Gone,
    Receive,
    Scope,
    Send,
    answer_of,
    body_of,
    headers_of,
    query_of,
    respond,
)  # fmt: skip
from workers.gateway.idempotency import LONGEST_KEY, Keys, Stored, digest_of, key_id
from workers.gateway.lookup import Lookup
from workers.gateway.notes import GatewayEvent, Say
from workers.gateway.openapi import TIMEOUT
from workers.gateway.problems import Kind, Problem
from workers.gateway.service import Service
from workers.gateway.spill import Spilled
from workers.stream.clock import Clock
from workers.topology.gateway import Acknowledge, ReasonsPolicy, RequestLimits

PATH = "/v1/decisions/"
ROUTE = f"{PATH}{{worker}}"
NUMBER_BITS = 96
_TIMEOUT = re.compile(TIMEOUT)
_REPLAYED = (b"idempotent-replayed", b"true")


@dataclass(frozen=True, slots=True)
class Options:
    """What a request asks for beside decisions."""

    timeout: float
    reasons: bool
    reading: Reading
    key: str | None


@dataclass(frozen=True)
class Desk:
    """One worker with what scores and what logs for it."""

    service: Service
    engine: Engine
    counts: Counts

    @cached_property
    def name(self) -> str:
        """The worker's."""
        return self.service.worker.name


class Decisions:
    """Answers requests for decisions; everything else goes to `rest`."""

    def __init__(  # noqa: PLR0913  every part is given, by keyword
        self,
        *,
        desks: Mapping[str, Desk],
        callers: Callers,
        limits: RequestLimits,
        log: DecisionLog,
        log_timeout: float,
        keys: Keys | None,
        lookup: Lookup,
        clock: Clock,
        say: Say,
        others: Requests,
        rest: App,
    ) -> None:
        """`others` counts requests to workers that are not served."""
        self._desks = desks
        self._callers = callers
        self._limits = limits
        self._log = log
        self._log_timeout = log_timeout
        self._keys = keys
        self._lookup = lookup
        self._clock = clock
        self._say = say
        self._others = others
        self._rest = rest
        # Asking the kernel for each would let go of the interpreter's lock, and wait for it again.
        self._numbers = itertools.count(secrets.randbits(NUMBER_BITS))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        path = scope.get("path", "")
        if scope["type"] != "http" or scope["method"] != "POST" or not path.startswith(PATH):
            await self._rest(scope, receive, send)
            return
        clock, name, kind = asyncio.get_running_loop().time, path[len(PATH) :], ""
        began = clock()
        try:
            answer = await self._answer(scope, receive, name, began)
        except Problem as problem:
            answer, kind = answer_of(problem), problem.kind.value
        except Gone:
            return
        except Exception as error:  # noqa: BLE001  the client is told, and so are we
            self._say(GatewayEvent.BUG, where="decisions", error=type(error).__name__)
            answer, kind = answer_of(Problem(Kind.BUG, type(error).__name__)), Kind.BUG.value
        await respond(scope, send, answer)
        desk = self._desks.get(name)
        requests = self._others if desk is None else desk.counts.requests
        requests.note("POST", ROUTE, answer.status, kind, clock() - began)

    async def _answer(self, scope: Scope, receive: Receive, name: str, began: float) -> Answer:
        headers = headers_of(scope)
        caller = await known(self._callers, headers, scope)
        desk = self._desks.get(name)
        if desk is None:
            raise Problem(Kind.NOT_FOUND, "no such worker is served here")
        caller.may_ask(desk.name)
        options = self._options(desk, headers, query_of(scope))
        body = await body_of(scope, receive, headers, self._limits.body)
        events = self._events(desk, caller, options, headers.get("content-type", JSON_TYPE), body)
        self._callers.count(caller, len(events.values))
        if options.key is None:
            number = next(self._numbers)
            return Answer(200, await self._decide(desk, caller, options, events, (number, began)))
        digest = digest_of(
            headers.get("content-type", JSON_TYPE).encode(), scope["query_string"], body
        )
        try:
            return await self._once(desk, caller, options, events, (digest, began))
        except Problem as problem:
            desk.counts.key_failed(problem.kind)
            raise

    def _options(self, desk: Desk, headers: Mapping[str, str], query: Mapping[str, str]) -> Options:
        settings, readings = desk.service.settings, desk.service.readings
        timeout = settings.deadline
        if (text := headers.get("x-request-timeout")) is not None:
            timeout = _timeout(text, settings.longest)
        if unknown := query.keys() - {"reasons", "version"}:
            raise Problem(Kind.BAD_HEADER, f"no such parameter: {min(unknown)[:40]!r}")
        asked = query.get("reasons", "false")
        if asked not in ("true", "false"):
            raise Problem(Kind.BAD_HEADER, "reasons is true or false")
        reading = readings.of(query.get("version"))
        if reading is None:
            known = ", ".join(map(str, sorted(readings.by_version)))
            raise Problem(Kind.BAD_HEADER, f"version is one of {known}")
        key = headers.get("idempotency-key")
        if key is not None:
            self._check_key(key)
        reasons = asked == "true" or settings.reasons is ReasonsPolicy.ALWAYS
        return Options(timeout, reasons, reading, key)

    def _check_key(self, key: str) -> None:
        if self._keys is None:
            raise Problem(Kind.BAD_HEADER, "Idempotency-Key: keys are not kept by this gateway")
        if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
            raise Problem(Kind.BAD_HEADER, f"Idempotency-Key: 1 to {LONGEST_KEY} characters")

    def _events(
        self, desk: Desk, caller: Known, options: Options, content_type: str, body: bytes
    ) -> Events:
        media, _, parameters = content_type.partition(";")
        media = media.strip().lower()
        most = self._limits.events
        if media == JSON_TYPE:
            return read_json(body, options.reading, most, caller.accepts)
        if media not in AVRO_TYPES:
            shown_types = ", ".join((JSON_TYPE, *sorted(AVRO_TYPES)))
            raise Problem(Kind.MEDIA, f"send one of {shown_types}")
        if caller.accepts is not None:
            raise Problem(
                Kind.FORBIDDEN, "this caller may send some fields only: send JSON, where they show"
            )
        return read_avro(body, parameters, desk.service.readings.keys, most)

    async def _once(
        self,
        desk: Desk,
        caller: Known,
        options: Options,
        events: Events,
        request: tuple[str, float],
    ) -> Answer:
        """The answer that this key has, or gets now."""
        digest, began = request
        assert self._keys is not None  # noqa: S101  checked with the header
        key = key_id(caller.name, desk.name, options.key or "")
        until = began + options.timeout + self._log_timeout
        claimed = await self._keys.claim(key, digest, until)
        if isinstance(claimed, Stored):
            desk.counts.keyed["replayed"] += 1
            return Answer(claimed.status, claimed.body, headers=[_REPLAYED])
        # So that another try, by whichever replica, gives its decisions the same ids.
        number = int.from_bytes(key[: NUMBER_BITS // 8], "big")
        try:
            body = await self._decide(desk, caller, options, events, (number, began))
            # What is logged gets its answer, even late.
            until = max(until, asyncio.get_running_loop().time() + self._log_timeout)
            await self._keys.answer(claimed, 200, body, until)
        except Problem:
            # Whoever is told so may ask again with the same key, at once.
            await self._keys.release(claimed)
            raise
        desk.counts.keyed["answered"] += 1
        return Answer(200, body)

    async def _decide(
        self,
        desk: Desk,
        caller: Known,
        options: Options,
        events: Events,
        place: tuple[int, float],
    ) -> bytes:
        """Score, log, and say so."""
        number, began = place
        rows = list[Row | None](v if isinstance(v, Problem) else None for v in events.values)
        values = [value for value in events.values if not isinstance(value, Problem)]
        if values:
            places = [at for at, row in enumerate(rows) if row is None]
            keys = [events.keys[at] for at in places]
            found = await self._scored(desk, options, (values, keys, places), number, began)
            for at, row in zip(places, found, strict=True):
                rows[at] = row
            await self._logged(desk, rows, events.keys, number)
        for each in rows:
            if isinstance(each, Problem):
                desk.counts.rejected[each.kind.value] += 1
        names = desk.service.renderer.names
        if events.shape is Shape.ONE:
            (only,) = rows
            if not isinstance(only, Decided):
                raise Problem(Kind.BUG, "no outcome") if only is None else only
            return shown(only, names, caller.returns).encode()
        parts = [_outcome(row, names, caller) for row in rows if row is not None]
        return f'{{"outcomes":[{",".join(parts)}]}}'.encode()

    async def _scored(
        self,
        desk: Desk,
        options: Options,
        asked: tuple[list[bytes], list[bytes | None], list[int]],
        number: int,
        began: float,
    ) -> list[Row]:
        # An acknowledgement takes its time as well; no more than half of it is set aside.
        reserve = min(self._log.slow, options.timeout / 2)
        loop = asyncio.get_running_loop()
        values, keys, places = asked
        job = JobState(
            values=values,
            keys=keys,
            places=places,
            number=number,
            reasons=options.reasons,
            score_by=began + options.timeout - reserve,
            future=loop.create_future(),
        )
        try:
            return await desk.engine.submit(job)
        except asyncio.CancelledError:
            desk.engine.abandoned(job)
            raise

    async def _logged(
        self, desk: Desk, rows: list[Row | None], keys: list[bytes | None], number: int
    ) -> None:
        now, topic = self._clock.now(), desk.service.decisions_topic
        records, ids = list[Spilled](), list[str]()
        names = desk.service.renderer.names
        stem = f"{desk.service.worker.known_as}:{TOPIC}:"
        for at, row in enumerate(rows):
            if isinstance(row, Decided):
                for block, record in zip(names, row.records, strict=True):
                    records.append(Spilled(topic, keys[at], record, now))
                    tail = "" if block is names[0] else f":{block}"
                    ids.append(f"{stem}{at}:{number}{tail}")
        if not records:
            return
        try:
            kept = self._log.append(records)
            if desk.service.settings.acknowledge is Acknowledge.BEFORE_ANSWER:
                await kept
            else:
                kept.add_done_callback(_seen)
        except LogDown as down:
            raise Problem(Kind.LOG_DOWN, str(down), retry_after=2) from None
        self._lookup.add(topic, ids, [record.value for record in records])


async def known(callers: Callers, headers: dict[str, str], scope: Scope) -> Known:
    """Who asks.

    Raises:
        Problem: that is not known.
    """
    client = scope.get("client")
    address = client[0] if client else None
    if callers.waits and "authorization" in headers:
        # Keys may have to be fetched.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, callers.who, headers, address)
    return callers.who(headers, address)


def _timeout(text: str, longest: float) -> float:
    if not (match := _TIMEOUT.fullmatch(text)):
        raise Problem(Kind.BAD_HEADER, "X-Request-Timeout: a number and a unit, as in 50ms or 2s")
    return min(float(match[1]) * {"ms": 0.001, "s": 1.0, "m": 60.0}[match[2]], longest)


def _outcome(row: Row, names: tuple[str, ...], caller: Known) -> str:
    if isinstance(row, Decided):
        return shown(row, names, caller.returns)
    return f'{{"status":"rejected","problem":{json.dumps(row.document())}}}'


def _seen(future: asyncio.Future[None]) -> None:
    """What nobody waits for may fail without a word: the log has said that it is down."""
    if not future.cancelled():
        future.exception()
