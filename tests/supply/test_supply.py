"""What a worker runs with comes from where the lock says, by its hash, under a known licence."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from tests.conftest import ROOT
from tests.supply.licences import Part, page, parts

LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
LOCKED = {(package["name"], package.get("version")) for package in LOCK["package"]}


def test_every_licence_is_allowed() -> None:
    """From installed metadata; a new one needs a person's decision."""
    found = parts()

    assert [f"{part.name}: {part.licence}" for part in found if not part.allowed] == []
    assert {"confluent-kafka", "lightgbm", "polars", "pyarrow", "cryptography"} <= {
        part.name for part in found
    }


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-2.0-only OR MIT", True),
        ("BSD-2-Clause AND Apache-2.0 WITH LLVM-exception", True),
        ("unknown", False),
    ],
)
def test_a_licence_is_judged_by_what_must_be_kept(licence: str, allowed: bool) -> None:
    """One of several that may be chosen is enough; all of those that hold together must do."""
    assert replace(Part("x", "1", "", ""), licence=licence).allowed is allowed


def test_the_page_of_licences_is_fresh() -> None:
    """`make licences` renews it. Another Python may need less than the page has, never more."""
    committed = (ROOT / "docs" / "licences.md").read_text().splitlines()
    rows = [tuple(row.strip("| ").split(" | ")[:2]) for row in committed if " | " in row]

    assert [line for line in page().splitlines() if line not in committed] == [], "make licences"
    assert [row for row in rows[1:] if row not in LOCKED] == [], "make licences"


def test_everything_in_the_lock_has_a_hash_and_one_source() -> None:
    """Nothing from a url, a git repository or another index; only this project has no hash."""
    sources = {next(iter(package["source"].items())) for package in LOCK["package"]}
    files = [
        file
        for package in LOCK["package"]
        for file in (*package.get("wheels", ()), *filter(None, [package.get("sdist")]))
    ]

    assert {kind for kind, _ in sources} == {"registry", "editable"}
    assert len(sources) == 2
    assert [file["url"] for file in files if not file.get("hash", "").startswith("sha256:")] == []
    assert len(files) > len(LOCK["package"])


def test_what_is_installed_is_what_is_locked() -> None:
    """`uv sync --locked` made this environment: a licence is that of the locked version."""
    assert [part.name for part in parts() if (part.name, part.version) not in LOCKED] == []
