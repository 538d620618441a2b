"""What drills share: the demo's worker, read once."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT
from workers.drills.setup import Setup, prepare


@pytest.fixture(scope="session")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """The demo's topology, as `workers drill` reads it."""
    return prepare(ROOT / "topology.yaml", None, tmp_path_factory.mktemp("drills"))
