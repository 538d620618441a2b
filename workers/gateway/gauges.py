"""Numbers of a gateway that are as they are now, and why it is not as it should be.

Asked by whoever collects, in threads of theirs: nothing here touches a client.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from workers.gateway.callers import Callers
from workers.gateway.decisionlog import DecisionLog
from workers.gateway.decisions import Desk
from workers.gateway.idempotency import Keys
from workers.gateway.pages import Reason
from workers.gateway.server import QuietServer
from workers.telemetry import gateway as n
from workers.telemetry.registry import Sample


def of_desk(desk: Desk) -> Iterator[Sample]:
    """A worker's queue, and its limits."""
    engine, settings = desk.engine, desk.service.settings
    yield n.QUEUE, (), engine.held
    yield n.QUEUE_LIMIT, (), settings.queue.events
    yield n.DEADLINE, (), settings.deadline
    yield n.STOPPED, (), int(engine.stopped is not None)


def of_log(log: DecisionLog) -> Iterator[Sample]:
    """The decision log."""
    yield n.LOG_RECORDS, ("acknowledged",), log.acknowledged
    yield n.LOG_RECORDS, ("spilled",), log.spilled
    yield n.LOG_RECORDS, ("replayed",), log.replayed
    yield n.LOG_DURATION, (), log.seconds.spread
    yield n.LOG_DOWN, (), int(log.down is not None)
    yield n.LOG_WAITING, (), log.waiting
    if log.spill_limit is not None:
        yield n.SPILL, (), log.spilled_bytes
        yield n.SPILL_LIMIT, (), log.spill_limit


def of_requests(
    callers: Callers, keys: Keys | None, servers: Iterable[QuietServer]
) -> Iterator[Sample]:
    """Callers over their rates, keys, and connections that came to nothing."""
    for caller, count in callers.limited.copy().items():
        yield n.RATE_LIMITED, (caller,), count
    if keys is not None:
        yield n.KEYS_HELD, (), keys.held
    refused = sum((server.refused.copy() for server in servers), Counter[str]())
    for why, count in refused.items():
        yield n.CONNECTIONS_REFUSED, (why,), count


def reasons(desks: Iterable[Desk], log: DecisionLog) -> Iterator[Reason]:
    """Why it is not ready, and what an operator should know besides."""
    for desk in desks:
        if desk.engine.stopped is not None:
            yield Reason("stopped", desk.engine.stopped, blocks=True, worker=desk.name)
        for serving in desk.service.enricher.servings:
            if serving.bypass is not None:
                yield Reason("model_bypassed", serving.bypass, blocks=False, worker=desk.name)
    if log.down is not None:
        yield Reason("log_down", log.down, blocks=not log.spills)
    if log.spilled_bytes:
        why = f"{log.spilled_bytes} bytes of decisions wait on disk for their topic"
        yield Reason("spill_waits", why, blocks=False)
