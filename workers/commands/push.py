"""`workers models push`: from one store to another, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workers.commands.build import DEFAULT_TOPOLOGY, TopologyFile, contract_of
from workers.models.opening import open_place, open_store
from workers.models.store import Store
from workers.topology import load


def push(
    name: Annotated[str, typer.Argument(help="The model's name.")],
    version: Annotated[str, typer.Argument(help="The version.")],
    *,
    to: Annotated[
        str,
        typer.Option(
            help="A directory, a url as s3://bucket/models, `mlflow` for the topology's registry, "
            "or another topology's file (.yaml) for its store."
        ),
    ],
    source: Annotated[
        str | None,
        typer.Option("--from", help="Written as --to. Default: the topology's store."),
    ] = None,
    topology: TopologyFile = DEFAULT_TOPOLOGY,
) -> None:
    """Copy a version to another store, after its checks. It is there whole or not at all."""
    from workers.models.checks import check_bundle
    from workers.models.verify import verify

    loaded = load(topology)

    def store_at(text: str) -> Store:
        if Path(text).suffix in (".yaml", ".yml"):
            return open_store(load(Path(text)).models)
        return open_place(text, loaded.models)

    origin = open_store(loaded.models) if source is None else store_at(source)
    target = store_at(to)
    fetched = origin.fetch(name, version)
    schema = contract_of(loaded, fetched.bundle.manifest.contract)
    check_bundle(fetched.bundle, schema)
    verify(fetched.bundle, schema)
    target.put(fetched)
    print(f"{name} version {version}: {len(fetched.contents)} files written to {target.place}")
