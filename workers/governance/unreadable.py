"""Contracts that cannot be read at all, as a finding."""

from __future__ import annotations

import re
from pathlib import Path

from workers.errors import ContractError
from workers.governance.findings import Finding, Severity

_FILE = re.compile(r"^(?P<file>.+?\.(?:avsc|yaml|lock|json)): ")
_REMEDIES = {
    "contains itself": "give the inner record a name and fields of its own for as many levels as "
    "are needed, or list the items flat, each with the id of its parent",
    "zero-byte": "give the items a field, or write how many there are",
}


def unreadable(error: ContractError) -> Finding:
    """The finding that an error makes; recursion and zero-byte items say why they are refused."""
    text = str(error)
    found = _FILE.match(text)
    file = Path(found["file"]) if found else None
    version = re.fullmatch(r"v(\d+)", file.stem) if file else None
    remedies = [remedy for sign, remedy in _REMEDIES.items() if sign in text]
    return Finding(
        severity=Severity.ERROR,
        rule="not-readable",
        subject=file.parent.name if file else "",
        version=int(version[1]) if version else None,
        breaks=text,
        whom="workers do not start with it, and nothing can be compared with it",
        remedy="; ".join(remedies),
        file=file if file and file.is_file() else None,
    )
