"""`workers models`: what is there, what serves, and changing it. Running workers follow."""

from __future__ import annotations

import base64
import datetime
import difflib
import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from workers.commands.build import build, card, contract_of, usual
from workers.commands.push import push
from workers.errors import ModelError
from workers.models.opening import open_store
from workers.models.store import Aliases, Change, Store
from workers.topology import Topology, load

app = typer.Typer(no_args_is_help=True, help="Build, list, promote, roll back and bypass models.")
TopologyFile = Annotated[
    Path, typer.Option("--topology", "-t", help="The topology file.", show_default=True)
]
DEFAULT_TOPOLOGY = Path("topology.yaml")
app.command(
    epilog="Example: workers models build spec.yaml --booster model.txt --events june.avro"
)(build)
app.command(epilog="Example: workers models card flight-delay 2 --output card.html")(card)
app.command(epilog="Example: workers models push flight-delay 2 --to s3://bucket/models")(push)
Model = Annotated[str, typer.Argument(help="The model's name.")]
Why = Annotated[str, typer.Option("--why", help="For the history; whoever looks later asks.")]
Who = Annotated[str | None, typer.Option("--who", help="Default: the user of this shell.")]


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


class Target(StrEnum):
    """What a version may be promoted to."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"


def _store(topology: Path) -> Store:
    return open_store(load(topology).models)


def _change(did: str, why: str, who: str | None) -> Change:
    now = datetime.datetime.now(datetime.UTC)
    return Change(when=now, who=who or getpass.getuser(), why=why, did=did)


def _say(name: str, made: Aliases) -> None:
    stand = {a: made.version(a) for a in ("champion", "challenger", "previous")}
    shown = ", ".join(f"{alias} {version}" for alias, version in stand.items() if version)
    canary = f"; the challenger decides for {made.canary.share:.1%}" if made.canary else ""
    bypassed = "; BYPASSED: decisions are the fallback" if made.bypass else ""
    print(f"{name}: {shown or 'no alias'}{canary}{bypassed}")


@app.command("list", epilog="Example: workers models list --output json")
def list_(
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: Annotated[Output, typer.Option(help="Table or JSON.")] = Output.TABLE,
) -> None:
    """Show models, their versions and what the aliases stand for.

    One whose document cannot be read hides no other; the exit code says that there is one.
    """
    store = _store(topology)
    found, faults = dict[str, tuple[Sequence[str], Aliases]](), list[str]()
    for name in store.names():
        try:
            found[name] = store.versions(name), store.aliases(name)
        except ModelError as error:
            faults.append(f"{name}: {error}")
    if output is Output.JSON:
        listed = {
            name: {"versions": versions, **aliases.model_dump(mode="json", exclude={"history"})}
            for name, (versions, aliases) in found.items()
        }
        print(json.dumps(listed, indent=2))
    else:
        _print_table(found)
    if faults:
        raise ModelError("\n".join(faults))


def _print_table(found: Mapping[str, tuple[Sequence[str], Aliases]]) -> None:
    table = Table("model", "versions", "champion", "challenger", "previous", "canary", "bypass")
    for name, (versions, aliases) in found.items():
        stand = [aliases.champion, aliases.challenger, aliases.previous]
        canary = f"{aliases.canary.share:.1%}" if aliases.canary else ""
        bypass = aliases.bypass.why if aliases.bypass else ""
        table.add_row(name, ", ".join(versions), *(each or "" for each in stand), canary, bypass)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


@app.command(epilog="Example: workers models show flight-delay 2 --output json")
def show(
    name: Model,
    version: Annotated[str | None, typer.Argument(help="Default: champion, else newest.")] = None,
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
    output: Annotated[Output, typer.Option(help="Table or JSON.")] = Output.TABLE,
) -> None:
    """Show what a version is: contract, features, decisions, metrics, owner."""
    store = _store(topology)
    manifest = store.bundle(name, version or usual(store, name)).manifest
    document = manifest.model_dump(mode="json")
    if output is Output.JSON:
        print(json.dumps(document, indent=2))
        return
    table = Table(title=f"{name} version {manifest.version}", show_header=False)
    for key, value in document.items():
        table.add_row(key, json.dumps(value, indent=1) if isinstance(value, dict) else str(value))
    table.columns[1].overflow = "fold"
    Console(width=None if sys.stdout.isatty() else 120).print(table)


@app.command(epilog="Example: workers models check flight-delay 2")
def check(
    name: Model,
    version: Annotated[str, typer.Argument(help="The version.")],
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Prove a version as workers will: files, contract, features, golden rows.

    Says what its reasons cost here, where it gives any.
    """
    from workers.contracts.codec import Decoder
    from workers.models.costs import cost_of_reasons
    from workers.wiring import prove

    loaded = load(topology)
    model = prove(loaded, name, version)
    print(f"{name} version {version}: fits its workers, golden rows reproduced")
    if model.manifest.reasons is not None:
        rows = _store(topology).bundle(name, version).golden.rows
        decoder = Decoder(contract_of(loaded, model.manifest.contract))
        table = decoder.decode([base64.b64decode(row.datum) for row in rows]).table
        print(f"here, of its {len(rows)} golden rows: {cost_of_reasons(model, table)}")


