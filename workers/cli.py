"""The `workers` command.

Exit codes: 0 done · 1 a bug of ours, or a drill that failed · 2 wrong usage · 3 topology ·
4 contract · 5 model · 6 no broker answered · 7 stopped, because going on could lose or double a
record · 8 fenced · 9 the cluster differs from the topology.
"""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

# Before anything imports polars: features of one batch are computed in one thread, because a host
# runs one process a core.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import typer
from rich.console import Console
from rich.table import Table

from workers import __version__
from workers.commands import contracts, dlq, feedback, models, offsets, operate, sidecar
from workers.commands.doctor import doctor
from workers.commands.drill import drill
from workers.commands.gateway import app as gateway_app
from workers.commands.gateway import serve
from workers.commands.plan import apply_plan, show_plan
from workers.commands.score import score
from workers.errors import Halt
from workers.topology import Topology, Worker, describe, json_schema, load

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(contracts.app, name="contracts")
app.add_typer(models.app, name="models")
app.add_typer(dlq.app, name="dlq")
app.add_typer(feedback.app, name="feedback")
app.add_typer(sidecar.app, name="sidecar")
app.add_typer(gateway_app, name="gateway")
app.command(epilog="Example: workers serve --topology topology.yaml")(serve)
app.add_typer(offsets.app, name="offsets")
app.command(epilog="Example: workers score history.parquet --output scored.avro")(score)
app.command(epilog="Example: workers doctor flight-delays --output json")(doctor)
app.command(epilog="Example: workers drill all --output json")(drill)
app.command(epilog="Example: workers status --output json")(operate.status)
app.command(epilog="Example: workers lag flight-delays --watch 5")(operate.lag)
app.command(epilog="Example: workers pause flight-delays --partitions 0,3-5 --why 'incident 7'")(
    operate.pause
)
app.command(epilog="Example: workers resume flight-delays --why 'incident 7 is over'")(
    operate.resume
)
app.command("plan", epilog="Example: workers plan flight-delays --output json")(show_plan)
app.command("apply", epilog="Example: workers apply flight-delays --yes")(apply_plan)

TopologyFile = Annotated[
    Path, typer.Option("--topology", "-t", help="The topology file.", show_default=True)
]
WorkerArgument = Annotated[
    str | None, typer.Argument(help="Worker's name; may be left out where there is one.")
]
DEFAULT_TOPOLOGY = Path("topology.yaml")


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


class BrokerKind(StrEnum):
    """What the demo runs on."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


def _version(value: bool) -> None:  # noqa: FBT001  the signature typer calls
    if value:
        print(__version__)
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print it.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Score Avro events on Kafka with a LightGBM model."""


@app.command(epilog="Example: workers check --topology topology.yaml --output json")
def check(
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: Annotated[Output, typer.Option(help="Table or JSON.")] = Output.TABLE,
) -> None:
    """Check a topology with its contracts and models. Needs no broker, creates nothing.

    Every model is loaded in a child process and scores its golden rows.
    """
    loaded = load(topology)
    found = [_checked(loaded, worker) for worker in loaded.workers.values()]
    if output is Output.JSON:
        print(json.dumps(found, indent=2))
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    for worker in found:
        table = Table(
            title=f"worker {worker['worker']}: ok", show_header=False, title_justify="left"
        )
        for key, value in worker.items():
            table.add_row(key.replace("_", " "), _shown(value))
        console.print(table)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {item}" for key, item in value.items())
    return str(value)


def _checked(topology: Topology, worker: Worker) -> dict[str, Any]:
    from workers.wiring import build_enricher, topics_of

    enricher = build_enricher(topology, worker)
    manifest = enricher.model.manifest
    return {
        "worker": worker.name,
        "topics": topics_of(worker),
        "group": worker.group,
        "delivery": worker.delivery.value,
        "model": f"{manifest.name} version {manifest.version}, golden rows reproduced",
        "features": len(manifest.features),
        "decisions": {
            band.decision: f"score from {band.since}" for band in manifest.decisions.bands
        },
        "fallback": manifest.decisions.fallback,
        "contracts": str(enricher.binding),
    }


@app.command(epilog="Example: workers run flight-delays --topology topology.yaml --processes 2")
def run(
    worker: WorkerArgument = None,
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    processes: Annotated[
        int, typer.Option("--processes", "-p", min=1, max=256, help="Processes on this host.")
    ] = 1,
) -> None:
    """Run a worker until SIGTERM. Logs go to standard error, one JSON object a line."""
    from workers.processes import run_many, run_one

    if processes == 1:
        run_one(topology, worker)
    else:
        raise typer.Exit(int(run_many(topology, worker, processes)))


@app.command(epilog="Example: workers errors > docs/errors.md")
def errors() -> None:
    """Print what can go wrong and what becomes of it: codes of dead letters, exit codes, errors."""
    from workers.governance.documents.errors import errors_page

    print(errors_page(), end="")


@app.command(epilog="Example: workers telemetry > docs/telemetry.md")
def telemetry() -> None:
    """Print every metric, log event and span of a worker, and where they go."""
    from workers.governance.documents.telemetry import telemetry_page

    print(telemetry_page(), end="")


@app.command(epilog="Example: workers schema > docs/topology.schema.json")
def schema(
    *,
    output: Annotated[Output, typer.Option(help="JSON Schema, or a table.")] = Output.JSON,
) -> None:
    """Print the JSON Schema of topology.yaml for editors, or its keys as a table."""
    if output is Output.TABLE:
        print(describe(), end="")
    else:
        print(json.dumps(json_schema(), indent=2))


@app.command(epilog="Example: workers demo --broker kafka --events 50000")
def demo(
    *,
    broker: Annotated[
        BrokerKind, typer.Option(help="Embedded in this process, or real Apache Kafka.")
    ] = BrokerKind.EMBEDDED,
    events: Annotated[
        int, typer.Option(min=100, help="How many real events to replay at most.")
    ] = 200_000,
    plain: Annotated[bool, typer.Option("--plain", help="No live view, only lines.")] = False,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Replay real flights of 2013 through a worker and show what it makes of them."""
    from workers.demo.show import show

    kafka = broker is BrokerKind.KAFKA
    raise typer.Exit(int(show(topology=topology, kafka=kafka, events=events, plain=plain)))


def main() -> None:
    """Entry point: a `Halt` becomes its text and exit code."""
    try:
        app()
    except Halt as halt:
        print(f"workers: {halt}", file=sys.stderr)
        sys.exit(int(halt.exit_code))
