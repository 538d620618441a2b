"""What the commands of `workers feedback` have in common."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

TopologyFile = Annotated[
    Path, typer.Option("--topology", "-t", help="The topology file.", show_default=True)
]
DEFAULT_TOPOLOGY = Path("topology.yaml")
LoopArgument = Annotated[
    str | None, typer.Argument(help="The loop's name; may be left out where there is one.")
]


class Output(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


def instant(text: str | None) -> datetime.datetime | None:
    """A date or an ISO 8601 time; without a zone it is UTC.

    Raises:
        BadParameter: it is neither.
    """
    if text is None:
        return None
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r}: no date, and no time as in 2013-04-01T06:00"
        ) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=datetime.UTC)


def as_json(document: Mapping[str, Any]) -> str:
    """For people and programs; what is not a number is null."""
    return json.dumps(_plain(document), indent=2, default=str)


def _plain(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(name): _plain(below) for name, below in value.items()}
        case list() | tuple():
            return [_plain(below) for below in value]
        case datetime.datetime():
            return value.isoformat()
        case _:
            return value
