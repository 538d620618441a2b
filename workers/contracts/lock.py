"""contracts.lock: fingerprints of released versions, so that none changes after its release."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from workers.contracts.catalogue import Registered
from workers.errors import ContractError

LOCK_FILE = "contracts.lock"
Lock = Mapping[str, Mapping[str, str]]
"""SHA-256 by subject and version number."""


def read_lock(root: Path) -> Lock:
    """The lock of a directory of contracts; empty where there is none.

    Raises:
        ContractError: the file is damaged.
    """
    file = root / LOCK_FILE
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text())
        return {str(name): dict(versions) for name, versions in found["released"].items()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ContractError(f"{file}: damaged: {error}; take it from version control") from error


def is_released(lock: Lock, entry: Registered) -> bool:
    """Is this version in the lock?"""
    return str(entry.version) in lock.get(entry.subject, {})


def hold_to_lock(lock: Lock, entry: Registered, file: Path) -> None:
    """Hold a version to its fingerprint, if it has one.

    Raises:
        ContractError: the file was changed after its release.
    """
    locked = lock.get(entry.subject, {}).get(str(entry.version))
    if locked is not None and locked != entry.schema.fingerprint:
        raise ContractError(
            f"{file}: version {entry.version} is released and may not change: subscribers and "
            "records have it. Take the file from version control, and write what is new as "
            f"v{entry.version + 1}.avsc"
        )


def write_lock(root: Path, released: Iterable[Registered]) -> None:
    """Write the lock anew with these versions."""
    held: dict[str, dict[str, str]] = {}
    for entry in sorted(released, key=lambda entry: (entry.subject, entry.version)):
        held.setdefault(entry.subject, {})[str(entry.version)] = entry.schema.fingerprint
    text = json.dumps({"about": "written by `workers contracts release`", "released": held})
    (root / LOCK_FILE).write_text(json.dumps(json.loads(text), indent=2) + "\n")
