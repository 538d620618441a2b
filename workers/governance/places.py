"""Where a field stands in its file."""

from __future__ import annotations

import re
from pathlib import Path


def line_of(file: Path, where: str) -> int:
    """The line where a field is named in its .avsc, from 1; the first where it cannot be found.

    Looks for the names of the path one after the other, which finds a field of a type that is
    defined where it is first used.
    """
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError):
        return 1
    at = 0
    for name in filter(None, re.split(r"[.\[\]{}]+", where)):
        found = re.compile(rf'"name"\s*:\s*"{re.escape(name)}"').search(text, at)
        if found is None:
            break
        at = found.start()
    return text.count("\n", 0, at) + 1


def shown(file: Path, base: Path) -> str:
    """A path as a reader at `base` writes it."""
    path = file.resolve()
    return (path.relative_to(base) if path.is_relative_to(base) else path).as_posix()
