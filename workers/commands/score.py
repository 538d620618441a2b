"""`workers score`: a file through the worker's own path."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from workers.topology import load

DEFAULT_TOPOLOGY = Path("topology.yaml")


def score(
    file: Annotated[Path, typer.Argument(help="Events: .avro (container) or .parquet.")],
    worker: Annotated[str | None, typer.Argument(help="Worker; may be left out.")] = None,
    *,
    output: Annotated[Path, typer.Option(help="Avro container to write.")] = Path("scored.avro"),
    topology: Annotated[Path, typer.Option("--topology", "-t")] = DEFAULT_TOPOLOGY,
) -> None:
    """Enrich the events of a file as the worker would, without Kafka.

    Rejected events go to OUTPUT.rejected.jsonl; the counts are printed as JSON.
    """
    from workers.offline.score import TallyState, score_file
    from workers.wiring import build_enricher, pick

    loaded = load(topology)
    enricher = build_enricher(loaded, pick(loaded, worker))

    def progress(tally: TallyState) -> None:
        if sys.stderr.isatty():
            print(f"\r{tally.events:,} events", end="", file=sys.stderr, flush=True)

    now = time.time_ns() // 1_000_000
    tally = score_file(enricher, file, output, now=now, progress=progress)
    print(
        json.dumps(
            {
                "events": tally.events,
                "enriched": tally.enriched,
                "rejected": dict(tally.rejected),
                "decisions": dict(tally.decisions),
                "output": str(output),
            }
        )
    )
