"""`workers offsets`: where a worker's group stands, and moving it with a plan."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from workers.commands.operate import DEFAULT_TOPOLOGY, Output, OutputOption, TopologyFile
from workers.errors import ExitCode
from workers.topology import load

if TYPE_CHECKING:
    from datetime import datetime

    from workers.operate.look import Cluster
    from workers.operate.offsets import Move
    from workers.stream.ranges import Edge
    from workers.topology import Worker

app = typer.Typer(no_args_is_help=True, help="Show where a worker's group stands, and move it.")
WorkerArgument = Annotated[str, typer.Argument(help="Worker's name.")]


@app.command(epilog="Example: workers offsets show flight-delays --output json")
def show(
    worker: WorkerArgument,
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the committed offset of each partition, and where its log begins and ends."""
    from workers.operate.offsets import places

    cluster, picked = _connected(worker, topology)
    found = places(cluster, picked)
    if output is Output.JSON:
        listed = [{**asdict(place), "lag": place.lag} for place in found]
        body = {"group": picked.group, "topic": picked.input.topic, "partitions": listed}
        print(json.dumps(body, indent=2))
        return
    title = f"group {picked.group} in {picked.input.topic}"
    table = Table("partition", "committed", "begin", "end", "not done", title=title)
    for place in found:
        cells = (place.partition, place.committed, place.begin, place.end, place.lag)
        table.add_row(*("none" if cell is None else str(cell) for cell in cells))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


@app.command(epilog="Example: workers offsets reset flight-delays --to-time 2026-11-29T06:00:00Z")
def reset(  # noqa: PLR0913  an option each
    worker: WorkerArgument,
    *,
    to: Annotated[
        str | None, typer.Option(help="earliest or latest: of every partition's log.")
    ] = None,
    to_time: Annotated[
        str | None, typer.Option(help="First record not before this time, with its zone.")
    ] = None,
    to_offset: Annotated[
        list[str] | None, typer.Option(help="PARTITION:OFFSET; repeatable, others stay.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else the plan is shown.")] = False,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: OutputOption = Output.TABLE,
) -> None:
    """Move a group's offsets: prints the plan, and does it with --yes.

    Refused while the group has members (exit code 7). Exit code 0: moved, or nothing to move; 9:
    the plan waits for --yes.
    """
    from workers.operate.offsets import hold_empty, moves, places, targets
    from workers.operate.offsets import reset as move

    meant = _target(to, to_time, to_offset)
    cluster, picked = _connected(worker, topology)
    found = places(cluster, picked)
    plan = moves(found, targets(cluster, picked, found, meant))
    _print(plan, picked, output)
    if plan:
        hold_empty(cluster, picked)
    if plan and not yes:
        print("Nothing was moved: add --yes to do it.", file=sys.stderr)
        raise typer.Exit(int(ExitCode.DIFFERS))
    if plan:
        move(cluster, picked, plan)
        print(f"moved {len(plan)} partitions of group {picked.group}", file=sys.stderr)


def _connected(name: str, topology: Path) -> tuple[Cluster, Worker]:
    from workers.operate.look import connect
    from workers.stream.logs import configure_logging
    from workers.wiring import pick

    configure_logging()
    loaded = load(topology)
    picked = pick(loaded, name)
    return connect(loaded.broker, f"{picked.name}.offsets"), picked


def _target(
    to: str | None, time: str | None, offsets: list[str] | None
) -> Edge | datetime | dict[int, int]:
    """The one that is given.

    Raises:
        BadParameter: none is, or several, or it is malformed.
    """
    from datetime import datetime

    from workers.stream.ranges import Edge, point

    if sum(bool(given) for given in (to, time, offsets)) != 1:
        raise typer.BadParameter("write one of --to, --to-time and --to-offset")
    if offsets:
        return _offsets(offsets)
    try:
        found = point(str(to or time))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if to and isinstance(found, Edge):
        return found
    if time and isinstance(found, datetime):
        return found
    wanted = "earliest or latest" if to else "a time such as 2026-11-24T06:00:00Z"
    raise typer.BadParameter(f"{to or time}: not {wanted}")


def _offsets(given: Sequence[str]) -> dict[int, int]:
    found: dict[int, int] = {}
    for text in given:
        partition, _, offset = text.partition(":")
        if not all(part.isascii() and part.isdecimal() for part in (partition, offset)):
            raise typer.BadParameter(f"{text!r}: write PARTITION:OFFSET, as 3:1200")
        if int(partition) in found:
            raise typer.BadParameter(f"partition {partition} is named twice")
        found[int(partition)] = int(offset)
    return found


def _print(plan: Sequence[Move], worker: Worker, output: Output) -> None:
    if output is Output.JSON:
        listed = [{**asdict(m), "again": m.again, "skipped": m.skipped} for m in plan]
        body = {"group": worker.group, "topic": worker.input.topic, "moves": listed}
        print(json.dumps(body, indent=2))
        return
    if not plan:
        print(f"group {worker.group} stands there already: nothing to move")
        return
    title = f"plan for group {worker.group} in {worker.input.topic}"
    table = Table("partition", "from", "to", "done again", "skipped", title=title)
    for m in plan:
        before = "none" if m.before is None else str(m.before)
        table.add_row(str(m.partition), before, str(m.after), str(m.again), str(m.skipped))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    again, skipped = sum(m.again for m in plan), sum(m.skipped for m in plan)
    print(
        f"{again} offsets are done again (their enriched events come out twice), {skipped} are "
        "skipped (never enriched); transactions' markers count among them"
    )