@app.command(epilog="Example: workers models diff flight-delay 1 2")
def diff(
    name: Model,
    old: Annotated[str, typer.Argument(help="A version.")],
    new: Annotated[str, typer.Argument(help="Another.")],
    *,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Show what two versions' manifests say otherwise, as a unified diff."""
    store = _store(topology)
    before, after = (
        json.dumps(
            store.bundle(name, version).manifest.model_dump(mode="json"), indent=1
        ).splitlines()
        for version in (old, new)
    )
    names = (f"version {old}", f"version {new}")
    lines = difflib.unified_diff(before, after, *names, lineterm="")
    print("\n".join(lines))


@app.command(epilog="Example: workers models history flight-delay")
def history(name: Model, *, topology: TopologyFile = DEFAULT_TOPOLOGY) -> None:
    """Show who changed what, when and why; the newest last."""
    for entry in _store(topology).aliases(name).history:
        print(f"{entry.when:%Y-%m-%d %H:%M:%SZ}  {entry.who}  {entry.did}: {entry.why}")


@app.command(epilog="Example: workers models promote flight-delay 2 --why 'AUC 0.915'")
def promote(  # noqa: PLR0913  what is promoted, to what, by whom and why
    name: Model,
    version: Annotated[str, typer.Argument(help="The version.")],
    *,
    why: Why,
    who: Who = None,
    to: Annotated[Target, typer.Option(help="The alias.")] = Target.CHAMPION,
    gated: Annotated[
        bool, typer.Option("--gated", help="Only if the gate of its feedback loops is open.")
    ] = False,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Let an alias stand for a version. It is proven first, and again by every worker."""
    from workers.wiring import prove

    loaded = load(topology)
    prove(loaded, name, version)
    if gated:
        _through_gates(loaded, name, version)
    change = _change(f"promote {version} to {to}", why, who)
    _say(name, open_store(loaded.models).promote(name, version, change, to.value))


def _through_gates(topology: Topology, name: str, version: str) -> None:
    """Raise GateShut unless every feedback loop of the model lets the version through."""
    from workers.feedback.gate import gate
    from workers.feedback.opening import open_loop

    loops = [open_loop(topology, loop) for loop in topology.feedback]
    own = [loop for loop in loops if loop.model.name == name]
    if not own:
        raise ModelError(f"no feedback loop of the topology is of model {name}: there is no gate")
    for loop in own:
        verdict = gate(loop, version, datetime.datetime.now(datetime.UTC))
        print(verdict)
        verdict.hold()


@app.command(epilog="Example: workers models rollback flight-delay --why 'late rate doubled'")
def rollback(
    name: Model, *, why: Why, who: Who = None, topology: TopologyFile = DEFAULT_TOPOLOGY
) -> None:
    """Champion and previous change places."""
    _say(name, _store(topology).rollback(name, _change("rollback", why, who)))


@app.command(epilog="Example: workers models canary flight-delay --share 0.05 --why 'first try'")
def canary(
    name: Model,
    *,
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the keys, 0 to 1; 0 ends it.")],
    why: Why,
    who: Who = None,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Let the challenger decide for a share of the keys, always the same ones."""
    loaded = load(topology)
    change = _change(f"canary {share:g}", why, who)
    _say(name, open_store(loaded.models).canary(name, share, change))


@app.command(epilog="Example: workers models bypass flight-delay --why 'incident 1234'")
def bypass(
    name: Model, *, why: Why, who: Who = None, topology: TopologyFile = DEFAULT_TOPOLOGY
) -> None:
    """Decide without the model: every event gets the declared fallback decision."""
    _say(name, _store(topology).bypass(name, _change("bypass", why, who)))


@app.command(epilog="Example: workers models resume flight-delay --why 'incident 1234 is over'")
def resume(
    name: Model, *, why: Why, who: Who = None, topology: TopologyFile = DEFAULT_TOPOLOGY
) -> None:
    """Decide with the model again."""
    _say(name, _store(topology).resume(name, _change("resume", why, who)))
