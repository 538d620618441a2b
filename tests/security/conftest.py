"""One broker for all tests of security: it is started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_cli import workers
from tests.security.place import Place
from tests.security.place import place as started


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The broker, its topics made by `workers apply`; nobody has a right yet."""
    folder = tmp_path_factory.mktemp("secured")
    with started(folder) as found:
        file = found.topology(folder / "admin.yaml", "", "{}")
        workers("apply", "--yes", "--topology", str(file))
        yield found


@pytest.fixture
def admin(place: Place) -> Path:
    """The topology as the super user has it."""
    return place.folder / "admin.yaml"
