"""`workers contracts check`: the working directory's contracts against those known elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from workers.contracts.catalogue import Registered
from workers.contracts.directory import ContractDirectory, version_file
from workers.contracts.subject import Compatibility, SubjectFile
from workers.governance.compatibility.phrases import NEW_SUBJECT
from workers.governance.compatibility.versions import check_versions
from workers.governance.findings import Finding, Severity
from workers.governance.sources import Known

_EVERYONE = "subscribers and workers who have records of it, or read with it"


def among_own_versions(directory: ContractDirectory, subject: str) -> list[Finding]:
    """Each version of a subject against the versions before it, under the subject's mode.

    Raises:
        ContractError: Apache `avro` is not installed.
    """
    versions = directory.catalogue.versions(subject)
    return [
        finding
        for entry in versions.values()
        for finding in _checked(directory, entry, _before(versions, entry))
    ]


def check_own(directory: ContractDirectory) -> list[Finding]:
    """Each subject against its own earlier versions."""
    return [
        finding
        for subject in directory.catalogue.subjects
        for finding in among_own_versions(directory, subject)
    ]


def check_against(directory: ContractDirectory, known: Known) -> list[Finding]:
    """What changed since `known`: vanished and changed versions, weaker promises, new versions.

    A version that is not known there, and a draft that changed, is compared with every version
    that is, and with the directory's own before it.

    Raises:
        ContractError: Apache `avro` is not installed.
    """
    found = []
    for subject in known.catalogue.subjects:
        about = directory.about(subject)
        if about is None:
            found += _vanished_subject(known, subject)
        else:
            found += _compared(directory, known, subject, about)
    for subject in directory.catalogue.subjects:
        found += _new_versions(directory, known, subject)
    return found


def _compared(
    directory: ContractDirectory, known: Known, subject: str, about: SubjectFile
) -> Iterator[Finding]:
    versions = directory.catalogue.versions(subject)
    for number, entry in known.catalogue.versions(subject).items():
        if number not in versions:
            yield _vanished(known, entry)
        elif versions[number].schema.fingerprint != entry.schema.fingerprint:
            yield replace(_changed(known, entry), file=_file(directory, versions[number]))
    before = known.modes.get(subject)
    if before is not None and _weaker(about.compatibility, before):
        yield Finding(
            severity=Severity.WARNING,
            rule="mode-weakened",
            subject=subject,
            against=known.name,
            breaks=f"its compatibility was {before} and is {about.compatibility}",
            whom="everyone who counts on the promise",
            remedy=f"keep it; what breaks the promise belongs elsewhere, {NEW_SUBJECT}",
        )


def _new_versions(directory: ContractDirectory, known: Known, subject: str) -> Iterator[Finding]:
    there = known.catalogue.versions(subject)
    versions = directory.catalogue.versions(subject)
    for entry in versions.values():
        other = there.get(entry.version)
        if other is not None and other.schema.fingerprint == entry.schema.fingerprint:
            continue
        if other is not None and known.is_released(other):
            continue  # it may not change at all, which is a finding already
        others = {n: old for n, old in there.items() if n != entry.version}
        yield from _checked(directory, entry, {**_before(versions, entry), **others})


def _before(versions: Mapping[int, Registered], entry: Registered) -> dict[int, Registered]:
    return {number: old for number, old in versions.items() if number < entry.version}


def _checked(
    directory: ContractDirectory, entry: Registered, earlier: Mapping[int, Registered]
) -> list[Finding]:
    about = directory.about(entry.subject)
    mode = about.compatibility if about else Compatibility.NONE
    file = _file(directory, entry)
    return [
        replace(finding, file=file) for finding in check_versions(mode, earlier.values(), entry)
    ]


def _file(directory: ContractDirectory, entry: Registered) -> Path | None:
    folder = directory.folder(entry.subject)
    return version_file(folder, entry.version) if folder else None


def _weaker(now: Compatibility, before: Compatibility) -> bool:
    promised = [(before.backward, now.backward), (before.forward, now.forward)]
    promised.append((before.transitive, now.transitive))
    return any(then and not kept for then, kept in promised)


def _vanished_subject(known: Known, subject: str) -> list[Finding]:
    found = [_vanished(known, entry) for entry in known.catalogue.versions(subject).values()]
    return [replace(finding, rule="subject-vanished") for finding in found]


def _vanished(known: Known, entry: Registered) -> Finding:
    released = known.is_released(entry)
    return Finding(
        severity=Severity.BREAKING if released else Severity.NOTE,
        rule="version-vanished",
        subject=entry.subject,
        version=entry.version,
        against=known.name,
        breaks=f"{'released there' if released else 'a draft there'}, and here it is gone",
        whom=_EVERYONE,
        remedy="take its file and its entry in subject.yaml from version control; to end it, give "
        "it a sunset date",
    )


def _changed(known: Known, entry: Registered) -> Finding:
    released = known.is_released(entry)
    return Finding(
        severity=Severity.BREAKING if released else Severity.NOTE,
        rule="released-version-changed" if released else "draft-changed",
        subject=entry.subject,
        version=entry.version,
        against=known.name,
        breaks="it is released there, and here it says something else"
        if released
        else "the draft says something else than there",
        whom=_EVERYONE if released else "who tries the draft",
        remedy=f"take the file from version control and write what is new as a version of its own; "
        f"{NEW_SUBJECT}"
        if released
        else "",
    )
