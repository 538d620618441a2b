"""What registering a directory would do, and what the registry would refuse. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from workers.contracts.answers import Judgement, Refused
from workers.contracts.directory import ContractDirectory, version_file
from workers.contracts.sources import RegistrySource
from workers.contracts.subject import SUBJECT_FILE, SubjectFile
from workers.errors import ContractError
from workers.governance.findings import Finding, Severity


class Act(StrEnum):
    """What is done to a registry, or to subject.yaml after it."""

    REGISTER = "register"
    SET_MODE = "set_compatibility"
    WRITE_ID = "write_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change. `version` and `id` where they are meant; `text` says it to people."""

    act: Act
    subject: str
    text: str
    version: int = 0
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Changes in order, what stands against them, and the versions that the registry has."""

    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]
    there: frozenset[tuple[str, int]]

    @property
    def refused(self) -> bool:
        """Would one of the steps fail, or is something wrong already?"""
        return any(f.severity in (Severity.BREAKING, Severity.ERROR) for f in self.findings)


def plan(directory: ContractDirectory, source: RegistrySource) -> Plan:
    """What is in the directory and not in the registry. Changes nothing.

    Raises:
        Retry: the registry does not answer.
        ContractError: references lead in a circle.
    """
    steps: list[Step] = []
    findings: list[Finding] = []
    there: set[tuple[str, int]] = set()
    for about in _referred_first(directory):
        planned = _SubjectPlan(directory, source, about)
        planned.make()
        steps += planned.steps
        findings += planned.findings
        there |= planned.placed
    return Plan(tuple(steps), tuple(findings), frozenset(there))


class _SubjectPlan:
    """The steps of one subject."""

    def __init__(
        self, directory: ContractDirectory, source: RegistrySource, about: SubjectFile
    ) -> None:
        self._directory = directory
        self._registry = source.registry
        self._about = about
        self._name = str(about.subject)
        self._numbers = self._registry.versions(self._name)
        self._there = {entry.version: entry for entry in source.versions(self._name)}
        self._next = max(self._numbers, default=0) + 1
        self.steps: list[Step] = []
        self.findings: list[Finding] = []
        self.placed: set[tuple[str, int]] = set()

    def make(self) -> None:
        mode = self._mode()
        # Some registries keep modes of subjects that they have alone, so a new one comes first.
        if mode is not None and self._numbers:
            self.steps.append(mode)
        for number in sorted(self._about.versions):
            self._version(number)
            if mode is not None and mode not in self.steps and self.steps:
                self.steps.append(mode)
        for number in sorted(set(self._numbers) - set(self._about.versions)):
            self._find(
                Severity.NOTE, "version-without-file", number, "the registry has it, and no file"
            )

    def _mode(self) -> Step | None:
        wanted = self._about.compatibility
        found = self._registry.compatibility(self._name) if self._numbers else None
        if found is wanted:
            return None
        before = f" (is {found.value})" if found else ""
        return Step(
            act=Act.SET_MODE,
            subject=self._name,
            text=f"set compatibility to {wanted.value}{before}",
        )

    def _version(self, number: int) -> None:
        place = self._found(number)
        if place is not None:
            self._placed(number, *place)
        elif number in self._numbers:
            self._find(
                Severity.ERROR,
                "version-differs",
                number,
                "the registry has another schema under this number",
                f"take v{number}.avsc from the registry, and add what is new as v{self._next}.avsc",
            )
        elif number != self._next:
            self._find(
                Severity.ERROR,
                "version-number",
                number,
                f"the registry would call it version {self._next}",
                f"rename it to v{self._next}.avsc, or add the versions in between",
            )
        else:
            self._add(number)

    def _found(self, number: int) -> tuple[int, int | None] | None:
        """Version and id under which the registry has this schema."""
        if not self._numbers:
            return None
        # The registry compares as it would when it registers; layouts it may have changed since.
        stored = self._registry.find(self._name, body(self._directory, self._name, number))
        if stored is not None and stored.version is not None:
            return stored.version, stored.id
        mine = self._directory.catalogue.versions(self._name)[number].schema.fingerprint
        known = self._there.get(number)
        return (number, known.id) if known and known.schema.fingerprint == mine else None

    def _placed(self, number: int, there: int, given: int | None) -> None:
        written = self._about.versions[number].id
        if there == number:
            self.placed.add((self._name, number))
        if there != number:
            self._find(
                Severity.ERROR,
                "version-number",
                number,
                f"the registry has this schema as version {there}",
                f"rename it to v{there}.avsc",
            )
        elif given is not None and given != written:
            if written is not None:
                self._other_id(number, f"the registry gave it id {given}")
            self.steps.append(
                Step(
                    act=Act.WRITE_ID,
                    subject=self._name,
                    text=f"write id {given} of version {number} to {SUBJECT_FILE}",
                    version=number,
                    id=given,
                )
            )

    def _add(self, number: int) -> None:
        # The registry compares with what it has; a version after one that is not there yet is
        # judged when it is registered.
        self._next = number + 1
        if number - 1 in self._numbers and not self._allowed(number):
            return
        if self._about.versions[number].id is not None:
            self._other_id(number, "the registry will give an id of its own")
        self.steps.append(
            Step(
                act=Act.REGISTER,
                subject=self._name,
                text=f"register version {number}",
                version=number,
            )
        )

    def _allowed(self, number: int) -> bool:
        try:
            said = self._registry.judge(self._name, body(self._directory, self._name, number))
        except Refused as error:
            said = Judgement.model_validate({"is_compatible": False, "reason": str(error)})
        if said is None or said.compatible:
            return True
        self._find(
            Severity.BREAKING,
            "registry-refuses",
            number,
            "the registry refuses it: " + ("; ".join(said.reasons) or "without a reason"),
            "add fields with defaults, and remove none; else make a new subject on a new topic",
        )
        return False

    def _other_id(self, number: int, why: str) -> None:
        self._find(
            Severity.WARNING,
            "id-changes",
            number,
            f"{SUBJECT_FILE} says id {self._about.versions[number].id}, and {why}; records that "
            "carry the old id are read by workers on the directory alone",
        )

    def _find(
        self, severity: Severity, rule: str, version: int, breaks: str, remedy: str = ""
    ) -> None:
        self.findings.append(
            Finding(
                severity=severity,
                rule=rule,
                subject=self._name,
                version=version,
                against="the registry",
                breaks=breaks,
                remedy=remedy,
                file=version_file(folder_of(self._directory, self._name), version),
            )
        )


def body(directory: ContractDirectory, subject: str, version: int) -> Mapping[str, Any]:
    """A version as the registry takes it: the file's text, and what it refers to."""
    about = directory.about(subject)
    if about is None:
        raise ContractError(f"{directory.root}: no subject {subject}")
    # Apicurio looks schemas up by their exact text, and Confluent's serialisers strip theirs.
    text = version_file(folder_of(directory, subject), version).read_text().strip()
    references = [entry.model_dump() for entry in about.versions[version].references]
    return {"schema": text, "schemaType": "AVRO", "references": references}


def folder_of(directory: ContractDirectory, subject: str) -> Path:
    """Where a subject's files are."""
    return directory.folder(subject) or directory.root


def _referred_first(directory: ContractDirectory) -> list[SubjectFile]:
    """Subjects, each after those that it refers to."""
    ordered: dict[str, SubjectFile] = {}
    named = {about.subject: about for about in directory.files.values() if about.subject}

    def visit(subject: str, path: tuple[str, ...]) -> None:
        about = named.get(subject)
        if about is None or subject in ordered:
            return
        if subject in path:
            raise ContractError(f"{subject}: its references lead back to it; no order registers it")
        for entry in about.versions.values():
            for reference in entry.references:
                if reference.subject != subject:
                    visit(reference.subject, (*path, subject))
        ordered[subject] = about

    for subject in named:
        visit(subject, ())
    return list(ordered.values())
