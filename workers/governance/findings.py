"""What a check of contracts found: what breaks, for whom, and the safe way to do it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path


class Severity(StrEnum):
    """How bad a finding is."""

    BREAKING = "breaking"
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class CheckExit(IntEnum):
    """Exit codes of `workers contracts`, as `buf breaking` and Confluent's plugins have them."""

    OK = 0
    BREAKING = 1
    ERROR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault of one subject's version.

    `rule` is a stable name, as `field-removed`; `where` a field's path, as `payload.amount`, or
    empty; `against` what it was compared with, as `version 1`.
    """

    severity: Severity
    rule: str
    subject: str
    version: int | None = None
    against: str = ""
    where: str = ""
    breaks: str
    whom: str = ""
    remedy: str = ""
    file: Path | None = None


def exit_code(findings: list[Finding]) -> CheckExit:
    """The exit code that these findings make: an error outweighs a breaking change."""
    severities = {finding.severity for finding in findings}
    if Severity.ERROR in severities:
        return CheckExit.ERROR
    return CheckExit.BREAKING if Severity.BREAKING in severities else CheckExit.OK
