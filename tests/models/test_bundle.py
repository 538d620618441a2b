"""A bundle that is not what its manifest says is never served."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from workers.contracts.catalogue import Catalogue
from workers.errors import ModelError
from workers.models.bundle import Bundle, describe_file, read_bundle
from workers.models.verify import verify


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the demo's bundle that a test may damage."""
    shutil.copytree(ROOT / "models", tmp_path / "models")
    return tmp_path / "models" / "flight-delay" / "1"


def truncate(folder: Path) -> None:
    """Cut the model in the middle."""
    text = (folder / "model.txt").read_bytes()
    (folder / "model.txt").write_bytes(text[: len(text) // 2])


def flip(folder: Path) -> None:
    """Change one digit of a leaf."""
    text = (folder / "model.txt").read_text()
    at = text.index("leaf_value=") + len("leaf_value=") + 3
    changed = "7" if text[at] != "7" else "3"
    (folder / "model.txt").write_text(text[:at] + changed + text[at + 1 :])


def fifo(folder: Path) -> None:
    """Put a pipe in place of the model: opening it must not hang."""
    (folder / "model.txt").unlink()
    os.mkfifo(folder / "model.txt")


def directory(folder: Path) -> None:
    """Put a directory in place of the model."""
    (folder / "model.txt").unlink()
    (folder / "model.txt").mkdir()


def huge(folder: Path) -> None:
    """A model far beyond its declared size."""
    os.truncate(folder / "model.txt", 5 * 1024**3)


def no_manifest(folder: Path) -> None:
    """No manifest at all."""
    (folder / "manifest.json").unlink()


def bad_manifest(folder: Path) -> None:
    """A manifest that is not JSON."""
    (folder / "manifest.json").write_text("{")


def traversal(folder: Path) -> None:
    """A manifest that points outside its folder."""
    edit(folder, lambda m: m["booster"].update(file="../../secret"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest."""
    document = json.loads((folder / "manifest.json").read_text())
    change(document)
    (folder / "manifest.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    "damage", [truncate, flip, fifo, directory, huge, no_manifest, bad_manifest, traversal]
)
def test_damaged_files_are_refused(copy: Path, damage: Callable[[Path], None]) -> None:
    """The error names the file."""
    damage(copy)

    with pytest.raises(ModelError, match=str(copy)):
        read_bundle(copy.parents[1], "flight-delay", "1")


def resign(folder: Path) -> None:
    """Let the manifest match the damaged model, as a careless repair would."""
    entry = describe_file(folder / "model.txt").model_dump()
    edit(folder, lambda m: m.update(booster=entry))


@pytest.mark.parametrize("damage", [truncate, flip])
def test_damage_under_a_valid_digest_is_found_by_the_child(
    copy: Path, damage: Callable[[Path], None], contracts: Catalogue
) -> None:
    """A model that crashes its loader, or scores otherwise, takes only the child down."""
    damage(copy)
    resign(copy)
    bundle = read_bundle(copy.parents[1], "flight-delay", "1")

    with pytest.raises(ModelError, match="flight-delay version 1"):
        verify(bundle, contracts.versions("flights-value")[1].schema)


def test_a_feature_the_contract_lacks_is_named(copy: Path, contracts: Catalogue) -> None:
    """The feature contract is checked before the model serves."""
    edit(copy, lambda m: m["features"][0].update(sql="no_such_field + 1"))
    bundle = read_bundle(copy.parents[1], "flight-delay", "1")

    with pytest.raises(ModelError, match=r"feature departure_delay: .*no_such_field"):
        verify(bundle, contracts.versions("flights-value")[1].schema)


def test_the_demo_bundle_is_sound(bundle: Bundle, contracts: Catalogue) -> None:
    """Golden rows score the same in a child process, in a batch and alone."""
    verify(bundle, contracts.versions("flights-value")[1].schema)
