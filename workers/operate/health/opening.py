"""The endpoints of one process, for as long as it lives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from workers.errors import ClientHalt
from workers.operate.health.pages import Answering, Metrics, Pages
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
        server = listening(settings.address, port, pages, journal)
    if server is not None:
        server.start()
    try:
        yield
    finally:
        if server is not None:
            server.close()


def listening(address: str, port: int, pages: Answering, journal: Journal) -> Server | None:
    """A server that listens and is to be started; None, and said so, where it cannot."""
    try:
        server = Server(address, port, pages)
    except ClientHalt as halt:
        journal.error(Event.HEALTH_UNAVAILABLE, why=str(halt))
        return None
    journal.info(Event.HEALTH, address=address, port=server.port)
    return server
