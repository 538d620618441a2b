"""Derived schemas as files: enriched events of every input version, and what workers bring along.

That is the record of the decisions, and the record of the comparisons.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.contracts.catalogue import Registered
from workers.contracts.comparison import comparison_schema
from workers.contracts.decision import decision_schema
from workers.contracts.derive import block_versions, derive, enrichment_block
from workers.contracts.directory import ContractDirectory, version_file
from workers.contracts.lock import is_released
from workers.contracts.schema import Node, Schema
from workers.contracts.subject import SUBJECT_FILE, Role, SubjectFile
from workers.errors import ContractError
from workers.governance.subject_files import add_version


@dataclass(frozen=True, slots=True)
class Derived:
    """A version to be written: new, or a draft whose input changed since."""

    subject: str
    version: int
    file: Path
    text: str
    source: int | None
    """Version of the input; None where it is a record that workers bring along."""
    new: bool

    def __str__(self) -> str:
        """What it is, for people."""
        origin = "the workers' own" if self.source is None else f"input version {self.source}"
        return f"{self.subject} version {self.version}, from {origin}: {self.file}"


def stale(directory: ContractDirectory) -> list[Derived]:
    """What has to be written so that every input version has its enriched schema.

    Raises:
        ContractError: a subject is derived from one that is not there, or a released version is
            not what its input makes of it.
    """
    return [
        found
        for folder, about in directory.files.items()
        if about.subject is not None
        for found in _stale_of(directory, folder, about, about.subject)
    ]


def _stale_of(
    directory: ContractDirectory, folder: Path, about: SubjectFile, subject: str
) -> Iterator[Derived]:
    known = directory.catalogue.versions(subject)
    newest = max(known, default=0)
    for source, wanted in _wanted(directory, folder, about):
        older = _older(directory, about, source)
        held = [
            e
            for e in known.values()
            if _is(e, wanted, source, about) and e.schema.root not in older
        ]
        if not held:
            newest += 1
            yield _derived(subject, folder, newest, wanted, source, new=True)
        elif held[-1].schema.fingerprint != wanted.fingerprint:
            entry = held[-1]
            if not is_released(directory.lock, entry):
                yield _derived(subject, folder, entry.version, wanted, source, new=False)
            elif entry.schema.root != wanted.root:
                raise ContractError(
                    f"{version_file(folder, entry.version)}: released, and not what its input "
                    f"makes of it; drop `derived_from: {source}` from its entry and derive again"
                )


def _wanted(
    directory: ContractDirectory, folder: Path, about: SubjectFile
) -> Iterator[tuple[int | None, Schema]]:
    block = enrichment_block()
    if about.role is Role.DECISIONS:
        yield None, decision_schema(block)
    elif about.role is Role.COMPARISONS:
        yield None, comparison_schema()
    elif about.derived_from is not None:
        inputs = directory.catalogue.versions(about.derived_from)
        if not inputs:
            raise ContractError(
                f"{folder / SUBJECT_FILE}: derived_from: there is no subject {about.derived_from}"
            )
        for number, entry in inputs.items():
            yield number, derive(entry.schema, block, about.blocks)


def _older(directory: ContractDirectory, about: SubjectFile, source: int | None) -> frozenset[Node]:
    """What an input version was derived to before: with older blocks, or fewer of them.

    Such a version stays as it is, and the new one comes beside it.
    """
    versions = block_versions()
    if source is None or about.derived_from is None:
        older = {decision_schema(block).root for block in versions[1:]}
        return frozenset(older | {block.root for block in versions})
    schema = directory.catalogue.versions(about.derived_from)[source].schema
    return frozenset(
        derive(schema, block, about.blocks[:count]).root
        for block in versions
        for count in range(1, len(about.blocks) + 1)
        if block is not versions[0] or count < len(about.blocks)
    )


def _is(entry: Registered, wanted: Schema, source: int | None, about: SubjectFile) -> bool:
    declared = about.versions[entry.version].derived_from
    if declared is not None:
        return declared == source
    return entry.schema.root == wanted.root


def _derived(
    subject: str, folder: Path, version: int, schema: Schema, source: int | None, *, new: bool
) -> Derived:
    text = schema.text if schema.text.endswith("\n") else schema.text + "\n"
    return Derived(subject, version, version_file(folder, version), text, source, new)


def write(directory: ContractDirectory, found: Derived, *, with_id: bool) -> None:
    """Write a derived version and its entry; `with_id` gives it the next free id.

    Where there is a registry, that gives the ids.

    Raises:
        ContractError: a file cannot be written.
    """
    try:
        found.file.write_text(found.text)
    except OSError as error:
        raise ContractError(f"{found.file}: cannot be written: {error.strerror}") from error
    if not found.new:
        return
    entry: dict[str, object] = {}
    if with_id:
        used = [known.id for known in directory.catalogue if known.id is not None]
        entry["id"] = max(used, default=0) + 1
    if found.source is not None:
        entry["derived_from"] = found.source
    add_version(found.file.parent / SUBJECT_FILE, found.version, entry)
