"""`workers sidecar`: proves that a worker disturbs nothing beside it, and takes it away."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workers.commands.gateway import NEEDS
from workers.commands.operate import DEFAULT_TOPOLOGY, Output, OutputOption, TopologyFile
from workers.errors import ExitCode, TopologyError
from workers.topology import Mode, Topology, Worker, load

if TYPE_CHECKING:
    from workers.operate.sidecar.measure import Window
    from workers.operate.sidecar.proofs import Proof

app = typer.Typer(no_args_is_help=True, help="A worker beside a system that must not notice it.")
WorkerArgument = Annotated[str, typer.Argument(help="Worker's name.")]
WIDTH = 120
_COLOUR = {"held": "green", "broken": "red", "not proven": "yellow"}


@app.command(epilog="Example: workers sidecar check flight-delays-beside --measure 30")
def check(
    worker: WorkerArgument,
    *,
    measure: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            help="Run the worker for so many seconds, and watch the others before, during, after.",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Also judge: by what part others may become slower."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="What is not proven counts as broken.")
    ] = False,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: OutputOption = Output.TABLE,
) -> None:
    """Prove that a sidecar disturbs nothing: reads only, and says what it could not prove.

    Exit code 0: nothing is broken; 9: something is.
    """
    from workers.operate.sidecar.look import sight
    from workers.operate.sidecar.proofs import proofs
    from workers.operate.sidecar.trial import measured

    loaded, picked = _sidecar(topology, worker)
    _quiet()
    found = list(proofs(loaded, picked, sight(loaded, picked)[1]))
    windows: Sequence[Window] = ()
    if measure is not None:
        trial = measured(topology, loaded, picked, measure)
        windows = trial.windows
        found += [*trial.proofs, *_judged(windows, tolerance)]
    _print(picked, found, windows, output)
    raise typer.Exit(_code(found, strict=strict))


@app.command(epilog="Example: workers sidecar remove flight-delays-beside --yes")
def remove(
    worker: WorkerArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it is only said.")] = False,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete a stopped sidecar's groups and topics, and prove that all else is as it was.

    Exit code 0: done, and nothing else changed; 9: something else did, or it waits for --yes.
    """
    from workers.operate.sidecar.trial import own_groups
    from workers.operate.sidecar.trial import remove as take_away

    loaded, picked = _sidecar(topology, worker)
    _quiet()
    if not yes:
        groups, topics = own_groups(loaded, picked), picked.written.values()
        print(f"would delete groups {', '.join(groups)} and topics {', '.join(topics)}")
        print("Nothing was deleted: it waits for `workers sidecar remove --yes`.")
        raise typer.Exit(int(ExitCode.DIFFERS))
    found = [take_away(loaded, picked)]
    _print(picked, found, (), output)
    raise typer.Exit(_code(found, strict=False))


@app.command(epilog="Example: workers sidecar proxy --topology topology.yaml")
def proxy(*, topology: TopologyFile = DEFAULT_TOPOLOGY) -> None:
    """Forward requests to a system, with the decision in their headers, until SIGTERM.

    The system's answer never waits longer than `proxy.budget` for a decision. Prints where it
    listens; logs go to standard error.
    """
    try:
        from workers.proxying import serve_proxy
    except ImportError as error:
        raise TopologyError(f"{NEEDS}: {error}") from error
    serve_proxy(topology)


def _sidecar(file: Path, name: str) -> tuple[Topology, Worker]:
    loaded = load(file)
    if name not in loaded.workers:
        raise TopologyError(f"no worker {name}; topology.yaml has {', '.join(loaded.workers)}")
    worker = loaded.workers[name]
    if worker.mode is not Mode.SIDECAR or worker.tier is not None:
        raise TopologyError(f"worker {name} is no sidecar: write `mode: sidecar`")
    return loaded, worker


def _quiet() -> None:
    from workers.stream.logs import configure_logging

    configure_logging()


def _judged(windows: Sequence[Window], tolerance: float | None) -> list[Proof]:
    from workers.operate.sidecar.measure import slowed
    from workers.operate.sidecar.proofs import Finding, Proof

    if tolerance is None or len(windows) < 3:
        return []
    found = slowed(windows[0], windows[1], tolerance)
    text = (
        f"slower by over {tolerance:.0%}, and falling behind: {', '.join(found)}"
        if found
        else f"no other group became slower by over {tolerance:.0%} and fell behind"
    )
    finding = Finding.BROKEN if found else Finding.HELD
    return [Proof(name="others keep their pace", finding=finding, text=text)]


def _code(found: Sequence[Proof], *, strict: bool) -> int:
    bad = {"broken", "not proven"} if strict else {"broken"}
    return int(ExitCode.DIFFERS if any(p.finding in bad for p in found) else ExitCode.OK)


def _print(
    worker: Worker, found: Sequence[Proof], windows: Sequence[Window], output: Output
) -> None:
    if output is Output.JSON:
        body = {
            "worker": worker.name,
            "source": worker.input.topic,
            "broken": any(proof.finding == "broken" for proof in found),
            "proofs": [asdict(proof) for proof in found],
            "windows": [window.as_data() for window in windows],
        }
        print(json.dumps(body, indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    table = Table(
        "what", "", "why", title=f"sidecar {worker.name} beside {worker.input.topic}",
        title_justify="left", show_lines=True,
    )  # fmt: skip
    for proof in found:
        why = proof.text + (f"\ndo: {proof.remedy}" if proof.remedy else "")
        colour = _COLOUR[proof.finding]
        table.add_row(proof.name, f"[{colour}]{proof.finding}[/]", escape(why))
    console.print(table)
    if windows:
        console.print(_windows(windows))


def _windows(windows: Sequence[Window]) -> Table:
    table = Table(
        "window", "arrived", "arrival ms p50/p99", "broker ms p50/p99", "group", "records/s",
        "lag first/most/last", title="the others", title_justify="left",
    )  # fmt: skip
    for window in windows:
        head = (
            f"{window.name}, {window.seconds:.1f} s",
            f"{window.arrived:,}",
            _pair(window.arrival),
            _pair(window.answers),
        )
        if not window.neighbours:
            table.add_row(*head, "none", "", "")
        for pace in window.neighbours:
            lags = f"{pace.lag_first:,} / {pace.lag_most:,} / {pace.lag_last:,}"
            table.add_row(*head, pace.group, f"{pace.per_second:,.0f}", lags)
            head = ("", "", "", "")
    return table


def _pair(found: tuple[float, float] | None) -> str:
    return "none" if found is None else f"{found[0]:.1f} / {found[1]:.1f}"
