"""What a process says of itself while it runs."""

from __future__ import annotations

from workers import __version__
from workers.enrich.path import Enricher
from workers.stream.clock import Clock
from workers.stream.journal import Event
from workers.stream.pausing import Pauses
from workers.stream.reporting import Parts, Reporter, first_snapshot
from workers.stream.schemas import Schemas
from workers.stream.snapshot import Board, ModelView
from workers.stream.source import Source
from workers.topology import Worker
from workers.wiring.clients import ends_of
from workers.wiring.declared import models_of
from workers.wiring.process import Process, instance_of


def board_of(worker: Worker, slot: int, clock: Clock) -> Board:
    """Where a process of a worker reports, before it does anything."""
    instance = instance_of(worker, slot)
    return Board(first_snapshot(clock, build=__version__, worker=worker.name, instance=instance))


def reporter_of(
    process: Process,
    board: Board,
    enricher: Enricher,
    source: Source,
    pauses: Pauses,
    schemas: Schemas,
) -> Reporter:
    """What keeps the board new."""
    worker, journal, ends = process.worker, process.journal, ends_of(process)
    parts = Parts(
        assigned=lambda: source.assigned,
        ends=lambda: {**source.ends(), **ends.of(frozenset(source.stopped))},
        pauses=lambda: {**pauses.of(source.assigned), **source.pauses},
        counts=journal.totals,
        models=lambda: model_views(worker, enricher),
        contracts=lambda: schemas.known,
        paused=lambda: pauses.why,
        close=ends.close,
        failed=lambda error: journal.error(Event.SNAPSHOT_FAILED, why=type(error).__name__),
    )
    return Reporter(board, source.lag, parts, process.clock)


def model_views(worker: Worker, enricher: Enricher) -> tuple[ModelView, ...]:
    """What serves a worker's blocks."""
    return tuple(
        ModelView(
            block=block,
            name=ref.name,
            version=serving.model.manifest.version,
            alias=None if ref.version is not None else ref.alias,
            bypassed=serving.bypass,
            backend="compiled" if serving.model.compiled else "lightgbm",
            canary=None if serving.canary is None else serving.canary.model.manifest.version,
        )
        for (block, ref), serving in zip(models_of(worker).items(), enricher.servings, strict=True)
    )
