"""Contracts: the files against the registry, or by themselves where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from workers.contracts.catalogue import Registered
from workers.contracts.directory import ContractDirectory
from workers.contracts.sources import RegistrySource
from workers.operate.steps import Doer, Kind, Step, fault, note, warning
from workers.topology import Shape, Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenVersion:
    """A version that a registry has; `fingerprint` as `Schema.fingerprint` makes it."""

    version: int
    id: int
    fingerprint: str


class SubjectsSeen(Protocol):
    """What a registry has."""

    def versions(self, subject: str) -> Sequence[SeenVersion]:
        """The versions of a subject, ascending; empty where it has no such subject."""
        ...

    def mode(self, subject: str) -> str | None:
        """The compatibility mode that holds for it, as `FULL_TRANSITIVE`; None: not known."""
        ...


class RegistrySeen:
    """The registry of a topology, as `SubjectsSeen`."""

    def __init__(self, source: RegistrySource) -> None:
        self._source = source

    def versions(self, subject: str) -> Sequence[SeenVersion]:
        """As `SubjectsSeen`.

        Raises:
            Retry: the registry does not answer.
        """
        return [
            SeenVersion(version=entry.version, id=entry.id, fingerprint=entry.schema.fingerprint)
            for entry in self._source.versions(subject)
            if entry.id is not None
        ]

    def mode(self, subject: str) -> str | None:
        """As `SubjectsSeen`.

        Raises:
            Retry: the registry does not answer.
        """
        found = self._source.registry.compatibility(subject)
        return None if found is None else found.value


def subjects_of(worker: Worker) -> dict[str, str]:
    """The worker's subjects by role."""
    found = {"input": worker.input.subject}
    if worker.output.shape is Shape.DERIVED:
        found["output"] = worker.output.subject
    if worker.decisions is not None:
        found["decisions"] = worker.decisions.subject
    if worker.shadow is not None:
        found["comparisons"] = worker.shadow.subject
    return found


def subject_steps(
    whose: str,
    subjects: Mapping[str, str],
    contracts: ContractDirectory,
    registry: SubjectsSeen | None,
) -> Iterator[Step]:
    """What is to be done about subjects, by role; `whose` they are, as `worker flights`."""
    for role, subject in subjects.items():
        target = f"subject {subject}"
        files = tuple(contracts.catalogue.versions(subject).values())
        if not files:
            yield fault(
                target,
                f"{role} of {whose}, and it has no version among the contracts",
                f"write schemas/{subject}/subject.yaml and v1.avsc",
            )
        elif registry is None:
            yield from _without_id(target, files)
        else:
            yield from _mode(target, subject, contracts, registry)
            yield from _registered(target, files, registry.versions(subject))


def _without_id(target: str, files: Sequence[Registered]) -> Iterator[Step]:
    for entry in files:
        if entry.id is None:
            yield fault(
                target,
                "no record can carry it: it has no id, and there is no registry to give it one",
                f"write `id` for version {entry.version} in subject.yaml",
                setting=f"version {entry.version}",
            )


def _mode(
    target: str, subject: str, contracts: ContractDirectory, registry: SubjectsSeen
) -> Iterator[Step]:
    about = contracts.about(subject)
    current = registry.mode(subject)
    if about is not None and current is not None and current != about.compatibility.value:
        yield Step(
            kind=Kind.SET_COMPATIBILITY,
            doer=Doer.PERSON,
            target=target,
            setting="compatibility",
            current=current,
            wanted=about.compatibility.value,
            why="its subject.yaml promises it to readers",
            remedy="workers contracts register --yes",
        )


def _registered(
    target: str, files: Sequence[Registered], there: Sequence[SeenVersion]
) -> Iterator[Step]:
    known = {version.fingerprint: version for version in there}
    ours = {entry.schema.fingerprint for entry in files}
    for entry in files:
        found = known.get(entry.schema.fingerprint)
        if found is None:
            yield Step(
                kind=Kind.REGISTER_VERSION,
                doer=Doer.PERSON,
                target=target,
                setting=f"version {entry.version}",
                wanted=entry.schema.fingerprint[:12],
                why="the registry does not have it",
                remedy="workers contracts register --yes",
            )
        elif entry.id is not None and found.id != entry.id:
            yield fault(
                target,
                "subject.yaml and the registry give it different ids; records carry the registry's",
                f"write id: {found.id} for version {entry.version} in subject.yaml",
                setting=f"version {entry.version}",
                current=str(found.id),
                wanted=str(entry.id),
            )
        elif found.version != entry.version:
            yield warning(
                target,
                f"the registry has it as version {found.version}",
                setting=f"version {entry.version}",
            )
    for version in there:
        if version.fingerprint not in ours:
            yield note(
                target,
                "the registry has it, and the files do not",
                "take it over into the directory, so that checks know of it",
                setting=f"version {version.version}",
                current=version.fingerprint[:12],
            )
