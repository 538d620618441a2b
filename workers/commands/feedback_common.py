"""What the commands of `workers feedback` have in common."""

from __future__ import annotations

import datetime
import json
import math
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from workers.feedback.opening import Loop
    from workers.stream.clock import Clock

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


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the work with exit code 143, and what is held is left.

    Without it process 1 of a container, which Kubernetes asks to end, would not hear of it. A
    library in C may make another error of ours on its way: what ends the work then is no fault.
    """
    told: list[SystemExit] = []

    def end(number: int, _: object) -> NoReturn:
        told.append(SystemExit(128 + number))
        raise told[-1]

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except Exception as error:
        if told:
            raise told[-1] from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def reported_run(
    loop: Loop, as_of: datetime.datetime, clock: Clock, html: Path | None, metrics: Path | None
) -> dict[str, str]:
    """The report after a run, for whoever is to have it: what became of its figures, in words."""
    from workers import __version__
    from workers.feedback.dataset import Window
    from workers.feedback.page import render
    from workers.feedback.report import report
    from workers.feedback.telling import registry_of, textfile
    from workers.offline.files import whole
    from workers.telemetry.settings import Identity
    from workers.wiring.telemetry import collects_metrics, send_metrics

    if html is None and metrics is None and not collects_metrics(loop.topology):
        return {}
    since = as_of - datetime.timedelta(seconds=loop.feedback.retrain.window)
    found = report(loop, Window(since, as_of, as_of))
    if html is not None:
        with whole(html) as made:
            made.write_text(render(found))
    if metrics is not None:
        with whole(metrics) as made:
            made.write_text(textfile(loop, found))
    who = Identity(loop.worker.name, f"feedback.{loop.feedback.name}", __version__)
    said = send_metrics(loop.topology, who, registry_of(loop, found), clock)
    return {} if said is None else {"metrics": said}


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
