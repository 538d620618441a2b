"""`workers contracts`: what schema owners do. Exit codes: 0 ok · 1 breaking · 2 error."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from workers.contracts.directory import ContractDirectory, read_directory
from workers.errors import ContractError, WorkersError
from workers.governance import register
from workers.governance.findings import CheckExit, Finding, exit_code
from workers.governance.registration import Step
from workers.governance.registration import plan as plan_registration
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
    if loaded.contracts.directory is None:
        raise ContractError(f"{topology}: contracts.directory: is needed for this command")
    return loaded, read_directory(loaded.contracts.directory)


@app.command("register")
@answers
def register_command(
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    yes: Annotated[  # noqa: FBT002  how typer declares a flag
        bool, typer.Option("--yes/--dry-run", help="Do it; else it is shown and nothing changes.")
    ] = False,
) -> CheckExit:
    """Bring the registry to what the directory says; never deletes.

    Shows what would be registered, set and refused. With --yes it is done, the ids that the
    registry gave are written to subject.yaml, and contracts.lock is written anew.

    Example: workers contracts register --topology topology.yaml --yes
    """
    loaded, directory = opened(topology)
    source = register.open_registry(loaded)
    try:
        planned = plan_registration(directory, source)
        _show_findings(planned.findings)
        if planned.refused:
            print("nothing is registered while the above stands against it")
        elif not planned.steps:
            print(f"{source.name} has everything")
        elif yes:
            for step in register.apply(directory, source, planned):
                print(f"{step.subject}: {step.text}: done")
        else:
            _show_steps(planned.steps)
    finally:
        source.close()
    return exit_code(list(planned.findings))


def _show_findings(findings: Iterable[Finding]) -> None:
    for finding in findings:
        place = f"{finding.subject} version {finding.version}"
        print(f"{finding.severity}: {place}: {finding.breaks}")
        if finding.remedy:
            print(f"  remedy: {finding.remedy}")


def _show_steps(steps: Iterable[Step]) -> None:
    for step in steps:
        print(f"{step.subject}: would {step.text}")
    print("nothing was changed; --yes does it")
