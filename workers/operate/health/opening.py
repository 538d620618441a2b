"""The endpoints of one process, for as long as it lives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from workers.errors import ClientHalt
from workers.operate.health.pages import Metrics, Pages
from workers.operate.health.server import Server
from workers.stream.clock import Clock
from workers.stream.journal import Event, Journal
from workers.stream.snapshot import Board
from workers.topology import Health


@contextmanager
def answering(
    settings: Health | None,
    slot: int,
    board: Board,
    clock: Clock,
    journal: Journal,
    metrics: Metrics | None = None,
) -> Iterator[None]:
    """Answer probes meanwhile. A port that cannot be had is said so, and records go on without."""
    server = None
    if settings is not None:
        port = settings.port + slot if settings.port else 0
        pages = Pages(board, settings.patience, clock, metrics)
        try:
            server = Server(settings.address, port, pages).start()
        except ClientHalt as halt:
            journal.error(Event.HEALTH_UNAVAILABLE, why=str(halt))
        else:
            journal.info(Event.HEALTH, address=settings.address, port=server.port)
    try:
        yield
    finally:
        if server is not None:
            server.close()
