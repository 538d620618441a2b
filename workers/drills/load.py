"""A steady load from a thread of its own."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from workers.drills.stage import Stage, Stuck


class Load:
    """Good records at a steady pace from a thread of its own; a context manager."""

    def __init__(self, stage: Stage, every: float = 0.05, size: int = 10) -> None:
        """`size` records `every` so many seconds."""
        self._stage, self._every, self._size = stage, every, size
        self._stop = threading.Event()
        self._failed: Stuck | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._every):
                self._stage.send(self._stage.good(self._size))
        except Stuck as stuck:
            self._failed = stuck

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failed is not None and kind is None:
            raise self._failed
