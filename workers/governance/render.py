"""Findings for people, for programs, for test reports and for annotations of changes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

from workers.governance.findings import Finding, Severity, exit_code
from workers.governance.places import line_of, shown

# XML 1.0, "Characters": what a document may not hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ORDER = list(Severity)


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"
    GITHUB = "github"


def render(findings: Sequence[Finding], how: Format, base: Path) -> str:
    """The findings as text that ends with a newline; paths are shown as seen from `base`."""
    listed = sorted(findings, key=_order)
    match how:
        case Format.TEXT:
            return _text(listed, base)
        case Format.JSON:
            return _json(listed, base)
        case Format.JUNIT:
            return _junit(listed, base)
        case Format.GITHUB:
            return "".join(_annotation(finding, base) + "\n" for finding in listed)


def _order(finding: Finding) -> tuple[str, int, int, str]:
    return (
        finding.subject,
        finding.version or 0,
        _ORDER.index(finding.severity),
        finding.where,
    )


def _text(findings: list[Finding], base: Path) -> str:
    lines = []
    subject = None
    for finding in findings:
        if finding.subject != subject:
            subject = finding.subject
            lines += [subject or "contracts"]
        lines += _paragraph(finding, base)
    return "\n".join([*lines, _summary(findings)]) + "\n"


def _paragraph(finding: Finding, base: Path) -> list[str]:
    place = [f"version {finding.version}" if finding.version else "", finding.where]
    against = f"against {finding.against}" if finding.against else ""
    head = " · ".join(filter(None, [*place, finding.rule, against]))
    parts = [
        ("what breaks", finding.breaks),
        ("for whom", finding.whom),
        ("safe way", finding.remedy),
        ("file", _place(finding, base)),
    ]
    body = [f"    {name}: {text}" for name, text in parts if text]
    return [f"  {finding.severity.value.upper()} {head}", *body]


def _place(finding: Finding, base: Path) -> str:
    if finding.file is None:
        return ""
    return f"{shown(finding.file, base)}:{line_of(finding.file, finding.where)}"


def _summary(findings: Iterable[Finding]) -> str:
    counted = Counter(finding.severity for finding in findings)
    named = [f"{counted[severity]} {severity.value}" for severity in Severity if counted[severity]]
    return ", ".join(named) or "nothing found"


def _json(findings: list[Finding], base: Path) -> str:
    document = {
        "findings": [_record(finding, base) for finding in findings],
        "exit_code": int(exit_code(findings)),
    }
    return json.dumps(document, indent=2) + "\n"


def _record(finding: Finding, base: Path) -> dict[str, Any]:
    return {
        "severity": finding.severity.value,
        "rule": finding.rule,
        "subject": finding.subject,
        "version": finding.version,
        "against": finding.against,
        "where": finding.where,
        "breaks": finding.breaks,
        "whom": finding.whom,
        "remedy": finding.remedy,
        "file": shown(finding.file, base) if finding.file else None,
        "line": line_of(finding.file, finding.where) if finding.file else None,
    }


def _junit(findings: list[Finding], base: Path) -> str:
    """A suite a subject, a case a finding. Warnings and notes are cases that pass."""
    root = Xml.Element("testsuites", name="workers contracts")
    for subject in dict.fromkeys(finding.subject for finding in findings):
        _suite(root, subject, [f for f in findings if f.subject == subject], base)
    if not findings:
        suite = Xml.SubElement(root, "testsuite", name="contracts", tests="1")
        Xml.SubElement(suite, "testcase", classname="contracts", name="nothing found")
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _suite(root: Xml.Element, subject: str, findings: list[Finding], base: Path) -> None:
    counted = Counter(finding.severity for finding in findings)
    suite = Xml.SubElement(
        root,
        "testsuite",
        name=_clean(subject or "contracts"),
        tests=str(len(findings)),
        failures=str(counted[Severity.BREAKING]),
        errors=str(counted[Severity.ERROR]),
    )
    tags = {Severity.BREAKING: "failure", Severity.ERROR: "error"}
    for finding in findings:
        name = " ".join(filter(None, [finding.rule, finding.where, finding.against]))
        version = f".v{finding.version}" if finding.version else ""
        case = Xml.SubElement(suite, "testcase", classname=f"{_clean(subject)}{version}")
        case.set("name", _clean(name))
        text = _clean("\n".join(_paragraph(finding, base)))
        tag = tags.get(finding.severity)
        if tag is None:
            Xml.SubElement(case, "system-out").text = text
        else:
            fault = Xml.SubElement(case, tag, type=finding.rule, message=_clean(finding.breaks))
            fault.text = text


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


_COMMANDS = {
    Severity.ERROR: "error",
    Severity.BREAKING: "error",
    Severity.WARNING: "warning",
    Severity.NOTE: "notice",
}


def _annotation(finding: Finding, base: Path) -> str:
    """A workflow command: `::error file=F,line=N,title=T::text`."""
    properties = {}
    if finding.file is not None:
        properties["file"] = shown(finding.file, base)
        properties["line"] = str(line_of(finding.file, finding.where))
    version = f" version {finding.version}" if finding.version else ""
    properties["title"] = f"{finding.subject}{version}: {finding.rule}"
    named = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    parts = [
        f"{finding.where}: {finding.breaks}" if finding.where else finding.breaks,
        f"For whom: {finding.whom}" if finding.whom else "",
        f"Safe way: {finding.remedy}" if finding.remedy else "",
    ]
    text = _escaped("\n".join(filter(None, parts)))
    return f"::{_COMMANDS[finding.severity]} {named}::{text}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
