"""Contracts from a directory: a folder a subject, a file a version.

    schemas/flights-value/subject.yaml     whose it is, its promises, the ids of its versions
    schemas/flights-value/v1.avsc          the schema
    schemas/flights-value/examples/v1-*.json   golden events, Avro's JSON encoding
    schemas/contracts.lock                 fingerprints of released versions

Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.lock import Lock, hold_to_lock, read_lock
from workers.contracts.references import with_references
from workers.contracts.schema import SchemaLimits, parse
from workers.contracts.subject import SUBJECT_FILE, SubjectFile, VersionEntry, read_subject
from workers.errors import ContractError


@dataclass(frozen=True, slots=True)
class ContractDirectory:
    """Every contract of a directory, read and checked once.

    `files` are the subject.yaml files by topic folder; `catalogue` the schemas of all of them.
    """

    root: Path
    files: Mapping[Path, SubjectFile]
    catalogue: Catalogue
    lock: Lock

    def folder(self, subject: str) -> Path | None:
        """Where a subject's files are."""
        return next((f for f, entry in self.files.items() if entry.subject == subject), None)

    def about(self, subject: str) -> SubjectFile | None:
        """What subject.yaml says of a subject."""
        return next((entry for entry in self.files.values() if entry.subject == subject), None)

    def of_topic(self, topic: str) -> SubjectFile | None:
        """What subject.yaml says of a topic."""
        return next((entry for entry in self.files.values() if entry.topic == topic), None)


def version_file(folder: Path, version: int) -> Path:
    """Where a version's schema is."""
    return folder / f"v{version}.avsc"


def read_directory(root: Path, limits: SchemaLimits | None = None) -> ContractDirectory:
    """Read a directory of contracts.

    Raises:
        ContractError: a file is missing, malformed or outside the directory, a released version
            was changed, or an id stands for two schemas; names the file.
    """
    if not root.is_dir():
        raise ContractError(f"{root}: no such directory of contracts")
    files = {file.parent: read_subject(file) for file in sorted(root.glob(f"*/{SUBJECT_FILE}"))}
    lock = read_lock(root)
    reader = _Reader(files, lock, limits or SchemaLimits())
    registered = [
        reader.version(folder, about.subject, number, entry)
        for folder, about in files.items()
        if about.subject is not None
        for number, entry in about.versions.items()
    ]
    _complete(root, lock, registered)
    return ContractDirectory(root, files, Catalogue(registered), lock)


class _Reader:
    def __init__(self, files: Mapping[Path, SubjectFile], lock: Lock, limits: SchemaLimits) -> None:
        self._files = files
        self._lock = lock
        self._limits = limits

    def version(self, folder: Path, subject: str, number: int, entry: VersionEntry) -> Registered:
        path = version_file(folder, number)
        text = self._text(path, folder)
        if entry.references:
            text = with_references(text, entry.references, self._referred, where=str(path))
        schema = parse(text, where=str(path), limits=self._limits)
        guid = entry.guid.bytes if entry.guid else None
        registered = Registered(subject, number, entry.id, schema, guid)
        hold_to_lock(self._lock, registered, path)
        return registered

    def _text(self, path: Path, folder: Path) -> str:
        if path.resolve().parent != folder.resolve() or not path.is_file():
            raise ContractError(f"{folder / SUBJECT_FILE}: {path.name} is not beside it")
        try:
            return path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ContractError(f"{path}: cannot be read: {error}") from error

    def _referred(self, subject: str, version: int) -> tuple[str, VersionEntry] | None:
        for folder, about in self._files.items():
            if about.subject == subject and version in about.versions:
                return self._text(version_file(folder, version), folder), about.versions[version]
        return None


def _complete(root: Path, lock: Lock, registered: list[Registered]) -> None:
    there = {(entry.subject, str(entry.version)) for entry in registered}
    for subject, versions in lock.items():
        for number in versions:
            if (subject, number) not in there:
                raise ContractError(
                    f"{root}: {subject} version {number} is released, and its file or entry is "
                    "gone; records of it may still be read: take it from version control"
                )
