"""What the doctor finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from workers.operate.steps import Kind, Step


class Severity(StrEnum):
    """From worst to well."""

    FAULT = "fault"
    """It stops the worker, or harms its records."""
    WARNING = "warning"
    """It works, and is probably not meant, or will not work for long."""
    NOTE = "note"
    """Good to know."""
    OK = "ok"
    """It was looked at, and is well."""


class Check(StrEnum):
    """What is looked at. Names are stable."""

    CONTRACTS = "contracts"
    MODEL = "model"
    ADDRESSES = "addresses"
    TLS = "tls"
    BROKERS = "brokers"
    PLAN = "plan"
    ACLS = "acls"
    GROUP = "group"
    LAG = "lag"
    CLOCK = "clock"
    FILES = "files"
    MEMORY = "memory"
    FOLDERS = "folders"
    COMBINATION = "combination"


ABOUT: dict[Check, str] = {
    Check.CONTRACTS: "subjects are there, readable, as released, and the registry answers",
    Check.MODEL: "the version is there, fits the contracts, and reproduces its golden rows in a "
    "child process",
    Check.ADDRESSES: "names resolve and ports answer: those of the topology, and those that the "
    "brokers advertise",
    Check.TLS: "the handshake, the host's name, and when certificates end, ours among them",
    Check.BROKERS: "a broker answers the client, SASL included",
    Check.PLAN: "topics, settings, limits, subjects: what `workers plan` finds",
    Check.ACLS: "rights that the worker lacks, as far as they can be read",
    Check.GROUP: "members, and whether some stand idle",
    Check.LAG: "records not done, and since when",
    Check.CLOCK: "this host's clock against records and HTTP servers",
    Check.FILES: "how many files the process may open",
    Check.MEMORY: "what the process may use, against its queues and batches",
    Check.FOLDERS: "state and caches can be written, and have room",
    Check.COMBINATION: "settings that do not go together",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """`where` is what it is about, `remedy` what a person does."""

    check: Check
    severity: Severity
    where: str
    what: str
    remedy: str = ""


def as_data(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(found) for found in findings]


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Each once."""
    order = list(Severity)
    return sorted(dict.fromkeys(findings), key=lambda found: order.index(found.severity))


_SEVERITY = {
    Kind.FAULT: Severity.FAULT,
    Kind.CREATE_TOPIC: Severity.FAULT,
    Kind.ADD_ACL: Severity.FAULT,
    Kind.NOTE: Severity.NOTE,
}


def of_steps(steps: Iterable[Step]) -> Iterator[Finding]:
    """A plan's steps as findings."""
    for step in steps:
        about_rights = step.kind is Kind.ADD_ACL or step.target == "ACLs" or "ACL" in step.why
        check = Check.ACLS if about_rights else Check.PLAN
        severity = _SEVERITY.get(step.kind, Severity.WARNING)
        where = " ".join(filter(None, (step.target, step.setting)))
        yield Finding(check, severity, where, _what(step), step.remedy or _remedy(step))


def _what(step: Step) -> str:
    change = "" if step.wanted is None else f"{step.current or 'none'}, wanted {step.wanted}"
    return "; ".join(filter(None, (step.kind.value, step.why, change)))


def _remedy(step: Step) -> str:
    return f"workers {step.doer.value} --yes" if step.doer.value.startswith("apply") else ""
