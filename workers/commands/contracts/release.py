"""derive, release, register: bring contracts to their files, their lock and their registry."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from workers.commands.contracts.common import (
    DEFAULT_TOPOLOGY,
    TopologyFile,
    answers,
    app,
    opened,
)
from workers.contracts.lock import is_released, write_lock
from workers.governance import derivation, register
from workers.governance.check import check_own
from workers.governance.findings import CheckExit, Finding, Severity, exit_code
from workers.governance.registration import Step
from workers.governance.registration import plan as plan_registration
from workers.governance.render import Format, render


@app.command(epilog="Example: workers contracts derive --check")
@answers
def derive(
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 where something is stale.")
    ] = False,
) -> CheckExit:
    """Write the enriched schema of every input version that has none, or a stale draft of one."""
    loaded, directory = opened(topology)
    found = derivation.stale(directory)
    for entry in found:
        if not check:
            _, directory = opened(topology)
            derivation.write(directory, entry, with_id=loaded.contracts.registry is None)
        print(f"{'stale' if check else 'wrote'}: {entry}")
    if not found:
        print("every input version has its enriched schema")
    elif check:
        print("`workers contracts derive` writes them")
    return CheckExit.BREAKING if found and check else CheckExit.OK


@app.command(epilog="Example: workers contracts release")
@answers
def release(*, topology: TopologyFile = DEFAULT_TOPOLOGY) -> CheckExit:
    """Write drafts into contracts.lock: from then on their files may not change.

    Nothing is released while a version breaks its subject's compatibility mode.
    """
    _, directory = opened(topology)
    findings = [f for f in check_own(directory) if f.severity is not Severity.WARNING]
    _show_findings(findings)
    if (code := exit_code(findings)) is not CheckExit.OK:
        print("nothing was released")
        return code
    drafts = [entry for entry in directory.catalogue if not is_released(directory.lock, entry)]
    write_lock(directory.root, directory.catalogue)
    for entry in drafts:
        print(f"released: {entry}")
    if not drafts:
        print("every version is released")
    return CheckExit.OK


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
    if listed := list(findings):
        print(render(listed, Format.TEXT, Path.cwd()), end="")


def _show_steps(steps: Iterable[Step]) -> None:
    for step in steps:
        print(f"{step.subject}: would {step.text}")
    print("nothing was changed; --yes does it")
