"""docs/gateway.md says what there is."""

from __future__ import annotations

from tests.conftest import ROOT
from workers.gateway.notes import GatewayEvent
from workers.gateway.problems import ABOUT, Kind

PAGE = (ROOT / "docs" / "gateway.md").read_text()


def test_every_problem_and_log_event_is_documented() -> None:
    """By name, with its status."""
    assert [event.value for event in GatewayEvent if f"`{event.value}`" not in PAGE] == []
    for kind in Kind:
        (line,) = [
            line for line in PAGE.splitlines() if f"`{kind}`" in line and line.startswith("| `")
            and f"| {ABOUT[kind].status} |" in line
        ]  # fmt: skip
        assert line
