"""Contracts from a directory: `schemas/<subject>/subject.yaml` and one file a version.

    subject: flights-value
    versions:
      1: {file: v1.avsc, id: 1}      # `guid` too, where producers send header ids

The id is the one that stands in the records' framing. Nothing here writes.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from workers.contracts.framing import SchemaKey
from workers.contracts.schema import Schema, SchemaLimits, parse
from workers.errors import ContractError


@dataclass(frozen=True, slots=True)
class Registered:
    """A schema with its place: subject, version, and the id that its records carry."""

    subject: str
    version: int
    id: int
    schema: Schema
    guid: bytes | None = None

    @property
    def keys(self) -> tuple[SchemaKey, ...]:
        """What a record's framing may say to mean this schema."""
        return (self.id,) if self.guid is None else (self.id, self.guid)


class Contracts(Protocol):
    """Where schemas come from. A directory here; a registry answers the same questions."""

    def find(self, key: SchemaKey) -> Registered | None:
        """The schema that records with this id or GUID were written under."""
        ...

    def versions(self, subject: str) -> Mapping[int, Registered]:
        """Versions of a subject by number, ascending; empty where there is no such subject."""
        ...


class _VersionFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    file: str
    id: int = Field(ge=0, lt=2**32)
    guid: uuid.UUID | None = None


class _SubjectFile(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    subject: str
    versions: dict[int, _VersionFile]


class ContractDirectory:
    """Every contract of a directory, read and checked once.

    Raises:
        ContractError: a file is missing, malformed or outside the directory, or an id stands for
            two schemas; names the file.
    """

    def __init__(self, root: Path, limits: SchemaLimits | None = None) -> None:
        if not root.is_dir():
            raise ContractError(f"{root}: no such directory of contracts")
        self._limits = limits or SchemaLimits()
        self._by_key: dict[SchemaKey, Registered] = {}
        self._subjects: dict[str, dict[int, Registered]] = {}
        for file in sorted(root.glob("*/subject.yaml")):
            self._read_subject(file)

    def find(self, key: SchemaKey) -> Registered | None:
        """The schema that records with this id or GUID were written under."""
        return self._by_key.get(key)

    def versions(self, subject: str) -> Mapping[int, Registered]:
        """Versions of a subject by number, ascending; empty where there is no such subject."""
        return self._subjects.get(subject, {})

    def _read_subject(self, file: Path) -> None:
        try:
            declared = _SubjectFile.model_validate(YAML(typ="safe").load(file.read_text()))
        except (YAMLError, UnicodeDecodeError, ValidationError) as error:
            raise ContractError(f"{file}: {error}") from error
        if declared.subject in self._subjects:
            raise ContractError(f"{file}: subject {declared.subject} is declared twice")
        versions = self._subjects[declared.subject] = {}
        for number, entry in sorted(declared.versions.items()):
            versions[number] = self._read_version(file.parent, declared.subject, number, entry)

    def _read_version(
        self, folder: Path, subject: str, number: int, entry: _VersionFile
    ) -> Registered:
        path = folder / entry.file
        if path.resolve().parent != folder.resolve() or not path.is_file():
            raise ContractError(
                f"{folder / 'subject.yaml'}: version {number}: no file {entry.file}"
            )
        schema = parse(path.read_bytes(), where=str(path), limits=self._limits)
        guid = entry.guid.bytes if entry.guid else None
        registered = Registered(subject, number, entry.id, schema, guid)
        for key in registered.keys:
            other = self._by_key.get(key)
            if other is not None and other.schema.text != schema.text:
                raise ContractError(
                    f"{path}: id {key!r} already stands for {other.subject} version {other.version}"
                )
            self._by_key.setdefault(key, registered)
        return registered
