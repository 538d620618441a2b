"""What a gateway says: a closed list of names; no text holds an event, a key or a token."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Protocol

import structlog

from workers.telemetry.names import LOG_EVENTS
from workers.telemetry.registry import Registry


class GatewayEvent(StrEnum):
    """Every event name a gateway logs, beside those of its workers' models and contracts."""

    STARTED = "gateway.started"
    STOPPING = "gateway.stopping"
    STOPPED = "gateway.stopped"
    PROGRESS = "gateway.progress"
    LOG_DOWN = "gateway.log_down"
    LOG_UP = "gateway.log_up"
    SPILLED = "gateway.spilled"
    REPLAYED = "gateway.replayed"
    KEYS_DOWN = "gateway.keys_down"
    KEYS_UP = "gateway.keys_up"
    ADMIN = "gateway.admin"
    JWKS_UNWELL = "gateway.jwks_unwell"
    BUG = "gateway.bug"


class Say(Protocol):
    """Logs an event of the gateway; from any thread."""

    def __call__(self, event: GatewayEvent, **fields: Any) -> None:
        """Say it."""


_LEVELS = {
    GatewayEvent.LOG_DOWN: "error",
    GatewayEvent.KEYS_DOWN: "error",
    GatewayEvent.BUG: "error",
    GatewayEvent.SPILLED: "warning",
    GatewayEvent.JWKS_UNWELL: "warning",
}


def saying(registry: Registry | None = None, **bound: Any) -> Say:
    """Log lines with these fields in each, counted in `registry`."""
    log, counted = structlog.get_logger().bind(**bound), registry or Registry()

    def say(event: GatewayEvent, **fields: Any) -> None:
        counted.add(LOG_EVENTS, 1, event.value)
        getattr(log, _LEVELS.get(event, "info"))(event.value, **fields)

    return say
