"""Which version wrote each record of a batch; what has none gets its outcome here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.contracts.framing import PREFIX, Header, SchemaKey, locate
from workers.enrich.batch import NOTHING, Batch, Explained, Opinion, Rejection
from workers.enrich.binding import Binding
from workers.enrich.policy import Policy
from workers.enrich.versions import Version
from workers.errors import Code, Reject
from workers.topology import Tombstones, Unframed


@dataclass(slots=True)
class Ledger:
    """The outcomes of a batch while they come in."""

    enriched: dict[int, bytes | None] = field(default_factory=dict)
    rejected: dict[int, Rejection] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)
    decisions: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    decided: dict[int, str] = field(default_factory=dict)
    unknown: dict[SchemaKey, list[int]] = field(default_factory=dict)
    opinions: list[Opinion] = field(default_factory=list)
    ages: npt.NDArray[np.float64] | None = None
    explained: Explained = NOTHING
    added: dict[int, list[Header]] = field(default_factory=dict)

    def reject(self, row: int, reject: Reject, stage: str, schema_id: int | None = None) -> None:
        """The row goes to the dead-letter topic."""
        self.rejected[row] = Rejection(reject, stage, schema_id)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one version, and their datums without the framing."""

    version: Version
    rows: list[int]
    datums: list[bytes]


class Sorter:
    """Sorts the rows of batches by the version that wrote them."""

    def __init__(self, policy: Policy, binding: Binding) -> None:
        """Compile a worker's policies and what it is bound to."""
        self._policy = policy
        self._binding = binding
        self._versions, self._prefixes = binding.versions, binding.prefixes

    def sort(self, batch: Batch, ledger: Ledger) -> list[Group]:
        """Rows by version."""
        framed, others = self._framed(batch)
        values: list[Any] = batch.values
        found = [
            Group(version, rows, [values[row][PREFIX:] for row in rows])
            for version, rows in framed.values()
            if rows
        ]
        groups: dict[SchemaKey, tuple[list[int], list[bytes]]] = {}
        for row in others:
            value = batch.values[row]
            if value is None:
                self._tombstone(row, ledger)
                continue
            try:
                key, start = self._locate(batch, row, value)
            except Reject as reject:
                self._unlocated(row, reject, ledger)
                continue
            rows, datums = groups.setdefault(key, ([], []))
            rows.append(row)
            datums.append(value[start:])
        for key in groups.keys() - self._versions.keys():
            self._unknown(key, groups.pop(key)[0], ledger)
        found.extend(Group(self._versions[key], *group) for key, group in groups.items())
        return found

    def _framed(self, batch: Batch) -> tuple[dict[bytes, tuple[Version, list[int]]], list[int]]:
        """Rows by the five bytes of a known schema id, and the others.

        What nearly every record is, without headers and framed, takes this way: one look-up a row,
        or one for the batch where all are of one version.
        """
        if (only := self._only_prefix(batch)) is not None:
            return {only: (self._prefixes[only], list(range(len(batch))))}, []
        known = {prefix: (version, list[int]()) for prefix, version in self._prefixes.items()}
        others, limit, headers = list[int](), self._policy.max_payload, batch.headers
        find = known.get
        for row, value in enumerate(batch.values):
            if value is None or headers[row] or len(value) > limit or row in batch.unreadable:
                others.append(row)
            elif (group := find(value[:PREFIX])) is not None:
                group[1].append(row)
            else:
                others.append(row)
        return known, others

    def _only_prefix(self, batch: Batch) -> bytes | None:
        """The known frame that every record of the batch has, where nothing else is special."""
        values: list[Any] = batch.values
        if not values or None in values or any(batch.headers) or batch.unreadable:
            return None
        prefixes = {value[:PREFIX] for value in values}
        if len(prefixes) > 1 or max(map(len, values)) > self._policy.max_payload:
            return None
        (prefix,) = prefixes
        return prefix if prefix in self._prefixes else None

    def _unlocated(self, row: int, reject: Reject, ledger: Ledger) -> None:
        if reject.code is Code.UNFRAMED and self._policy.unframed is Unframed.DROP:
            ledger.dropped.add(row)
        else:
            ledger.reject(row, reject, "frame")

    def _locate(self, batch: Batch, row: int, value: bytes) -> tuple[SchemaKey, int]:
        limit = self._policy.max_payload
        if len(value) > limit:
            text = f"{len(value)} bytes, more than limits.max_payload_bytes {limit}"
            raise Reject(Code.PAYLOAD_TOO_LARGE, text)
        if row in batch.unreadable:
            text = "a header key is not UTF-8: the client library cannot return the headers"
            raise Reject(Code.HEADERS_UNREADABLE, text)
        located = locate(value, batch.headers[row])
        if located is None:
            text = "neither a schema id before the datum nor one in a header"
            raise Reject(Code.UNFRAMED, text)
        return located

    def _tombstone(self, row: int, ledger: Ledger) -> None:
        match self._policy.tombstones:
            case Tombstones.FORWARD:
                ledger.enriched[row] = None
            case Tombstones.DROP:
                ledger.dropped.add(row)
            case Tombstones.DEAD_LETTER:
                reject = Reject(Code.TOMBSTONE, "a record without a value")
                ledger.reject(row, reject, "frame")

    def _unknown(self, key: SchemaKey, rows: list[int], ledger: Ledger) -> None:
        reject = self._binding.unknown(key)
        if self._binding.contracts.find(key) is None:
            ledger.unknown[key] = rows
        for row in rows:
            ledger.reject(row, reject, "contract", key if isinstance(key, int) else None)
