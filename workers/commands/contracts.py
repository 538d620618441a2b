"""`workers contracts`: what schema owners do. Exit codes: 0 ok · 1 breaking · 2 error."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

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


@app.command(epilog="Example: workers contracts docs --check")
@answers
def docs(
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: Annotated[Path, typer.Option(help="Folder of the documents.")] = Path("docs"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 where one is out of date.")
    ] = False,
) -> CheckExit:
    """Write a page per topic, AsyncAPI and ODCS from the topology and the contracts.

    The environment plays no part: variables of the topology have their defaults.
    """
    from workers.governance import documents

    loaded = documents.load_without_environment(topology)
    directory = contracts_of(loaded, topology)
    seen_from_output = Path(os.path.relpath(directory.root, output))
    wanted = documents.documents(loaded, directory, schemas=seen_from_output)
    if not check:
        for file in documents.write(output, wanted):
            print(f"{file} written")
    faults = documents.stale(output, wanted)
    for fault in faults:
        print(fault, file=sys.stderr)
    if check and faults:
        print(f"renew with: workers contracts docs --output {output}", file=sys.stderr)
    return CheckExit.BREAKING if faults else CheckExit.OK


@app.command(epilog="Example: workers contracts codegen flights.enriched-value --output events.py")
@answers
def codegen(
    subject: Annotated[str, typer.Argument(help="The subject, as flights.enriched-value.")],
    *,
    version: Annotated[
        int | None, typer.Option(min=1, help="Its version; the newest where none is given.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File; standard output without it.")] = None,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> CheckExit:
    """Write pydantic classes of a subject's events, and a function that reads a record."""
    from workers.governance.codegen import python_module
    from workers.governance.documents import load_without_environment

    loaded = load_without_environment(topology)
    catalogue = contracts_of(loaded, topology).catalogue
    versions = catalogue.versions(subject)
    if not versions:
        known = ", ".join(catalogue.subjects)
        raise ContractError(f"no subject {subject} with versions; there are {known}")
    chosen = version or max(versions)
    if chosen not in versions:
        known = ", ".join(map(str, versions))
        raise ContractError(f"{subject} has no version {chosen}; it has {known}")
    text = python_module(versions[chosen])
    if output is None:
        print(text, end="")
    else:
        output.write_text(text)
    return CheckExit.OK
