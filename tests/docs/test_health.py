"""docs/health.md and docs/doctor.md have every code, word and check."""

from __future__ import annotations

import re

from tests.conftest import ROOT
from workers.operate.doctor.findings import ABOUT, Severity
from workers.operate.health.probes import Code
from workers.operate.health.words import Word


def rows(page: str, columns: int) -> list[tuple[str, ...]]:
    """The first cell without its backticks, and the others, of rows that begin with a name."""
    text = (ROOT / "docs" / page).read_text()
    cells = r" \| ".join([r"([^|]+?)"] * (columns - 1))
    return re.findall(rf"^\| `([A-Za-z_]+)` \| {cells} \|$", text, re.MULTILINE)


def test_every_reason_is_documented() -> None:
    assert {row[0] for row in rows("health.md", 3)} == {code.value for code in Code}


def test_every_status_word_is_documented() -> None:
    assert [row[0] for row in rows("health.md", 2)] == [word.value for word in Word]


def test_every_check_and_severity_of_the_doctors_is_documented() -> None:
    found = {row[0]: row[1] for row in rows("doctor.md", 2)}
    assert {severity.value for severity in Severity} <= found.keys()
    assert {name: text for name, text in found.items() if name not in list(Severity)} == {
        check.value: about for check, about in ABOUT.items()
    }
