"""What the commands on contracts share."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ParamSpec

import typer
from rich.console import Console

from workers.contracts.directory import ContractDirectory, read_directory
from workers.errors import ContractError, WorkersError
from workers.governance.findings import CheckExit
from workers.topology import Topology, load

app = typer.Typer(no_args_is_help=True, help="Lint, compare, derive, register, document contracts.")
TopologyFile = Annotated[
    Path, typer.Option("--topology", "-t", help="The topology file.", show_default=True)
]
DEFAULT_TOPOLOGY = Path("topology.yaml")
P = ParamSpec("P")


class Output(StrEnum):
    """How what is no finding is printed."""

    TABLE = "table"
    JSON = "json"


def answers(command: Callable[P, CheckExit]) -> Callable[P, None]:
    """A command whose result is its exit code; what it cannot do is an error, exit code 2."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = command(*args, **kwargs)
        except WorkersError as error:
            print(f"workers: {error}", file=sys.stderr)
            code = CheckExit.ERROR
        raise typer.Exit(int(code))

    return run


def opened(topology: Path) -> tuple[Topology, ContractDirectory]:
    """The topology and the files of its contracts.

    Raises:
        TopologyError: the topology cannot be used.
        ContractError: it names no directory of contracts, or one of its files is wrong.
    """
    loaded = load(topology)
    return loaded, contracts_of(loaded, topology)


def contracts_of(loaded: Topology, topology: Path) -> ContractDirectory:
    """The files of a topology's contracts; `topology` is its file.

    Raises:
        ContractError: it names no directory of contracts, or one of its files is wrong.
    """
    if loaded.contracts.directory is None:
        raise ContractError(f"{topology}: contracts.directory: is needed for this command")
    return read_directory(loaded.contracts.directory)


def console() -> Console:
    """Where tables go; wide where nobody sees the terminal's edge."""
    return Console(width=None if sys.stdout.isatty() else 140)
