"""A short part of `make chaos`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.chaos import run
from tests.faults.rig import Scene

SECONDS = 12.0


@pytest.mark.kafka
@pytest.mark.faults
@pytest.mark.timeout(280)
def test_random_faults_break_no_promise(
    scene: Callable[..., Scene], tmp_path: Path, seed: int
) -> None:
    """Whatever comes, in whatever order: once each, in order, and nothing left open."""
    print(run(scene(), tmp_path, SECONDS, seed, print))
