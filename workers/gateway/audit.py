"""Every administrative act, done or refused: a line in a file, on the disk before the act."""

from __future__ import annotations

import datetime
import json
import os
import threading
from pathlib import Path
from typing import Any

from workers.errors import ClientHalt
from workers.gateway.notes import GatewayEvent, Say


class Audit:
    """Appends; any thread may."""

    def __init__(self, file: Path, say: Say) -> None:
        """Open it.

        Raises:
            ClientHalt: it cannot be written.
        """
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise ClientHalt(f"gateway.audit: {file}: {error.strerror}") from error
        self._lock = threading.Lock()
        self._say = say

    def note(self, **fields: Any) -> None:
        """Keep a line.

        Raises:
            OSError: the disk does not have it: what was to be done must not be.
        """
        when = datetime.datetime.now(datetime.UTC).isoformat()
        line = json.dumps({"when": when, **fields}) + "\n"
        with self._lock:
            os.write(self._handle, line.encode())
            os.fsync(self._handle)
        self._say(GatewayEvent.ADMIN, **fields)

    def close(self) -> None:
        """End."""
        os.close(self._handle)
