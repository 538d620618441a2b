"""docs/scaling.md is what was measured and what the formulas make of it, and nothing else."""

from __future__ import annotations

import json

from benchmarks.capacity import MEASURED
from benchmarks.scaling import cases
from benchmarks.scaling_page import PAGE, page

FOUND = json.loads(MEASURED.read_text())


def test_the_page_is_made_of_what_was_measured() -> None:
    """`python -m benchmarks.scaling_page` renews it."""
    assert page(FOUND) == PAGE.read_text()


def test_every_case_was_measured() -> None:
    """Processes, partitions, guarantees: none is left out."""
    measured = [(r["processes"], r["partitions"], r["delivery"], r["note"]) for r in FOUND["rows"]]

    assert measured == [(c.processes, c.partitions, c.delivery, c.note) for c in cases()]


def test_restarts_under_load_lost_and_doubled_nothing() -> None:
    """Exactly once, with each membership; the page says how long events waited."""
    assert {each["membership"] for each in FOUND["stalls"]} == {"dynamic", "static", "KIP-848"}
    for each in FOUND["stalls"]:
        assert each["sent"] > 0
        assert (each["lost"], each["doubled"]) == (0, 0), each
