"""`workers status`, `workers lag`, `workers pause` and `workers resume`: running what runs."""

from __future__ import annotations

import datetime
import getpass
import json
import sys
import threading
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workers.errors import BrokerUnreachable, ExitCode, Retry, TopologyError
from workers.topology import load

if TYPE_CHECKING:
    from workers.models.aliases import Change
    from workers.operate.lag import GroupLag
    from workers.operate.status import Asked
    from workers.topology import Topology, Worker

DEFAULT_TOPOLOGY = Path("topology.yaml")


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


TopologyFile = Annotated[
    Path, typer.Option("--topology", "-t", help="The topology file.", show_default=True)
]
WorkerArgument = Annotated[
    str | None, typer.Argument(help="Worker's name; may be left out where there is one.")
]
OutputOption = Annotated[Output, typer.Option(help="Table or JSON.")]
Partitions = Annotated[
    str | None, typer.Option(help="Numbers and ranges, as 0,3-5; all where it is left out.")
]
Why = Annotated[str, typer.Option(help="Kept in the history.")]
Who = Annotated[str | None, typer.Option(help="Kept in the history; default: your login.")]


def status(
    *,
    url: Annotated[
        list[str] | None, typer.Option(help="Of a process, as http://10.0.0.7:8787; repeatable.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=256, help="Of this host; default: those that answer.")
    ] = None,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: OutputOption = Output.TABLE,
) -> None:
    """Ask running processes how they are: status words, partitions, model, reasons.

    Exit code 0: all that were asked are ready; 9: one is not, or does not answer.
    """
    from workers.operate.status import every, here

    if url:
        found = every(url)
    else:
        settings = load(topology).health
        if settings is None or not settings.port:
            raise TopologyError("the topology names no `health.port`; give the processes' --url")
        found = here(settings, processes)
    if output is Output.JSON:
        listed = [{"url": a.url, "why": a.why, "status": a.status} for a in found]
        print(json.dumps(listed, indent=2))
    else:
        for asked in found:
            _show(asked)
    well = all(asked.well for asked in found)
    raise typer.Exit(int(ExitCode.OK if well else ExitCode.DIFFERS))


def _show(asked: Asked) -> None:
    if asked.status is None:
        print(f"{asked.url}: no answer: {asked.why}")
        return
    said = asked.status
    ready = "ready" if said.get("ready") else "NOT READY"
    lag, seconds = said.get("lag"), said.get("time_lag_seconds")
    table = Table(
        title=escape(
            f"{said['worker']} {said['instance']}: {said['status']}, {said['phase']}, {ready}; lag "
            f"{_or_unknown(lag)} records, {_or_unknown(seconds)} s"
        ),
        title_justify="left",
    )
    for title in ("partition", "status", "position", "end", "lag", "seconds", "trend/s", "paused"):
        table.add_column(title, overflow="fold")
    for part in said["partitions"]:
        table.add_row(*map(escape, _cells(part)))
    _console().print(table)
    for model in said["models"]:
        bypassed = f", BYPASSED: {model['bypassed']}" if model["bypassed"] else ""
        print(f"  {model['block']}: {model['name']} {model['version']}{bypassed}")
    for reason in said["reasons"]:
        print(f"  {reason['code']}: {reason['why']}")


def _cells(part: Mapping[str, Any]) -> list[str]:
    pause = part["pause"]
    numbers = ("position", "end", "lag", "time_lag_seconds", "trend")
    paused = "" if pause is None else f"{pause['kind']}: {pause['why']}"
    shown = [_or_unknown(part[name]) for name in numbers]
    return [str(part["partition"]), part["status"], *shown, paused]


def _or_unknown(value: float | None) -> str:
    if value is None:
        return "?"
    return str(round(value, 3)) if value != int(value) else str(int(value))


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 120)


def lag(
    worker: WorkerArgument = None,
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: OutputOption = Output.TABLE,
    watch: Annotated[
        float | None, typer.Option(min=0.2, help="Look again after so many seconds, with a trend.")
    ] = None,
    times: Annotated[int, typer.Option(min=1, help="How often, with --watch.")] = 1_000_000,
) -> None:
    """Show how far a worker's group is behind, whether or not it runs: asked of the cluster.

    Seconds are those that the first record not done has waited.
    """
    from workers.stream.clock import SystemClock
    from workers.stream.logs import configure_logging
    from workers.wiring import pick

    configure_logging()
    loaded = load(topology)
    picked = pick(loaded, worker)
    clock, pause = SystemClock(), threading.Event()
    first: tuple[float, list[GroupLag]] | None = None
    for number in range(1 if watch is None else times):
        if number and watch is not None:
            pause.wait(watch)
        found, now = _lags(loaded, picked), clock.monotonic()
        first = first or (now, found)
        found = [
            _with_trend(each, before, now - first[0])
            for each, before in zip(found, first[1], strict=False)
        ]
        _print_lags(picked, found, clock.now(), output)


