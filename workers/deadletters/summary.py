"""Dead letters as rows and groups, for tables and for JSON."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from workers.contracts.catalogue import Catalogue
from workers.contracts.framing import locate
from workers.contracts.strict import Malformed
from workers.deadletters.masking import decoded, has_sensitive, masked, shown
from workers.errors import Reject
from workers.stream.ledger import LedgerState
from workers.stream.letters import Letter

RAW = 64
"""Bytes of an undecodable value that are shown."""


@dataclass(slots=True)
class GroupState:
    """Letters of one cause."""

    cause: str
    verdict: str
    code: str
    count: int = 0
    settled: int = 0
    first: int | None = None
    last: int | None = None
    example: str = ""
    models: set[str] | None = None

    def add(self, letter: Letter, *, settled: bool) -> None:
        """One more."""
        self.count += 1
        self.settled += settled
        self.example = self.example or letter.place
        if letter.model_version:
            self.models = (self.models or set()) | {letter.model_version}
        if (at := letter.failed_at) is not None:
            self.first = at if self.first is None else min(self.first, at)
            self.last = at if self.last is None else max(self.last, at)


def groups(batches: Iterable[list[Letter]], ledger: LedgerState) -> list[GroupState]:
    """By cause, the most frequent first."""
    found: dict[str, GroupState] = {}
    for letters in batches:
        for letter in letters:
            group = found.setdefault(
                letter.cause, GroupState(letter.cause, letter.verdict, letter.code)
            )
            group.add(letter, settled=ledger.settled(letter) is not None)
    return sorted(found.values(), key=lambda group: (-group.count, group.cause))


def row(letter: Letter, ledger: LedgerState) -> dict[str, Any]:
    """A letter in a line: no content."""
    return {
        "place": letter.place,
        "failed_at": when(letter.failed_at),
        "origin": None if letter.origin is None else str(letter.origin),
        "verdict": letter.verdict,
        "code": letter.code,
        "why": letter.why,
        "schema_id": letter.schema_id,
        "model_version": letter.model_version or None,
        "attempts": ledger.attempts(letter),
        "state": (ledger.settled(letter) or "open"),
    }


def details(
    letter: Letter,
    value: bytes | None,
    contracts: Catalogue,
    ledger: LedgerState,
    *,
    content: bool,
) -> dict[str, Any]:
    """A letter whole; its content masked, or shown but for sensitive fields."""
    return {
        **row(letter, ledger),
        "said": dict(letter.said),
        "key": _bytes(letter.key, content=content),
        "headers": {name: _bytes(held, content=content) for name, held in letter.headers},
        "value": _value(value, letter, contracts, content=content),
        "history": ledger.shown(letter),
    }


def exported(letter: Letter, topic: str) -> dict[str, Any]:
    """Every byte of it, in Base64, as it lies in the topic."""
    return {
        "topic": topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp": letter.timestamp[1],
        "timestamp_type": letter.timestamp[0],
        "key": _base64(letter.key),
        "value": _base64(letter.value),
        "headers": [[name, _base64(held)] for name, held in letter.headers],
        "said": dict(letter.said),
    }


def when(milliseconds: int | None) -> str | None:
    """UTC, to the second; what is no time of this era is a number."""
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return str(milliseconds)


def _value(
    value: bytes | None, letter: Letter, contracts: Catalogue, *, content: bool
) -> dict[str, Any]:
    if value is None:
        return {"bytes": None}
    try:
        located = locate(value, letter.headers)
    except Reject:
        located = None
    found = None if located is None else contracts.find(located[0])
    told: dict[str, Any] = {"bytes": len(value)}
    if located is None or found is None:
        # What it holds is not known, so neither is whether it may be seen.
        secret = any(has_sensitive(each.schema) for each in contracts)
        return told | ({"raw": value[:RAW].hex()} if content and not secret else {})
    told["schema"] = str(found)
    try:
        record = decoded(found.schema, value[located[1] :])
    except Malformed as why:
        told["malformed"] = str(why)
        return told | (
            {"raw": value[:RAW].hex()} if content and not has_sensitive(found.schema) else {}
        )
    return told | {"record": shown(found.schema, record, content=content)}


def _bytes(held: bytes | None, *, content: bool) -> Any:
    if held is None:
        return None
    return held.decode("utf-8", "backslashreplace") if content else masked(held)


def _base64(held: bytes | None) -> str | None:
    return None if held is None else base64.b64encode(held).decode()
