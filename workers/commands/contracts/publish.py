"""docs, codegen: what contracts look like to those who read their topics."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from workers.commands.contracts.common import (
    DEFAULT_TOPOLOGY,
    TopologyFile,
    answers,
    app,
    contracts_of,
)
from workers.errors import ContractError
from workers.governance.findings import CheckExit


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
    from workers.governance.documents import load_without_environment
    from workers.governance.documents.codegen import python_module

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
