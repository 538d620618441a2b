"""The demo's real contracts, model and events, for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.flights.encode import encode
from examples.flights.events import shipped_month
from workers.contracts.directory import ContractDirectory
from workers.models.bundle import Bundle, read_bundle

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def contracts() -> ContractDirectory:
    """The repository's contracts."""
    return ContractDirectory(ROOT / "schemas")


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The demo's model."""
    return read_bundle(ROOT / "models", "flight-delay", "1")


@pytest.fixture(scope="session")
def flights(contracts: ContractDirectory) -> list[bytes]:
    """4,000 real events as bare datums."""
    schema = contracts.versions("flights-value")[1].schema
    return encode(shipped_month().head(4000), schema.text)
