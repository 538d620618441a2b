"""Lint of a directory of contracts and the topology that uses it."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from workers.contracts.catalogue import Registered
from workers.contracts.derive import BLOCK_FIELD, block_versions, is_derived
from workers.contracts.directory import ContractDirectory, version_file
from workers.contracts.lock import is_released
from workers.contracts.subject import SUBJECT_FILE, Role, SubjectFile
from workers.governance.check import among_own_versions
from workers.governance.compatibility.shape import shape_of
from workers.governance.findings import Finding, Severity
from workers.governance.linting.examples import lint_examples
from workers.governance.linting.schemas import lint_schema
from workers.topology import Topology, Worker

_READERS = "who reads the contract"


@dataclass(frozen=True, slots=True)
class _Subject:
    """A subject with its place and versions."""

    name: str
    folder: Path
    about: SubjectFile
    versions: Mapping[int, Registered]


def lint(directory: ContractDirectory, topology: Topology, today: datetime.date) -> list[Finding]:
    """Everything that is wrong or could be better; `today` is what sunset dates are held to.

    Raises:
        ContractError: Apache `avro` is not installed.
    """
    found = list(_topics(directory, topology))
    for folder, about in directory.files.items():
        if about.subject is None:
            found += _sunset(about.topic, about, today)
            continue
        versions = directory.catalogue.versions(about.subject)
        subject = _Subject(about.subject, folder, about, versions)
        found += _of_subject(directory, subject, today)
    return found


def _of_subject(
    directory: ContractDirectory, subject: _Subject, today: datetime.date
) -> Iterator[Finding]:
    yield from _sunset(subject.name, subject.about, today)
    breaking = among_own_versions(directory, subject.name)
    yield from breaking
    known = {(finding.version, finding.where) for finding in breaking}
    for entry in subject.versions.values():
        file = version_file(subject.folder, entry.version)
        own = [
            # What is released cannot be written better any more.
            *(
                fault
                for fault in lint_schema(entry)
                if fault.severity is not Severity.WARNING or not is_released(directory.lock, entry)
            ),
            *_releases(directory, subject, entry),
            *_block_names(subject, entry),
            *(
                fault
                for fault in _new_fields(subject, entry)
                if (fault.version, fault.where) not in known
            ),
        ]
        yield from (replace(finding, file=file) for finding in own)
    yield from lint_examples(subject.folder, subject.about, subject.versions)
    yield from _derived(directory, subject)


def _fault(
    subject: str,
    severity: Severity,
    rule: str,
    breaks: str,
    remedy: str,
    version: int | None = None,
) -> Finding:
    return Finding(
        severity=severity,
        rule=rule,
        subject=subject,
        version=version,
        breaks=breaks,
        whom=_READERS,
        remedy=remedy,
    )


def _topics(directory: ContractDirectory, topology: Topology) -> Iterator[Finding]:
    for worker in topology.workers.values():
        yield from _described(directory, f"worker {worker.name}", _used(worker))
    for loop in topology.feedback.values():
        # What is an outcome here may be an event to a worker.
        roles = (Role.OUTCOMES, Role.INPUT, Role.OUTPUT)
        used = [(loop.outcomes.topic, roles)]
        yield from _described(directory, f"feedback loop {loop.name}", used)


def _described(
    directory: ContractDirectory, who: str, used: Iterable[tuple[str, tuple[Role, ...]]]
) -> Iterator[Finding]:
    for topic, roles in used:
        about = directory.of_topic(topic)
        if about is None:
            yield _fault(
                topic,
                Severity.ERROR,
                "topic-not-described",
                f"{who} uses the topic {topic}, and no {SUBJECT_FILE} names it",
                f"describe it in a {SUBJECT_FILE} with `role: {roles[0]}`",
            )
        elif about.role not in roles:
            yield _fault(
                about.subject or topic,
                Severity.ERROR,
                "topic-role-differs",
                f"its role is {about.role}, and to {who} it is {roles[0]}",
                f"write `role: {roles[0]}`, or name another topic in the topology",
            )


def _used(worker: Worker) -> Iterator[tuple[str, tuple[Role, ...]]]:
    # One worker's output may be another's input.
    if worker.tier is None:
        yield worker.input.topic, (Role.INPUT, Role.OUTPUT, Role.DECISIONS)
    yield worker.output.topic, (Role.OUTPUT,)
    yield worker.dead_letter.topic, (Role.DEAD_LETTER,)
    if worker.dead_letter.ledger is not None:
        yield worker.dead_letter.ledger.topic, (Role.DEAD_LETTER,)
    if worker.retry_topic is not None:
        yield worker.retry_topic.topic, (Role.DEAD_LETTER,)
    if worker.decisions is not None:
        yield worker.decisions.topic, (Role.DECISIONS,)
    if worker.shadow is not None:
        yield worker.shadow.topic, (Role.COMPARISONS,)


def _sunset(name: str, about: SubjectFile, today: datetime.date) -> Iterator[Finding]:
    if about.sunset is not None and about.sunset < today:
        text = f"the topic's sunset was {about.sunset}"
        remedy = "take it out of service, or move the date and tell its subscribers"
        yield _fault(name, Severity.WARNING, "sunset-passed", text, remedy)
    if about.sunset is not None and about.replaced_by is None:
        remedy = "write `replaced_by`: the subject that its subscribers move to"
        text = "it has a sunset and says not what comes in its place"
        yield _fault(name, Severity.WARNING, "sunset-without-successor", text, remedy)
    for number, entry in about.versions.items():
        if entry.sunset is not None and entry.sunset < today:
            text = f"its sunset was {entry.sunset}, and workers still take records of it"
            remedy = "move the date while records of it come; keep the file: old records stay read"
            yield _fault(name, Severity.WARNING, "sunset-passed", text, remedy, number)


def _releases(
    directory: ContractDirectory, subject: _Subject, entry: Registered
) -> Iterator[Finding]:
    if is_released(directory.lock, entry):
        return
    if subject.about.versions[entry.version].released is None:
        severity, text = Severity.NOTE, "it is a draft: not in contracts.lock"
    else:
        severity, text = Severity.ERROR, "it has a release date and is not in contracts.lock"
    remedy = "`workers contracts release` writes it there; then it cannot change by accident"
    yield _fault(subject.name, severity, "not-released", text, remedy, entry.version)


def _block_names(subject: _Subject, entry: Registered) -> Iterator[Finding]:
    if subject.about.role is Role.INPUT and BLOCK_FIELD in entry.schema.field_names:
        text = "the enrichment block needs this name in the enriched event"
        found = _fault(
            subject.name,
            Severity.ERROR,
            "field-named-as-block",
            text,
            "name the field otherwise",
            entry.version,
        )
        yield replace(found, where=BLOCK_FIELD)


def _new_fields(subject: _Subject, entry: Registered) -> Iterator[Finding]:
    before = [version for version in subject.versions if version < entry.version]
    if not before:
        return
    older = shape_of(subject.versions[before[-1]].schema)
    names = {field.name for field in older.fields}
    for field in shape_of(entry.schema).fields:
        if field.has_default or names & {field.name, *field.aliases}:
            continue
        found = _fault(
            subject.name,
            Severity.WARNING,
            "new-field-without-default",
            f"it is new since version {before[-1]} and has no default: it can never be removed",
            'write "type": ["null", T], "default": null',
            entry.version,
        )
        yield replace(found, where=field.name)


def _derived(directory: ContractDirectory, subject: _Subject) -> Iterator[Finding]:
    source = subject.about.derived_from
    if source is None:
        return
    inputs = directory.catalogue.versions(source)
    if not inputs:
        text = f"it is derived from {source}, which is not there"
        remedy = "write the input's subject, or take `derived_from` away"
        yield _fault(subject.name, Severity.ERROR, "derived-source-missing", text, remedy)
    blocks, fields = block_versions(), subject.about.blocks
    fit = {
        number
        for number, entry in inputs.items()
        for own in subject.versions.values()
        if any(is_derived(own.schema, entry.schema, block, fields) for block in blocks)
    }
    # Without any there is nothing to rewrite to, and no worker starts.
    severity = Severity.WARNING if fit else Severity.ERROR
    for number, entry in inputs.items():
        if number in fit:
            continue
        wanted = {*entry.schema.field_names, *fields}
        reordered = [n for n, v in subject.versions.items() if {*v.schema.field_names} == wanted]
        yield replace(
            _not_derived(subject.name, f"{source} version {number}", reordered), severity=severity
        )


def _not_derived(name: str, source: str, alike: list[int]) -> Finding:
    remedy = "`workers contracts derive` writes the version that fits"
    if alike:
        text = (
            f"version {alike[-1]} has the fields of {source} in another order or of other types: "
            "the input's bytes are copied as they are, so the order must be the input's"
        )
        return _fault(name, Severity.WARNING, "derived-differs", text, remedy, alike[-1])
    text = (
        f"no version is {source} and the enrichment block: its events are rewritten to the newest "
        "version that has one, which is slower, and lose their new fields"
    )
    return _fault(name, Severity.WARNING, "derived-missing", text, remedy)
