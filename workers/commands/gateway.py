"""`workers serve` and `workers gateway`: decisions by HTTP, and what its callers need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from workers.errors import TopologyError

app = typer.Typer(no_args_is_help=True, help="Keys of callers, and the gateway's OpenAPI document.")
TopologyFile = Annotated[Path, typer.Option("--topology", "-t", help="The topology file.")]
DEFAULT_TOPOLOGY = Path("topology.yaml")
NEEDS = "the gateway needs the extra `gateway`: pip install 'enrichment-workers[gateway]'"


def serve(*, topology: TopologyFile = DEFAULT_TOPOLOGY) -> None:
    """Serve decisions by HTTP until SIGTERM, which drains.

    Prints the addresses that it listens on; logs go to standard error.
    """
    try:
        from workers.serving import serve as run
    except ImportError as error:
        raise TopologyError(f"{NEEDS}: {error}") from error
    run(topology)


@app.command(epilog="Example: workers gateway key")
def key() -> None:
    """Make a key for a caller: it is shown once, its hash is for topology.yaml."""
    try:
        from workers.gateway.callers import new_key
    except ImportError as error:
        raise TopologyError(f"{NEEDS}: {error}") from error
    made, hashed = new_key()
    print(json.dumps({"key": made, "hash": hashed}, indent=2))
