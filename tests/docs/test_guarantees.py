"""Every test that a page names is there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.conftest import ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)")
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_is_shown_is_shown(page: object) -> None:
    """A test that is renamed or gone leaves no promise without one."""
    found = NAMED.findall((ROOT / "docs" / str(page)).read_text())
    for file, name in found:
        place = ROOT / file
        assert place.is_file(), file
        tree = ast.parse(place.read_text())
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in names, f"{file} has no {name}"


def test_the_guarantees_name_tests() -> None:
    """Many of them."""
    assert len(NAMED.findall((ROOT / "docs" / "guarantees.md").read_text())) > 30
