"""Lint finds what makes contracts hard to read, hard to change, or not fit together."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.governance.schemas import Json, field, record, write_subject
from tests.operate.loops import feedback_loop
from workers.contracts.derive import derive, enrichment_block
from workers.contracts.directory import ContractDirectory, read_directory
from workers.contracts.schema import parse
from workers.governance.findings import Finding, Severity
from workers.governance.linting.lint import lint
from workers.topology import Topology
from workers.topology.shadow import ShadowTopic

TODAY = datetime.date(2026, 11, 24)
ENUM = {"type": "enum", "name": "Kind", "symbols": ["CARD"]}


def found(root: Path, topology: Topology) -> list[Finding]:
    """Findings that are not about the demo's topics, which are not in this directory."""
    findings = lint(read_directory(root), topology, TODAY)
    return [finding for finding in findings if finding.rule != "topic-not-described"]


def rules(findings: list[Finding]) -> set[tuple[str, str, str]]:
    """Severity, rule and place."""
    return {(entry.severity.value, entry.rule, entry.where) for entry in findings}


def test_the_shipped_contracts_are_clean(topology: Topology) -> None:
    """The released enum of airports has no default, and can get none any more: not said again."""
    assert lint(read_directory(ROOT / "schemas"), topology, TODAY) == []


QUIET = {("note", "not-released", ""), ("warning", "example-missing", "")}
CASES: dict[str, tuple[Json, set[tuple[str, str, str]]]] = {
    "good": (record(field("x", "int"), field("y", ["null", "int"], default=None)), set()),
    "no doc": (
        {"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}]},
        {("warning", "doc-missing", ""), ("warning", "doc-missing", "x")},
    ),
    "optional without default": (
        record(field("x", ["null", "int"])),
        {("warning", "optional-without-null-default", "x")},
    ),
    "null last": (
        record(field("x", ["int", "null"], default=1)),
        {("warning", "optional-without-null-default", "x")},
    ),
    "enum without default": (
        record(field("x", {"type": "array", "items": ENUM})),
        {("warning", "enum-without-default", "x")},
    ),
    "a bare time": (
        record(field("paid_at", "long"), field("flat", "long")),
        {("warning", "time-without-logical-type", "paid_at")},
    ),
    "camel case": (
        record(field("paidBy", "string")),
        {("warning", "name-not-snake-case", "paidBy")},
    ),
    "no name": (record(field("paid-by", "string")), {("error", "name-illegal", "paid-by")}),
    "the block's name": (
        record(field("enrichment", "string")),
        {("error", "field-named-as-block", "enrichment")},
    ),
    "a wrong default": (
        record(field("x", "int", default=2**31)),
        {("breaking", "default-invalid", "x")},
    ),
    "two of a type": (record(field("x", ["int", "int"])), {("error", "not-avro", "")}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_schema_is_linted(name: str, tmp_path: Path, topology: Topology) -> None:
    """Rule, severity and place of each fault."""
    document, expected = CASES[name]
    write_subject(tmp_path, "paid", document)

    findings = found(tmp_path, topology)

    assert rules(findings) - QUIET >= expected
    assert {rule for _, rule, _ in rules(findings) - QUIET} == {rule for _, rule, _ in expected}


def test_a_new_field_wants_a_default_whatever_the_mode(tmp_path: Path, topology: Topology) -> None:
    """Breaking where the mode says so, a warning where it does not."""
    documents = record(field("x", "int")), record(field("x", "int"), field("y", "int"))
    write_subject(tmp_path, "paid", *documents, compatibility="NONE")
    write_subject(tmp_path, "sold", *documents)

    findings = found(tmp_path, topology)

    assert {(f.subject, f.severity, f.rule) for f in findings if f.where == "y"} == {
        ("paid-value", Severity.WARNING, "new-field-without-default"),
        ("sold-value", Severity.BREAKING, "field-added-without-default"),
    }


def test_an_old_example_that_a_new_version_cannot_read_is_breaking(
    tmp_path: Path, topology: Topology
) -> None:
    """The finding names the example, beside the rule that explains it."""
    folder = write_subject(tmp_path, "paid", record(field("x", "int")), record(field("y", "int")))
    (folder / "examples").mkdir()
    (folder / "examples" / "v1-plain.json").write_text('{"x": 1}')
    (folder / "examples" / "v2-plain.json").write_text('{"x": 1}')

    findings = found(tmp_path, topology)

    assert ("breaking", "example-undecodable", "") in rules(findings)
    assert ("error", "example-invalid", "") in rules(findings)


def test_sunsets_and_releases_are_held_to_the_day_and_the_lock(
    tmp_path: Path, topology: Topology
) -> None:
    """A date alone releases nothing."""
    folder = write_subject(tmp_path, "paid", record(), sunset="2026-11-23")
    about = json.loads((folder / "subject.yaml").read_text())
    about["versions"]["1"] |= {"released": "2026-01-01", "sunset": "2026-11-24"}
    (folder / "subject.yaml").write_text(json.dumps(about))

    findings = found(tmp_path, topology)

    assert rules(findings) - QUIET == {
        ("warning", "sunset-passed", ""),
        ("warning", "sunset-without-successor", ""),
        ("error", "not-released", ""),
    }


def derived(document: Json) -> Json:
    """The document of an input's enriched events."""
    source = parse(json.dumps(document), where="input")
    return json.loads(derive(source, enrichment_block()).text)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (lambda fields: fields, set()),
        (lambda fields: fields[::-1], {("error", "derived-differs", "")}),
        (lambda fields: fields[1:], {("error", "derived-missing", "")}),
    ],
)
def test_an_output_has_a_version_for_each_of_its_input(
    order: object, expected: set[tuple[str, str, str]], tmp_path: Path, topology: Topology
) -> None:
    """In the input's order: its bytes are copied."""
    assert callable(order)
    source = record(field("x", "int"), field("y", "int"))
    write_subject(tmp_path, "paid", source)
    output = derived(source)
    about = {"role": "output", "derived_from": "paid-value"}
    write_subject(tmp_path, "paid.out", {**output, "fields": order(output["fields"])}, **about)

    assert rules(found(tmp_path, topology)) - QUIET == expected


def test_every_topic_of_the_topology_is_described_in_its_role(
    tmp_path: Path, topology: Topology
) -> None:
    """The dead letters' too, the comparisons' and the outcomes'."""
    worker = next(iter(topology.workers.values()))
    shadow = ShadowTopic(topic="flights.comparisons")
    shadowed = worker.model_copy(update={"shadow": shadow})
    topology = topology.model_copy(
        update={"workers": {worker.name: shadowed}, "feedback": {"flights": feedback_loop()}}
    )
    write_subject(tmp_path, "flights.enriched", record(), role="decisions")
    write_subject(tmp_path, "flights.dlq", role="dead_letter")
    directory: ContractDirectory = read_directory(tmp_path)

    findings = [f for f in lint(directory, topology, TODAY) if f.rule.startswith("topic-")]

    assert {(finding.rule, finding.subject) for finding in findings} == {
        ("topic-not-described", "flights"),
        ("topic-not-described", "flights.decisions"),
        ("topic-not-described", "flights.comparisons"),
        ("topic-not-described", "flights.outcomes"),
        ("topic-role-differs", "flights.enriched-value"),
    }
    assert {finding.severity for finding in findings} == {Severity.ERROR}
