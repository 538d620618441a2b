"""What there is: subjects, their topics, owners, promises and versions."""

from __future__ import annotations

from typing import Any

from workers.contracts.directory import ContractDirectory
from workers.contracts.lock import is_released
from workers.contracts.subject import SubjectFile


def listing(directory: ContractDirectory) -> list[dict[str, Any]]:
    """A plain object for every topic that a subject.yaml names, sorted by topic."""
    entries = [_entry(directory, about) for about in directory.files.values()]
    return sorted(entries, key=lambda entry: str(entry["topic"]))


def _entry(directory: ContractDirectory, about: SubjectFile) -> dict[str, Any]:
    versions = directory.catalogue.versions(about.subject) if about.subject else {}
    return {
        "subject": about.subject,
        "topic": about.topic,
        "role": about.role.value,
        "owner": about.owner,
        "compatibility": about.compatibility.value,
        "sunset": about.sunset.isoformat() if about.sunset else None,
        "versions": [
            {
                "version": number,
                "id": entry.id,
                "released": is_released(directory.lock, entry),
                "fingerprint": entry.schema.fingerprint,
            }
            for number, entry in versions.items()
        ],
    }


def versions_text(entry: dict[str, Any]) -> str:
    """Versions of one entry, for a table."""
    return "\n".join(
        f"{version['version']}, "
        + ("no id yet" if version["id"] is None else f"id {version['id']}")
        + ("" if version["released"] else ", draft")
        for version in entry["versions"]
    )
