"""What is known of the contracts at one moment: schemas by id and by subject. Never changes.

A directory or a registry gives catalogues; a worker takes a newer one between two batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from workers.contracts.framing import SchemaKey, frame
from workers.contracts.schema import Schema
from workers.errors import ContractError


@dataclass(frozen=True, slots=True)
class Registered:
    """A schema with its place: subject, version, and the id that its records carry.

    `id` is None where a version has a file and no id yet; no record can carry it then.
    """

    subject: str
    version: int
    id: int | None
    schema: Schema
    guid: bytes | None = None

    @property
    def keys(self) -> tuple[SchemaKey, ...]:
        """What a record's framing may say to mean this schema."""
        return tuple(key for key in (self.id, self.guid) if key is not None)

    @property
    def frame(self) -> bytes:
        """The five bytes that go before a datum of this version.

        Raises:
            ContractError: it has no id yet.
        """
        if self.id is None:
            raise ContractError(f"{self} has no id yet; register it, or write one in subject.yaml")
        return frame(self.id)

    def __str__(self) -> str:
        """Subject and version, for messages."""
        return f"{self.subject} version {self.version}"


class Catalogue:
    """Schemas by the key that records carry, and versions by subject."""

    def __init__(self, registered: Iterable[Registered] = ()) -> None:
        """Collect versions.

        Raises:
            ContractError: a key stands for two schemas, or a version of a subject is there twice;
                names both.
        """
        self._by_key: dict[SchemaKey, Registered] = {}
        subjects: dict[str, dict[int, Registered]] = {}
        for entry in registered:
            self._add(entry, subjects.setdefault(entry.subject, {}))
        self._subjects = {name: dict(sorted(found.items())) for name, found in subjects.items()}

    def _add(self, entry: Registered, versions: dict[int, Registered]) -> None:
        if versions.setdefault(entry.version, entry) is not entry:
            raise ContractError(f"{entry} is there twice")
        for key in entry.keys:
            # One schema may stand under several subjects with one id; the first one names it.
            known = self._by_key.setdefault(key, entry)
            if known.schema.fingerprint != entry.schema.fingerprint:
                shown = key if isinstance(key, int) else key.hex()
                raise ContractError(f"{entry}: id {shown} already stands for {known}")

    def find(self, key: SchemaKey) -> Registered | None:
        """The schema that records with this id or GUID were written under."""
        return self._by_key.get(key)

    def versions(self, subject: str) -> Mapping[int, Registered]:
        """Versions of a subject by number, ascending; empty where there is no such subject."""
        return MappingProxyType(self._subjects.get(subject, {}))

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of all subjects, sorted."""
        return tuple(sorted(self._subjects))

    def __iter__(self) -> Iterator[Registered]:
        """Every version of every subject."""
        for name in self.subjects:
            yield from self._subjects[name].values()

    def with_more(self, more: Iterable[Registered]) -> Catalogue:
        """These schemas and more; what is known already stays as it is.

        Raises:
            ContractError: a key would stand for another schema than before.
        """
        known = {(entry.subject, entry.version) for entry in self}
        return Catalogue(
            [*self, *(entry for entry in more if (entry.subject, entry.version) not in known)]
        )
