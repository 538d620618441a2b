"""Where versions come from while a worker runs: a registry, or a directory read again."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workers.contracts.answers import Stored
from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.directory import read_directory
from workers.contracts.framing import SchemaKey
from workers.contracts.lock import LOCK_FILE
from workers.contracts.references import with_references
from workers.contracts.registry import Registry
from workers.contracts.schema import Schema, SchemaLimits, parse
from workers.contracts.subject import SUBJECT_FILE, Reference
from workers.errors import ContractError, Retry
from workers.topology.contracts import RegistryPlace

MAX_VERSIONS = 1000
"""Newest versions of a subject that are held; older ones are looked up by id."""


class Source(Protocol):
    """What can be asked for versions. It is asked from one thread at a time."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def confirmations(self) -> int:
        """How many denials make an id unknown."""
        ...

    def lookup(self, key: SchemaKey) -> Sequence[Registered]:
        """Every subject and version of an id; empty where it is not there.

        Raises:
            Retry: it cannot say.
            ContractError: the id is there, and no worker can read what it stands for.
        """
        ...

    def versions(self, subject: str) -> Sequence[Registered]:
        """Every version of a subject that a worker can read; empty where there is none.

        Raises:
            Retry: it cannot say.
        """
        ...

    def faults(self) -> Sequence[str]:
        """Versions that were left out since the last call, and why."""
        ...

    def close(self) -> None:
        """End what is under way. May be called from another thread."""
        ...


@dataclass(frozen=True, slots=True)
class _Refers:
    references: tuple[Reference, ...]


class RegistrySource:
    """A schema registry.

    Versions never change, so a version is fetched once; the newest is fetched each time, which
    shows a registry whose content changed.
    """

    confirmations = 2

    def __init__(self, registry: Registry, limits: SchemaLimits | None = None) -> None:
        self.registry = registry
        self._limits = limits
        self._known: dict[str, dict[int, Registered]] = {}
        self._unusable: dict[tuple[str, int], str] = {}
        self._faults: list[str] = []

    @property
    def name(self) -> str:
        """The registry's address."""
        return self.registry.name

    def lookup(self, key: SchemaKey) -> Sequence[Registered]:
        """As `Source`."""
        if isinstance(key, int):
            stored = self.registry.by_id(key)
            return [] if stored is None else self._placed(key, stored, None)
        guid = uuid.UUID(bytes=key)
        stored = self.registry.by_guid(guid)
        if stored is None:
            return []
        numbers = self.registry.ids_of_guid(guid)
        return [entry for number in numbers for entry in self._placed(number, stored, key)]

    def _placed(self, number: int, stored: Stored, guid: bytes | None) -> list[Registered]:
        schema = self._schema(stored, f"id {number} of {self.name}")
        places = self.registry.places_of(number)
        if not places:
            raise ContractError(f"id {number} of {self.name}: no subject has it any more")
        return [
            Registered(place.subject, place.version, number, schema, guid)
            for place in places[:MAX_VERSIONS]
        ]

    def versions(self, subject: str) -> Sequence[Registered]:
        """As `Source`."""
        numbers = self.registry.versions(subject)[-MAX_VERSIONS:]
        before = self._known.get(subject, {})
        found = {number: before[number] for number in numbers if number in before}
        for number in numbers:
            if number in found and number != numbers[-1]:
                continue
            if (fetched := self._fetched(subject, number)) is not None:
                found[number] = fetched
        self._known[subject] = found
        return list(found.values())

    def _fetched(self, subject: str, number: int) -> Registered | None:
        if (subject, number) in self._unusable:
            return None
        stored = self.registry.version(subject, number)
        if stored is None:
            return None
        where = f"{subject} version {number} of {self.name}"
        if stored.id is None or stored.version not in (None, number):
            raise Retry(f"{where}: the answer has no id, or is another version")
        try:
            schema = self._schema(stored, where)
        except ContractError as error:
            self._unusable[subject, number] = str(error)
            self._faults.append(str(error))
            return None
        guid = stored.guid.bytes if stored.guid else None
        return Registered(subject, number, stored.id, schema, guid)

    def faults(self) -> Sequence[str]:
        """As `Source`."""
        taken, self._faults = self._faults, []
        return taken

    def close(self) -> None:
        """As `Source`."""
        self.registry.close()

    def _schema(self, stored: Stored, where: str) -> Schema:
        if not stored.avro:
            raise ContractError(f"{where}: is {str(stored.kind)[:20]}, not Avro")
        text = stored.text
        if stored.references:
            text = with_references(text, stored.references, self._referred, where=where)
        return parse(text, where=where, limits=self._limits)

    def _referred(self, subject: str, version: int) -> tuple[str, _Refers] | None:
        stored = self.registry.version(subject, version)
        return None if stored is None else (stored.text, _Refers(stored.references or ()))


class DirectorySource:
    """A directory of contracts, read again when one of its files changed."""

    confirmations = 1

    def __init__(self, root: Path, limits: SchemaLimits | None = None) -> None:
        self._root = root
        self._limits = limits
        self._seen: dict[Path, tuple[int, int]] = {}
        self._catalogue: Catalogue | None = None

    @property
    def name(self) -> str:
        """The directory."""
        return f"the directory {self._root}"

    def lookup(self, key: SchemaKey) -> Sequence[Registered]:
        """As `Source`; a directory that is broken for now is unwell."""
        return [entry for entry in self._read() if key in entry.keys]

    def versions(self, subject: str) -> Sequence[Registered]:
        """As `Source`; a directory that is broken for now is unwell."""
        return list(self._read().versions(subject).values())

    def faults(self) -> Sequence[str]:
        """None: a directory is whole or unwell."""
        return ()

    def close(self) -> None:
        """Nothing is open."""

    def _read(self) -> Catalogue:
        try:
            files = (
                *self._root.glob(f"*/{SUBJECT_FILE}"),
                *self._root.glob("*/*.avsc"),
                *self._root.glob(LOCK_FILE),
            )
            seen = {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in files}
            if self._catalogue is None or seen != self._seen:
                self._catalogue = read_directory(self._root, self._limits).catalogue
                self._seen = seen
        except (ContractError, OSError) as error:
            raise Retry(str(error)) from error
        return self._catalogue


def registry_source(place: RegistryPlace, limits: SchemaLimits | None = None) -> RegistrySource:
    """The registry of a topology, as a source.

    Raises:
        ContractError: a certificate cannot be loaded.
    """
    return RegistrySource(Registry(place), limits)
