"""The demo's bundle is proven once for all of these tests, and not by each command again."""

from __future__ import annotations

import pytest

from workers.contracts.catalogue import Catalogue
from workers.models.bundle import Bundle
from workers.models.verify import verify


@pytest.fixture(scope="session")
def _proven(bundle: Bundle, contracts: Catalogue) -> None:
    built = bundle.manifest.contract
    verify(bundle, contracts.versions(built.subject)[built.version].schema)


@pytest.fixture(autouse=True)
def _proven_once(_proven: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.wiring.models.verify", lambda *_: None)
