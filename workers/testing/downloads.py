"""What tests fetch once and keep: a folder each in the user's cache, made by one process alone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMPLETE = ".complete"


@contextmanager
def kept(name: str) -> Iterator[Path]:
    """The folder of that name; while one process has it, others wait.

    Who fills it touches `COMPLETE` in it when it is whole.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    home = cache / "enrichment-workers" / name
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield home
