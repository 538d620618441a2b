"""`workers drill`: faults made on purpose, and what becomes of the promises."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workers.drills.choices import BrokerChoice, DrillName
from workers.errors import ExitCode
from workers.stream.clock import SystemClock


class Output(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


def drill(
    name: Annotated[DrillName, typer.Argument(help="The drill, or all of them in this order.")],
    worker: Annotated[
        str | None, typer.Argument(help="Worker's name; may be left out where there is one.")
    ] = None,
    *,
    topology: Annotated[Path, typer.Option("--topology", "-t", help="The topology file.")] = Path(
        "topology.yaml"
    ),
    broker: Annotated[
        BrokerChoice,
        typer.Option(help="auto: embedded, and a real Kafka for drills that need one."),
    ] = BrokerChoice.AUTO,
    output: Annotated[Output, typer.Option(help="Text or JSON.")] = Output.TEXT,
) -> None:
    """Break something on purpose beside your topology, and see whether every promise holds.

    Your contracts, your model, your settings; topics, group, broker and model store are the drill's
    own. Exit code 0: all held; 1: one did not.
    """
    from workers.drills.report import document, drill_text, questions_text
    from workers.drills.run import failed, run_drills

    clock = SystemClock()
    began = clock.monotonic()

    def say(text: str) -> None:
        print(f"{clock.monotonic() - began:5.0f} s  {text}", file=sys.stderr, flush=True)

    reports = run_drills(topology, worker, name, broker, say)
    if output is Output.JSON:
        print(json.dumps(document(reports), indent=2, ensure_ascii=False))
    else:
        for report in reports:
            print(f"\n{drill_text(report)}")
        print(f"\n{questions_text(reports)}")
    raise typer.Exit(int(ExitCode.BUG if failed(reports) else ExitCode.OK))
