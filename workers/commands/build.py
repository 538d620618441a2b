"""`workers models build` and `card`: from a booster to a bundle, and to what people read of it."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workers.contracts.schema import Schema
from workers.errors import ModelError
from workers.models.bundle import ContractRef
from workers.models.opening import open_store
from workers.models.store import Store
from workers.topology import Topology, load

DEFAULT_TOPOLOGY = Path("topology.yaml")
TopologyFile = Annotated[
    Path, typer.Option("--topology", "-t", help="The topology file.", show_default=True)
]


def build(
    spec: Annotated[Path, typer.Argument(help="What the model is: a YAML file.")],
    *,
    booster: Annotated[Path, typer.Option(help="The text that booster.save_model wrote.")],
    events: Annotated[Path, typer.Option(help="Events to try it on: .avro or .parquet.")],
    golden: Annotated[int, typer.Option(min=1, max=10_000, help="Golden rows, at most.")] = 50,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Make a bundle of a booster: features checked, golden rows picked, scores proven.

    The first 100,000 events give golden rows and the reference distribution.
    """
    from workers.models.checks import check_features
    from workers.models.spec import read_spec
    from workers.models.text import read_text
    from workers.offline.build import build_into, read_booster

    loaded, said = load(topology), read_spec(spec)
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    recipe = said.recipe(contract_of(loaded, said.contract), now)
    store, text = open_store(loaded.models), read_booster(booster)
    try:
        check_features(recipe.features, recipe.schema, read_text(text))
    except ModelError as error:
        raise ModelError(f"{spec}: {error}") from error
    made = build_into(store, recipe, text, events, golden=golden)
    table = Table(title=f"{said.name} version {said.version}", show_header=False)
    table.add_row("contract", escape(f"{said.contract.subject} version {said.contract.version}"))
    table.add_row("features", str(len(said.features)))
    table.add_row("events scored", f"{made.events - made.rejected.total():,}")
    for what, count in sorted(made.rejected.items()):
        table.add_row("events rejected", escape(f"{count:,}: {what}"))
    for decision, count in made.decisions.items():
        warning = "" if count else ": no event of the file reaches it"
        table.add_row(f"decision {decision}", f"{count:,}{warning}")
    table.add_row("golden rows", f"{len(made.bundle.golden.rows)}, reproduced")
    place = Path(store.place)
    near = place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else store.place
    table.add_row("written to", escape(f"{near}/{said.name}/{said.version}"))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def contract_of(topology: Topology, ref: ContractRef) -> Schema:
    """The contract that a bundle is built for.

    Raises:
        ContractError: the contracts cannot be read.
        ModelError: they have no such version.
    """
    from workers.contracts.opening import open_contracts

    resolver = open_contracts(topology.contracts, [ref.subject])
    resolver.close()
    found = resolver.catalogue.versions(ref.subject).get(ref.version)
    if found is None:
        raise ModelError(f"{ref.subject} version {ref.version} is not among the contracts")
    return found.schema


def card(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    version: Annotated[str | None, typer.Argument(help="Default: champion, else newest.")] = None,
    *,
    output: Annotated[
        Path | None, typer.Option(help="HTML file to write; default: NAME-VERSION.html")
    ] = None,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Write a version's model card: one HTML page, with plots, that needs nothing beside it."""
    from workers.models.card import render_card

    store = open_store(load(topology).models)
    bundle = store.bundle(name, version or usual(store, name))
    target = output or Path(f"{name}-{bundle.manifest.version}.html")
    try:
        target.write_text(render_card(bundle), encoding="utf-8", errors="replace")
    except OSError as error:
        raise ModelError(f"{target}: cannot be written: {error.strerror}") from error
    print(f"{target}: card of {name} version {bundle.manifest.version}")


def usual(store: Store, name: str) -> str:
    """The version meant where none is named: champion, else the newest.

    Raises:
        ModelError: there is no such model.
    """
    versions = store.versions(name)
    if not versions:
        raise ModelError(f"no model {name}; there are {', '.join(store.names()) or 'none'}")
    return store.aliases(name).champion or versions[-1]
