"""Findings in each format: complete, well-formed, escaped."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from tests.governance.schemas import field, record, schema
from workers.errors import ContractError
from workers.governance.findings import CheckExit, Finding, Severity, exit_code
from workers.governance.places import line_of
from workers.governance.render import Format, render
from workers.governance.unreadable import unreadable

SUBJECTS = ("b-value", "a-value", "b-value", "a,b:c")
NASTY = 'a < b & "c", 100%: \x00\nnext ]]> line\r'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A schema with the same name at two depths."""
    inner = {"type": "record", "name": "Inner", "fields": [field("x", "int")]}
    document = record(field("x", "int"), field("p", inner), field("q", "int"))
    path = tmp_path / "schemas" / "v2.avsc"
    path.parent.mkdir()
    path.write_text(json.dumps(document, indent=2))
    return path


@pytest.fixture
def findings(file: Path) -> list[Finding]:
    """One of each severity, one of them nasty."""
    return [
        Finding(
            severity=severity,
            rule=f"{severity.value}-rule",
            subject=subject,
            version=2,
            against="version 1",
            where="p.x",
            breaks=NASTY,
            whom="subscribers",
            remedy="keep it",
            file=file,
        )
        for severity, subject in zip(
            Severity, ("b-value", "a-value", "b-value", "a,b:c"), strict=True
        )
    ]


def parsed(text: str) -> Xml.Element:
    """XML that we wrote ourselves."""
    return Xml.fromstring(text)  # noqa: S314


def test_text_is_grouped_by_subject_and_says_what_whom_and_how(
    findings: list[Finding], tmp_path: Path
) -> None:
    """Each subject once; the counts last."""
    lines = render(findings, Format.TEXT, tmp_path).splitlines()

    assert [line for line in lines if line == "b-value"] == ["b-value"]
    assert "  BREAKING version 2 · p.x · breaking-rule · against version 1" in lines
    assert "    for whom: subscribers" in lines
    assert "    safe way: keep it" in lines
    assert any(line.startswith("    file: schemas/v2.avsc:") for line in lines)
    assert lines[-1] == "1 breaking, 1 error, 1 warning, 1 note"
    assert render([], Format.TEXT, tmp_path) == "nothing found\n"


def test_json_has_stable_keys(findings: list[Finding], tmp_path: Path) -> None:
    """And the exit code that goes with them."""
    document = json.loads(render(findings, Format.JSON, tmp_path))

    assert document["exit_code"] == 2
    assert len(document["findings"]) == 4
    assert list(document["findings"][0]) == [
        "severity",
        "rule",
        "subject",
        "version",
        "against",
        "where",
        "breaks",
        "whom",
        "remedy",
        "file",
        "line",
    ]
    assert {entry["breaks"] for entry in document["findings"]} == {NASTY}


def test_junit_is_well_formed_and_counts(findings: list[Finding], tmp_path: Path) -> None:
    """Breaking changes fail, errors are errors, the rest passes."""
    root = parsed(render(findings, Format.JUNIT, tmp_path))

    suites = {suite.get("name"): suite for suite in root.iter("testsuite")}
    assert set(suites) == {"a,b:c", "a-value", "b-value"}
    assert (suites["b-value"].get("tests"), suites["b-value"].get("failures")) == ("2", "1")
    assert suites["a-value"].get("errors") == "1"
    assert len(list(root.iter("failure"))) == 1
    assert len(list(root.iter("system-out"))) == 2
    [failure] = root.iter("failure")
    assert 'a < b & "c", 100%' in str(failure.get("message"))
    assert len(list(parsed(render([], Format.JUNIT, tmp_path)).iter("testcase"))) == 1


def test_annotations_are_escaped_as_workflow_commands_are(
    findings: list[Finding], tmp_path: Path, file: Path
) -> None:
    """One line each; the runner would end a message at a line's end, a property at a comma."""
    lines = render(findings, Format.GITHUB, tmp_path).split("\n")

    line = line_of(file, "p.x")
    assert len(lines) == 5
    assert lines[-1] == ""
    assert [text.partition(" ")[0] for text in lines[:4]] == [
        "::notice",
        "::error",
        "::error",
        "::warning",
    ]
    assert lines[0].startswith(
        f"::notice file=schemas/v2.avsc,line={line},title=a%2Cb%3Ac version 2%3A note-rule::p.x: "
    )
    assert "100%25: " in lines[0]
    assert "%0Anext ]]> line%0D%0AFor whom: subscribers%0ASafe way: keep it" in lines[0]


def test_the_line_is_that_of_the_field_at_its_path(file: Path, tmp_path: Path) -> None:
    """The inner one, not the outer of the same name."""
    lines = file.read_text().splitlines()

    outer, inner, last = (line_of(file, where) for where in ("x", "p.x", "q"))

    assert outer < inner < last
    assert all('"name": "x"' in lines[number - 1] for number in (outer, inner))
    assert line_of(file, "") == line_of(tmp_path / "nowhere", "x") == 1


@pytest.mark.parametrize(
    ("severities", "code"),
    [
        ([], CheckExit.OK),
        ([Severity.WARNING, Severity.NOTE], CheckExit.OK),
        ([Severity.WARNING, Severity.BREAKING], CheckExit.BREAKING),
        ([Severity.BREAKING, Severity.ERROR], CheckExit.ERROR),
    ],
)
def test_the_worst_finding_makes_the_exit_code(
    severities: list[Severity], code: CheckExit, findings: list[Finding]
) -> None:
    """Warnings are allowed."""
    by_severity = {finding.severity: finding for finding in findings}

    assert exit_code([by_severity[severity] for severity in severities]) is code


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (["null", "Paid"], "list the items flat"),
        ({"type": "array", "items": "null"}, "give the items a field"),
    ],
)
def test_a_schema_that_we_refuse_says_why_and_what_else(kind: object, remedy: str) -> None:
    """Recursion and items of no bytes crash decoders, so they are refused when they are read."""
    with pytest.raises(ContractError) as caught:
        schema(record(field("x", kind)))
    error = ContractError(str(caught.value).replace("test:", "schemas/paid-value/v3.avsc:"))

    finding = unreadable(error)

    assert (finding.rule, finding.subject, finding.version) == ("not-readable", "paid-value", 3)
    assert finding.severity is Severity.ERROR
    assert remedy in finding.remedy
