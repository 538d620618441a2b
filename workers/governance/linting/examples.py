"""Lint of golden examples: they are there, they read, and other versions read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from workers.contracts.catalogue import Registered
from workers.contracts.subject import SubjectFile
from workers.errors import ContractError
from workers.governance.compatibility.versions import reading_pairs
from workers.governance.examples import Example, decode, example_files, read_example
from workers.governance.findings import Finding, Severity


def lint_examples(
    folder: Path, about: SubjectFile, versions: Mapping[int, Registered]
) -> Iterator[Finding]:
    """A finding for a version without examples, and for each that does not read as it should."""
    read: dict[int, list[tuple[Path, Example]]] = {}
    for entry in versions.values():
        files = example_files(folder, entry.version)
        if not files:
            yield _finding(
                entry,
                Severity.WARNING,
                "example-missing",
                "it has no golden example",
                f"write one as {folder.name}/examples/v{entry.version}-NAME.json, in Avro's JSON "
                "encoding",
            )
        for file in files:
            try:
                read.setdefault(entry.version, []).append((file, read_example(file, entry)))
            except ContractError as error:
                remedy = "correct it; a released version's schema may not change"
                yield _finding(entry, Severity.ERROR, "example-invalid", str(error), remedy, file)
    earlier: list[Registered] = []
    for entry in versions.values():
        for reader, writer in reading_pairs(about.compatibility, earlier, entry):
            for file, example in read.get(writer.version, ()):
                yield from _crossed(file, example, reader, writer)
        earlier.append(entry)


def _crossed(
    file: Path, example: Example, reader: Registered, writer: Registered
) -> Iterator[Finding]:
    try:
        decode(example.datum, writer.schema, reader.schema)
    except ContractError as error:
        text = f"the example {example.name} of version {writer.version} does not decode: {error}"
        remedy = "the findings of compatibility say what to change"
        yield _finding(reader, Severity.BREAKING, "example-undecodable", text, remedy, file)


def _finding(
    entry: Registered,
    severity: Severity,
    rule: str,
    breaks: str,
    remedy: str,
    file: Path | None = None,
) -> Finding:
    return Finding(
        severity=severity,
        rule=rule,
        subject=entry.subject,
        version=entry.version,
        breaks=breaks,
        whom=f"readers who test with version {entry.version}'s examples",
        remedy=remedy,
        file=file,
    )
