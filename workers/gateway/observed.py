"""A gateway's, or a proxy's, process as others see it: its pages, and what it sends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from workers.gateway.pages import DoorPages
from workers.operate.health.server import Server
from workers.telemetry.spans import Exporting

BEAT = 1.0
"""Seconds between two signs of life."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Starts and ends with the process; without `server` its port could not be had."""

    pages: DoorPages
    server: Server | None
    exports: Exporting

    @property
    def port(self) -> int | None:
        """Where the pages are."""
        return None if self.server is None else self.server.port

    def start(self) -> None:
        """Answer and send from now on."""
        self.exports.start()
        if self.server is not None:
            self.server.start()

    async def beat(self) -> None:
        """Show that the event loop has its turns, for ever."""
        while True:
            self.pages.beat()
            await asyncio.sleep(BEAT)

    def close(self) -> None:
        """End; what is left is sent, if that takes no longer than a moment."""
        self.exports.close()
        if self.server is not None:
            self.server.close()
