"""lint, check, diff, list: what contracts are and what changes to them break."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from workers.commands.contracts.common import (
    DEFAULT_TOPOLOGY,
    Output,
    TopologyFile,
    answers,
    app,
    console,
    opened,
)
from workers.contracts.directory import ContractDirectory
from workers.errors import ContractError
from workers.governance.check import check_against, check_own
from workers.governance.compatibility.versions import check_versions
from workers.governance.diff import Change, pair_of, summary
from workers.governance.diff import diff as diff_schemas
from workers.governance.findings import CheckExit, Finding, exit_code
from workers.governance.linting.lint import lint as lint_contracts
from workers.governance.listing import listing, versions_text
from workers.governance.render import Format, render
from workers.governance.sources import known_contracts
from workers.governance.unreadable import unreadable
from workers.topology import Topology, load

FormatOption = Annotated[Format, typer.Option("--format", help="How findings are printed.")]


def _report(
    topology: Path, how: Format, find: Callable[[Topology, ContractDirectory], list[Finding]]
) -> CheckExit:
    """Print what is found; contracts that cannot be read are a finding too, in every format."""
    loaded = load(topology)
    try:
        _, directory = opened(topology)
    except ContractError as error:
        findings = [unreadable(error)]
    else:
        findings = find(loaded, directory)
    print(render(findings, how, Path.cwd()), end="")
    return exit_code(findings)


@app.command(epilog="Example: workers contracts lint --format github")
@answers
def lint(
    *, topology: TopologyFile = DEFAULT_TOPOLOGY, how: FormatOption = Format.TEXT
) -> CheckExit:
    """Find what makes contracts hard to read or hard to change, and what does not fit together."""
    today = datetime.datetime.now(datetime.UTC).date()
    return _report(
        topology, how, lambda loaded, directory: lint_contracts(directory, loaded, today)
    )


@app.command(epilog="Example: workers contracts check --against git:main --format junit")
@answers
def check(
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    against: Annotated[
        str | None,
        typer.Option(help="git:REF, `registry` or a directory; without it, own earlier versions."),
    ] = None,
    how: FormatOption = Format.TEXT,
) -> CheckExit:
    """Find what new versions break, under each subject's compatibility mode."""

    def find(loaded: Topology, directory: ContractDirectory) -> list[Finding]:
        if against is None:
            return check_own(directory)
        return check_against(directory, known_contracts(against, loaded, directory.root))

    return _report(topology, how, find)


@app.command(epilog="Example: workers contracts diff flights-value 1 2")
@answers
def diff(
    subject: Annotated[str, typer.Argument(help="The subject's name.")],
    old: Annotated[int | None, typer.Argument(help="Default: the version before NEW.")] = None,
    new: Annotated[int | None, typer.Argument(help="Default: the newest version.")] = None,
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: Annotated[Output, typer.Option(help="Table or JSON.")] = Output.TABLE,
) -> CheckExit:
    """Show what differs between two versions, and whether readers of either read the other.

    Exit code 1 where the newer one breaks the subject's compatibility mode.
    """
    _, directory = opened(topology)
    before, after = pair_of(directory, subject, old, new)
    changes = diff_schemas(before.schema, after.schema)
    about = directory.about(subject)
    findings = check_versions(about.compatibility, [before], after) if about else []
    if output is Output.JSON:
        print(json.dumps([dataclasses.asdict(change) for change in changes], indent=2))
    else:
        _print_changes(f"{before} → version {after.version}: {summary(changes)}", changes)
    return exit_code(findings)


def _print_changes(title: str, changes: list[Change]) -> None:
    table = Table("where", "what", "", "new reads old", "old reads new", title=title)
    for change in changes:
        reads = ["yes" if safe else "NO" for safe in (change.backward, change.forward)]
        table.add_row(change.where or "(record)", change.what.value, change.text, *reads)
    console().print(table if changes else title)


@app.command("list", epilog="Example: workers contracts list --output json")
@answers
def list_(
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: Annotated[Output, typer.Option(help="Table or JSON.")] = Output.TABLE,
) -> CheckExit:
    """Show subjects, topics, owners, promises and versions."""
    _, directory = opened(topology)
    entries = listing(directory)
    if output is Output.JSON:
        print(json.dumps(entries, indent=2))
        return CheckExit.OK
    table = Table("subject", "topic", "role", "owner", "compatibility", "versions")
    for entry in entries:
        named = ("subject", "topic", "role", "owner", "compatibility")
        table.add_row(*(str(entry[key] or "none") for key in named), versions_text(entry))
    console().print(table)
    return CheckExit.OK
