"""Libraries that ours load where they are installed, for inputs that a worker never has.

LightGBM and pyarrow look for them when they are imported: where somebody has installed them, for
a notebook or for tests, every start takes a second or more longer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

NAMES = frozenset({"dask", "matplotlib", "pandas", "sklearn"})


class _Absent(MetaPathFinder):
    """Says that they are not installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        """Raises ModuleNotFoundError, as an import of what is missing does."""
        if fullname in NAMES:
            raise ModuleNotFoundError(f"{fullname} is left out of this process", name=fullname)


def leave_out() -> None:
    """From now on, for this process. Only where the process is ours alone, never in a library."""
    sys.meta_path.insert(0, _Absent())
