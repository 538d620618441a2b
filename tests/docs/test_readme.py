"""The README says what is true."""

from __future__ import annotations

import re

from tests.conftest import ROOT
from workers.contracts.notes import ContractEvent
from workers.errors import ExitCode, Verdict
from workers.models.following import ModelEvent
from workers.models.shadow.counts import ShadowEvent
from workers.stream.journal import Event
from workers.telemetry.events import TelemetryEvent

README = (ROOT / "README.md").read_text()


def test_every_exit_code_is_documented() -> None:
    """One row each, and none that does not exist."""
    rows = re.findall(r"^\| (\d) \|", README, re.MULTILINE)

    assert [int(row) for row in rows] == [int(code) for code in ExitCode]


def test_every_verdict_is_documented() -> None:
    """In the README, by name."""
    for verdict in Verdict:
        assert f"`{verdict.value}`" in README


def test_make_targets_and_links_exist() -> None:
    """What the README tells to run or to read is there."""
    makefile = (ROOT / "Makefile").read_text()

    for target in re.findall(r"`?make ([a-z-]+)", README):
        assert f"\n{target}:" in makefile
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link


def test_log_events_are_documented() -> None:
    """docs/telemetry.md lists every name a worker logs."""
    text = (ROOT / "docs" / "telemetry.md").read_text()

    assert [
        event.value
        for event in (*Event, *ContractEvent, *ModelEvent, *ShadowEvent, *TelemetryEvent)
        if f"`{event.value}`" not in text
    ] == []
