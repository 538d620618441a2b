"""Changes to subject.yaml that keep its comments and order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from workers.errors import ContractError


def write_id(file: Path, version: int, given: int) -> None:
    """Write a version's id.

    Raises:
        ContractError: the file cannot be written.
    """

    def change(versions: Any) -> None:
        entry = versions[version if version in versions else str(version)]
        if "id" in entry:
            entry["id"] = given
        else:
            entry.insert(0, "id", given)

    try:
        _edit(file, change)
    except OSError as error:
        raise ContractError(
            f"{file}: id {given} of version {version} cannot be written ({error.strerror}); the "
            "registry has it: run the command again"
        ) from error


def add_version(file: Path, version: int, entry: Mapping[str, object]) -> None:
    """Add an entry for a version.

    Raises:
        ContractError: the file cannot be written.
    """

    def change(versions: Any) -> None:
        added = CommentedMap(entry)
        added.fa.set_flow_style()
        versions[version] = added

    try:
        _edit(file, change)
    except OSError as error:
        raise ContractError(f"{file}: cannot be written: {error.strerror}") from error


def _edit(file: Path, change: Callable[[Any], None]) -> None:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 10_000
    document = yaml.load(file.read_text())
    change(document.setdefault("versions", CommentedMap()))
    written = file.with_suffix(".yaml.new")
    with written.open("w") as opened:
        yaml.dump(document, opened)
    written.replace(file)
