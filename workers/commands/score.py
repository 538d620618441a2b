"""`workers score`: a file, or a range of a topic, through the worker's own path."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers.topology import Topology, Worker, load

if TYPE_CHECKING:
    from workers.offline.path import WorkerPath
    from workers.offline.score import TallyState
    from workers.stream.ranges import Point

DEFAULT_TOPOLOGY = Path("topology.yaml")
TOPIC = "topic://"
EVERY = {True: 0.5, False: 10.0}
"""Seconds between two lines of progress, on a terminal and elsewhere."""


def score(  # noqa: PLR0913  one parameter an option
    source: Annotated[
        str, typer.Argument(help="Events: .avro (container), .parquet, or topic://NAME.")
    ],
    worker: Annotated[str | None, typer.Argument(help="Worker; may be left out.")] = None,
    *,
    output: Annotated[
        Path, typer.Option(help="What to write: .avro (container) or .parquet.")
    ] = Path("scored.avro"),
    since: Annotated[
        str | None,
        typer.Option(
            "--from", help="Of a topic: earliest, latest, an offset, or 2026-11-24T06:00:00Z."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", help="Likewise; the record there is not read.")
    ] = None,
    partition: Annotated[
        list[int] | None, typer.Option(min=0, help="Of a topic, only this; may be repeated.")
    ] = None,
    topology: Annotated[Path, typer.Option("--topology", "-t")] = DEFAULT_TOPOLOGY,
) -> None:
    """Enrich events as the worker would: those of a file, without Kafka, or a range of a topic.

    A topic is read without a group, nothing is committed: from earliest to latest, which is the
    end as it was at the start. Rejected events go to OUTPUT.rejected.jsonl; the counts are printed
    as JSON.
    """
    from workers.wiring import build_path, pick

    points = _points(source, since, until, partition)
    loaded = load(topology)
    chosen = pick(loaded, worker)
    with build_path(loaded, chosen) as path:
        if points is None:
            summary = _file(path, Path(source), output)
        else:
            summary = _range(path, (loaded, chosen), source, points, partition, output)
    print(json.dumps({**summary, "output": str(output)}))


def _points(
    source: str, since: str | None, until: str | None, partition: list[int] | None
) -> tuple[Point, Point] | None:
    """Where the range begins and ends; None where the source is a file, which is there."""
    from workers.stream.ranges import point

    if not source.startswith(TOPIC):
        if since or until or partition:
            raise typer.BadParameter(f"--from, --to and --partition need {TOPIC}NAME, not a file")
        if not Path(source).is_file():
            raise typer.BadParameter(f"{source}: there is no such file")
        return None
    try:
        return point(since or "earliest"), point(until or "latest")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _file(path: WorkerPath, source: Path, output: Path) -> dict[str, object]:
    from workers.offline.score import score_file

    now = time.time_ns() // 1_000_000
    return _counts(score_file(path, source, output, now=now, progress=_Progress().show))


def _range(
    path: WorkerPath,
    place: tuple[Topology, Worker],
    source: str,
    points: tuple[Point, Point],
    partition: Collection[int] | None,
    output: Path,
) -> dict[str, object]:
    from workers.offline.score import score_range
    from workers.wiring import build_range_reader

    reader, partitions = build_range_reader(*place, source.removeprefix(TOPIC))
    try:
        if missing := set(partition or ()) - set(partitions):
            raise typer.BadParameter(f"{source} has no partition {min(missing)}")
        spans = reader.spans(set(partition or partitions), *points)
        progress = _Progress(sum(map(len, spans)))
        tally = score_range(path, reader, spans, output, progress=progress.show)
    finally:
        reader.close()
    return _counts(tally) | {"ranges": {s.partition: [s.start, s.end] for s in spans}}


def _counts(tally: TallyState) -> dict[str, object]:
    return {
        "events": tally.events,
        "enriched": tally.enriched,
        "tombstones": tally.tombstones,
        "dropped": tally.dropped,
        "rejected": dict(sorted(tally.rejected.items())),
        "decisions": dict(sorted(tally.decisions.items())),
    }


class _Progress:
    """Lines on standard error: now and then, and always the same one on a terminal."""

    def __init__(self, offsets: int | None = None) -> None:
        self._of = "" if offsets is None else f" of {offsets:,} offsets"
        self._terminal = sys.stderr.isatty()
        self._due = time.monotonic() + EVERY[self._terminal]

    def show(self, tally: TallyState) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + EVERY[self._terminal]
        # On a terminal each line begins where the last one did.
        line = f"{tally.events:,} events{self._of}"
        print(line, end="\r" if self._terminal else "\n", file=sys.stderr, flush=True)
