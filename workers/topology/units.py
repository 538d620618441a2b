"""Durations and sizes as people write them: `50ms`, `30s`, `5m`; `512KiB`, `8MiB`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h)$")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"^(\d+)\s*(B|KiB|MiB|GiB)?$")
_BYTES = {None: 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def _seconds(value: Any) -> Any:
    if isinstance(value, str) and (match := _DURATION.match(value.strip())):
        return float(match[1]) * _SECONDS[match[2]]
    raise ValueError("not a duration; write a number and a unit, as in 50ms, 30s, 5m or 1h")


def _bytes(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("not a size; write bytes, or a unit as in 512KiB or 8MiB")  # noqa: TRY004
    if isinstance(value, int) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.match(value.strip())):
        return int(match[1]) * _BYTES[match[2]]
    raise ValueError("not a size; write bytes, or a unit as in 512KiB or 8MiB")


Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern, "examples": ["50ms", "30s"]}),
]
"""Seconds."""

Size = Annotated[
    int,
    BeforeValidator(_bytes),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": _SIZE.pattern, "examples": ["512KiB", "8MiB"]},
            ]
        }
    ),
]
"""Bytes."""
