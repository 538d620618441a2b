"""A store of each kind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.stores import Directory, Kind, Memory, Registry
from workers.testing import RealMlflow


@pytest.fixture(scope="session")
def mlflow() -> Iterator[RealMlflow]:
    """MLflow's own server. Where none can be had the tests fail: they are not skipped."""
    with RealMlflow() as found:
        yield found


@pytest.fixture(params=["directory", "memory", pytest.param("mlflow", marks=[pytest.mark.slow])])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kind]:
    """The same promises hold for all of them."""
    if request.param == "directory":
        (tmp_path / "models").mkdir()
        yield Directory(tmp_path / "models")
    elif request.param == "memory":
        yield Memory(f"memory://store-{uuid.uuid4().hex[:12]}/models")
    else:
        server: RealMlflow = request.getfixturevalue("mlflow")
        registry = Registry(server.url)
        yield registry
        registry.clear()
