"""The committed documents say what topology.yaml and the contracts say."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from workers.cli import app


def test_the_committed_documents_are_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `workers contracts docs --check` finds them; it says how to renew them."""
    monkeypatch.chdir(ROOT)

    done = CliRunner().invoke(app, ["contracts", "docs", "--check"])

    assert done.exit_code == 0, done.stderr


def test_the_committed_classes_are_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `workers contracts codegen` writes them for the newest version."""
    monkeypatch.chdir(ROOT)
    committed = ROOT / "examples" / "subscriber" / "flights_enriched.py"

    done = CliRunner().invoke(app, ["contracts", "codegen", "flights.enriched-value"])

    renew = (
        f"renew with: workers contracts codegen flights.enriched-value --output {committed.name}"
    )
    assert done.stdout == committed.read_text(), renew


def test_the_committed_page_of_errors_is_fresh() -> None:
    """As `workers errors` prints it."""
    done = CliRunner().invoke(app, ["errors"])

    renew = "renew with: workers errors > docs/errors.md"
    assert done.stdout == (ROOT / "docs" / "errors.md").read_text(), renew


def test_the_committed_page_of_telemetry_is_fresh() -> None:
    """As `workers telemetry` prints it."""
    done = CliRunner().invoke(app, ["telemetry"])

    renew = "renew with: workers telemetry > docs/telemetry.md"
    assert done.stdout == (ROOT / "docs" / "telemetry.md").read_text(), renew
