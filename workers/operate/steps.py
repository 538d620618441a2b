"""A plan: what differs between what is wanted and what there is, one step each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a step is."""

    CREATE_TOPIC = "create topic"
    ADD_PARTITIONS = "add partitions"
    CHANGE_SETTING = "change setting"
    ADD_ACL = "add acl"
    REGISTER_VERSION = "register version"
    SET_COMPATIBILITY = "set compatibility"
    FAULT = "fault"
    WARNING = "warning"
    NOTE = "note"


class Doer(StrEnum):
    """Who can do it."""

    APPLY = "apply"
    APPLY_PARTITIONS = "apply --allow-partitions"
    APPLY_REMOVAL = "apply --allow-removal"
    PERSON = "you"
    NOBODY = ""
    """Nothing has to be done: it is said so that it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """A topic as it is made."""

    name: str
    partitions: int
    replication_factor: int
    settings: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One difference.

    `target` is what it is about, as `topic flights.enriched`; `setting` which property of it.
    `risk` says what doing it may harm, `remedy` what a person does where `apply` does not.
    """

    kind: Kind
    doer: Doer
    target: str
    setting: str = ""
    current: str | None = None
    wanted: str | None = None
    why: str = ""
    risk: str = ""
    remedy: str = ""
    topic: TopicSpec | None = None


def fault(target: str, why: str, remedy: str, **more: Any) -> Step:
    """What stops a worker or harms its records, and only a person can change."""
    return Step(kind=Kind.FAULT, doer=Doer.PERSON, target=target, why=why, remedy=remedy, **more)


def warning(target: str, why: str, remedy: str = "", **more: Any) -> Step:
    """What works and is probably not meant."""
    return Step(kind=Kind.WARNING, doer=Doer.NOBODY, target=target, why=why, remedy=remedy, **more)


def note(target: str, why: str, remedy: str = "", **more: Any) -> Step:
    """What is good to know."""
    return Step(kind=Kind.NOTE, doer=Doer.NOBODY, target=target, why=why, remedy=remedy, **more)


def differs(steps: Iterable[Step]) -> bool:
    """Is there anything to do, by anybody? Warnings and notes ask for nothing."""
    return any(step.doer is not Doer.NOBODY for step in steps)


def as_data(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """The steps for JSON: the same keys in every one of them."""
    return [
        {**asdict(step), "kind": step.kind.value, "doer": step.doer.value or None} for step in steps
    ]