def _lags(topology: Topology, worker: Worker) -> list[GroupLag]:
    from workers.operate.lag import group_lags
    from workers.operate.look import connect
    from workers.operate.offsets import places

    try:
        found = places(connect(topology.broker, f"{worker.name}.lag"), worker)
        return group_lags(topology.broker, worker, found)
    except Retry as unwell:
        raise BrokerUnreachable(str(unwell)) from unwell


def _with_trend(now: GroupLag, before: GroupLag, seconds: float) -> GroupLag:
    from dataclasses import replace

    if seconds <= 0 or now.lag is None or before.lag is None:
        return now
    return replace(now, trend=round((now.lag - before.lag) / seconds, 3))


def _print_lags(worker: Worker, found: list[GroupLag], now: int, output: Output) -> None:
    known = [each.lag for each in found if each.lag is not None]
    total = sum(known) if len(known) == len(found) else None
    if output is Output.JSON:
        body = {
            "worker": worker.name,
            "group": worker.group,
            "topic": worker.input.topic,
            "lag": total,
            "partitions": [each.as_data(now) for each in found],
        }
        print(json.dumps(body))
        return
    title = f"group {worker.group} in {worker.input.topic}: {_or_unknown(total)} records behind"
    table = Table(title=escape(title), title_justify="left")
    for column in ("partition", "committed", "end", "lag", "seconds", "trend/s"):
        table.add_column(column)
    for each in found:
        seconds = each.time_lag(now)
        cells = (each.committed, each.end, each.lag, seconds, each.trend)
        table.add_row(str(each.partition), *map(_or_unknown, cells))
    _console().print(table)


def pause(
    worker: WorkerArgument = None,
    *,
    why: Why,
    who: Who = None,
    partitions: Partitions = None,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Let every replica of a worker read no more, without a restart; it stays in its group.

    What is under way is finished. They look at the model store every `model.poll`.
    """
    _set_pause(worker, topology, partitions, why, who, on=True)


def resume(
    worker: WorkerArgument = None,
    *,
    why: Why,
    who: Who = None,
    partitions: Partitions = None,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Read on where `workers pause` stopped."""
    _set_pause(worker, topology, partitions, why, who, on=False)


def _set_pause(
    name: str | None, topology: Path, partitions: str | None, why: str, who: str | None, *, on: bool
) -> None:
    from workers.models.opening import open_store
    from workers.wiring import pick

    loaded = load(topology)
    worker, numbers = pick(loaded, name), _numbers(partitions)
    store = open_store(loaded.models)
    act, word = (store.pause, "pause") if on else (store.unpause, "resume")
    change = _change(f"{word} {worker.name}{_of(numbers)}", why, who)
    made = act(worker.model.name, worker.name, numbers, change)
    said = made.pauses.get(worker.name)
    print(f"{worker.name}: {'reads all partitions' if said is None else said}")
    print(
        f"said in the document of model {worker.model.name} ({store.place}); every replica follows "
        f"within {worker.model.poll:g} s"
    )


def _change(did: str, why: str, who: str | None) -> Change:
    from workers.models.aliases import Change

    now = datetime.datetime.now(datetime.UTC)
    return Change(when=now, who=who or getpass.getuser(), why=why, did=did)


def _of(numbers: Iterable[int]) -> str:
    listed = ",".join(map(str, sorted(numbers)))
    return f" partitions {listed}" if listed else ""


def _numbers(text: str | None) -> frozenset[int]:
    """Numbers and ranges.

    Raises:
        BadParameter: it is none.
    """
    found: set[int] = set()
    for part in (text or "").split(",") if text is not None else ():
        first, dash, last = part.strip().partition("-")
        ends = (first, last if dash else first)
        if not all(end.isascii() and end.isdecimal() and len(end) < 7 for end in ends):
            raise typer.BadParameter(f"{part!r}: no partition; write numbers, as 0,3-5")
        if int(ends[0]) > int(ends[1]):
            raise typer.BadParameter(f"{part!r}: ends before it begins")
        found.update(range(int(ends[0]), int(ends[1]) + 1))
    return frozenset(found)
