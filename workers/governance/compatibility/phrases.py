"""An incompatibility as a schema owner reads it: what breaks, for whom, the safe way."""

from __future__ import annotations

from enum import Enum

from workers.contracts.catalogue import Registered
from workers.governance.compatibility.defaults import Incompatibility
from workers.governance.findings import Finding


class Direction(Enum):
    """Who reads what."""

    ITSELF = "itself"
    BACKWARD = "backward"
    FORWARD = "forward"


NEW_SUBJECT = (
    "or make it a new subject on a new topic: publish both, and give the old one a sunset date"
)
KEEP = (
    "keep it as it is and mark it deprecated in its doc; write what is new as another field with a "
    "default"
)
_OPTIONAL = 'give it a default, as "type": ["null", T], "default": null'
_ENUM_DEFAULT = "an enum that has a default symbol from its first version on can grow and shrink"

_RULES = {
    ("field-missing", Direction.BACKWARD): "field-added-without-default",
    ("field-missing", Direction.FORWARD): "field-removed",
    ("enum-symbol-unknown", Direction.BACKWARD): "enum-symbol-removed",
    ("enum-symbol-unknown", Direction.FORWARD): "enum-symbol-added",
    ("union-branch-unread", Direction.BACKWARD): "union-branch-removed",
    ("union-branch-unread", Direction.FORWARD): "union-branch-added",
    ("null-unread", Direction.BACKWARD): "null-removed",
    ("null-unread", Direction.FORWARD): "null-added",
}
_REMEDIES = {
    "field-added-without-default": _OPTIONAL,
    "field-removed": "keep the field, fill it as before, and mark it deprecated in its doc; "
    + NEW_SUBJECT,
    "enum-symbol-removed": 'keep the symbol, or give the enum a "default" symbol; ' + NEW_SUBJECT,
    "enum-symbol-added": "write it as a new field with a default, a string or a new enum; "
    + _ENUM_DEFAULT,
    "union-branch-removed": f"keep the branch; {NEW_SUBJECT}",
    "union-branch-added": f"{KEEP}; {NEW_SUBJECT}",
    "null-removed": f"keep null as a branch; {NEW_SUBJECT}",
    "null-added": f"{KEEP}; {NEW_SUBJECT}",
}


def rule_name(fault: Incompatibility, direction: Direction) -> str:
    """The rule's name as its owner knows it: what is missing backward is removed forward."""
    return _RULES.get((fault.rule, direction), fault.rule)


def phrase(
    candidate: Registered, numbers: list[int], direction: Direction, fault: Incompatibility
) -> Finding:
    """The finding that a candidate version's incompatibility makes."""
    shown = _versions(numbers)
    rule = rule_name(fault, direction)
    return Finding(
        severity=fault.severity,
        rule=rule,
        subject=candidate.subject,
        version=candidate.version,
        against=shown,
        where=fault.where,
        breaks=fault.breaks,
        whom=_whom(direction, candidate.version, shown),
        remedy=_remedy(rule, fault, direction),
    )


def _whom(direction: Direction, version: int, others: str) -> str:
    match direction:
        case Direction.ITSELF:
            return f"every reader of version {version}"
        case Direction.BACKWARD:
            return (
                f"workers and new readers with version {version}, when they read records of "
                f"{others} that are on the topic"
            )
        case Direction.FORWARD:
            return (
                f"subscribers who still use {others}, when they read records of version {version}"
            )


def _remedy(rule: str, fault: Incompatibility, direction: Direction) -> str:
    remedies = [_REMEDIES.get(rule, ""), fault.remedy]
    if direction is Direction.FORWARD:
        # The reader's schema is released: what would help is out of its owner's hands.
        remedies = [_REMEDIES.get(rule, f"{KEEP}; {NEW_SUBJECT}")]
    return "; ".join(filter(None, remedies)) or f"{KEEP}; {NEW_SUBJECT}"


def _versions(numbers: list[int]) -> str:
    if not numbers:
        return ""
    listed = [str(number) for number in sorted(numbers)]
    if len(listed) == 1:
        return f"version {listed[0]}"
    return f"versions {', '.join(listed[:-1])} and {listed[-1]}"
