"""Where log lines go."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

import structlog
from pydantic_core import to_json


def configure_logging(*, debug: bool = False) -> None:
    """Logs on standard error: for people on a terminal, else one JSON object a line.

    A line's `timestamp` is now, or the nanoseconds UTC that it is given.
    """
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[_stamped, _for_people if terminal else _line],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if debug else logging.INFO
        ),
        # One write a line: processes of one host share the stream.
        # Where standard error is when a logger is made: a test may have put another in its place.
        logger_factory=lambda *_: (
            structlog.WriteLogger(sys.stderr)
            if terminal
            else structlog.BytesLogger(sys.stderr.buffer)
        ),
        cache_logger_on_first_use=False,
    )


def _stamped(_: Any, level: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Level and time, for less than structlog's own: there is a line a batch."""
    at = fields.get("timestamp")
    seconds, rest = divmod(time.time_ns() if at is None else at, 1_000_000_000)
    fields["level"] = level
    fields["timestamp"] = f"{_second(seconds)}.{rest // 1000:06}Z"
    return fields


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _line(_: Any, __: str, fields: MutableMapping[str, Any]) -> bytes:
    """JSON in half the time of the standard library's."""
    return to_json(fields, fallback=repr)


_for_people = structlog.dev.ConsoleRenderer()
