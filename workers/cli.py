"""The `workers` command."""

from __future__ import annotations

from typing import Annotated

import typer

from workers import __version__

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def root(*, version: Annotated[bool, typer.Option("--version", help="Print it.")] = False) -> None:
    """Score Avro events on Kafka with a LightGBM model."""
    if version:
        print(__version__)


def main() -> None:
    """Entry point."""
    app()
