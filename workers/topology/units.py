"""Durations and sizes as people write them: `50ms`, `30s`, `5m`; `512KiB`, `8MiB`."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h)$")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_YEAR = 366 * 86_400.0
_SIZE = re.compile(r"^(\d+)\s*(B|KiB|MiB|GiB)?$")
_BYTES = {None: 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}


def _seconds(value: Any) -> Any:
    if isinstance(value, str) and (match := _DURATION.match(value.strip())):
        found = float(match[1]) * _SECONDS[match[2]]
        if not 0 < found <= _YEAR:
            raise ValueError("must be more than 0 and at most a year")
        return found
    raise ValueError("not a duration; write a number and a unit, as in 50ms, 30s, 5m or 1h")


def _bytes(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("not a size; write bytes, or a unit as in 512KiB or 8MiB")  # noqa: TRY004
    match = _SIZE.match(str(value).strip()) if isinstance(value, int | str) else None
    if match is None:
        raise ValueError("not a size; write bytes, or a unit as in 512KiB or 8MiB")
    # Long before an int is made of it: a number of ten thousand digits is none.
    found = int(match[1]) * _BYTES[match[2]] if len(match[1]) < 20 else 0
    if not 0 < found <= _BYTES["TiB"]:
        raise ValueError("must be more than 0 and at most 1024GiB")
    return found


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
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": _SIZE.pattern, "examples": ["512KiB", "8MiB"]},
            ]
        }
    ),
]
"""Bytes."""
