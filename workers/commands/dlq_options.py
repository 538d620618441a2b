"""Options of `workers dlq`, and the letters that they mean."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from workers.stream.letters import Wanted

DEFAULT_TOPOLOGY = Path("topology.yaml")


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


TopologyFile = Annotated[Path, typer.Option("--topology", "-t", help="The topology file.")]
WorkerName = Annotated[str | None, typer.Option("--worker", "-w", help="Where there are several.")]
Places = Annotated[
    list[str] | None, typer.Argument(help="PARTITION:OFFSET in the dead-letter topic; default all.")
]
Verdicts = Annotated[list[str] | None, typer.Option("--verdict", help="May be repeated.")]
Codes = Annotated[list[str] | None, typer.Option("--code", help="May be repeated.")]
SchemaId = Annotated[int | None, typer.Option("--schema-id", help="As the record named it.")]
Model = Annotated[str | None, typer.Option("--model", help="That scored, or failed.")]
Version = Annotated[str | None, typer.Option("--model-version", help="Of that model.")]
Key = Annotated[str | None, typer.Option("--key", help="The record's key, as text.")]
Partition = Annotated[int | None, typer.Option("--partition", help="Of the input.")]
Since = Annotated[datetime | None, typer.Option("--since", help="Failed then or later; UTC.")]
Until = Annotated[datetime | None, typer.Option("--until", help="Failed before then; UTC.")]
Format = Annotated[Output, typer.Option("--output", "-o", help="Table or JSON lines.")]
All = Annotated[bool, typer.Option("--settled", help="Also what was replayed or resolved.")]
Unmasked = Annotated[
    bool, typer.Option("--unmasked", help="Show content, but for fields tagged sensitive.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; else it is only said.")]
Why = Annotated[str, typer.Option("--why", help="For the ledger; whoever looks later asks.")]
Who = Annotated[str | None, typer.Option("--who", help="Default: the user of this shell.")]


def wanted_of(  # noqa: PLR0913, PLR0917  one parameter a filter
    places: list[str] | None = None,
    verdict: list[str] | None = None,
    code: list[str] | None = None,
    schema_id: int | None = None,
    model: str | None = None,
    model_version: str | None = None,
    key: str | None = None,
    partition: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Wanted:
    from datetime import UTC

    from workers.errors import Code, Verdict
    from workers.stream.letters import Wanted

    for given, known, what in ((verdict, Verdict, "verdict"), (code, Code, "code")):
        for each in given or ():
            if each not in set(known):
                raise typer.BadParameter(f"--{what} {each}: it is one of {', '.join(known)}")
    for place in places or ():
        if not re.fullmatch(r"\d{1,10}:\d{1,19}", place):
            raise typer.BadParameter(f"{place}: a place is PARTITION:OFFSET, as `list` shows it")
    return Wanted(
        verdicts=tuple(verdict or ()),
        codes=tuple(code or ()),
        schema_id=schema_id,
        model=model,
        model_version=model_version,
        key=None if key is None else key.encode(),
        origin_partition=partition,
        since=None if since is None else since.replace(tzinfo=UTC),
        until=None if until is None else until.replace(tzinfo=UTC),
        places=frozenset(places or ()),
    )
