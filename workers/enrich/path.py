"""The path of a batch: sort by schema, decode, score, decide, encode the block, splice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import BlockEncoder, Decoded, Route
from workers.contracts.derive import enrichment_block
from workers.contracts.framing import PREFIX, SchemaKey, frame, locate
from workers.enrich.batch import Batch, Outcomes, Rejection
from workers.enrich.binding import Version, bind, decision_frame
from workers.enrich.policy import Policy
from workers.errors import Halt, Reject, Verdict
from workers.models.model import Model, Scored, model_rejection
from workers.topology import OnModelFailure, Tombstones, Unframed


@dataclass(slots=True)
class _Ledger:
    """The outcomes of a batch while they come in."""

    enriched: dict[int, bytes | None] = field(default_factory=dict)
    rejected: dict[int, Rejection] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)
    decisions: dict[int, bytes] = field(default_factory=dict)
    decided: dict[int, str] = field(default_factory=dict)

    def reject(self, row: int, reject: Reject, stage: str, schema_id: int | None = None) -> None:
        self.rejected[row] = Rejection(reject, stage, schema_id)


class Enricher:
    """Turns batches into outcomes. One for a worker; the same for every door."""

    def __init__(self, policy: Policy, contracts: Catalogue, model: Model) -> None:
        """Bind a worker's contracts to its model.

        Raises:
            ContractError: the input or decisions subject is missing, or no input version has an
                output version derived from it.
            ModelError: a feature reads a field that an enrichable input version lacks.
        """
        self.policy = policy
        self.model = model
        self._contracts = contracts
        self._block = BlockEncoder(enrichment_block())
        self._versions = bind(policy, contracts, model.features)
        self._prefixes = {
            frame(key): version for key, version in self._versions.items() if isinstance(key, int)
        }
        self._decision_prefix = decision_frame(policy, contracts)

    @property
    def routes(self) -> Mapping[int, Route]:
        """How each input version that can be enriched is decoded, by schema id."""
        return {
            version.id: version.decoder.route
            for version in self._versions.values()
            if version.id is not None
        }

    def enrich(self, batch: Batch) -> Outcomes:
        """Account for every row of the batch.

        Raises:
            Halt: the model failed and the policy is to halt. Nothing else: what is wrong with a row
                is that row's outcome.
        """
        ledger = _Ledger()
        for version, rows, datums in self._by_version(batch, ledger):
            self._enrich_version(batch, version, rows, datums, ledger)
        return Outcomes(
            batch,
            ledger.enriched,
            ledger.rejected,
            frozenset(ledger.dropped),
            ledger.decisions,
            ledger.decided,
        )

    def _by_version(
        self, batch: Batch, ledger: _Ledger
    ) -> list[tuple[Version, list[int], list[bytes]]]:
        """Rows and bare datums of each schema; what has none gets its outcome here."""
        framed, others = self._framed(batch)
        values: list[Any] = batch.values
        found = [
            (version, rows, [values[row][PREFIX:] for row in rows])
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
            unknown = self._unknown(key)
            for row in groups.pop(key)[0]:
                ledger.reject(row, unknown, "contract", key if isinstance(key, int) else None)
        found.extend((self._versions[key], *group) for key, group in groups.items())
        return found

    def _framed(self, batch: Batch) -> tuple[dict[bytes, tuple[Version, list[int]]], list[int]]:
        """Rows by the five bytes of a known schema id, and the others.

        What nearly every record is, without headers and framed, takes this way: one look-up a row,
        or one for the batch where all are of one version.
        """
        if (only := self._only_prefix(batch)) is not None:
            return {only: (self._prefixes[only], list(range(len(batch))))}, []
        known = {prefix: (version, list[int]()) for prefix, version in self._prefixes.items()}
        others, limit, headers = list[int](), self.policy.max_payload, batch.headers
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
        if len(prefixes) > 1 or max(map(len, values)) > self.policy.max_payload:
            return None
        (prefix,) = prefixes
        return prefix if prefix in self._prefixes else None

    def _unlocated(self, row: int, reject: Reject, ledger: _Ledger) -> None:
        if reject.code == "unframed" and self.policy.unframed is Unframed.DROP:
            ledger.dropped.add(row)
        else:
            ledger.reject(row, reject, "frame")

    def _locate(self, batch: Batch, row: int, value: bytes) -> tuple[SchemaKey, int]:
        if len(value) > self.policy.max_payload:
            text = (
                f"{len(value)} bytes, more than limits.max_payload_bytes {self.policy.max_payload}"
            )
            raise Reject(Verdict.DECODE, "payload_too_large", text)
        if row in batch.unreadable:
            text = "a header key is not UTF-8: the client library cannot return the headers"
            raise Reject(Verdict.DECODE, "headers_unreadable", text)
        located = locate(value, batch.headers[row])
        if located is None:
            text = "neither a schema id before the datum nor one in a header"
            raise Reject(Verdict.DECODE, "unframed", text)
        return located

    def _tombstone(self, row: int, ledger: _Ledger) -> None:
        match self.policy.tombstones:
            case Tombstones.FORWARD:
                ledger.enriched[row] = None
            case Tombstones.DROP:
                ledger.dropped.add(row)
            case Tombstones.DEAD_LETTER:
                reject = Reject(Verdict.DECODE, "tombstone", "a record without a value")
                ledger.reject(row, reject, "frame")

    def _enrich_version(
        self,
        batch: Batch,
        version: Version,
        rows: list[int],
        datums: list[bytes],
        ledger: _Ledger,
    ) -> None:
        decoded = version.decoder.decode(datums)
        for place, reject in decoded.rejections.items():
            ledger.reject(rows[place], reject, "decode", version.id)
        if not decoded.rows:
            return
        scored = self.model.score(decoded.table)
        keep = self._settle(scored, decoded, rows, version.id, ledger)
        places = [decoded.rows[index] for index in keep]
        decided = self._decided(scored, keep)
        blocks = self._encode_blocks(batch, [rows[p] for p in places], keep, scored, decided)
        prefix, decision_prefix = version.prefix, self._decision_prefix
        kept = [rows[place] for place in places]
        joined = [prefix + datums[p] + block for p, block in zip(places, blocks, strict=True)]
        ledger.enriched.update(zip(kept, joined, strict=True))
        if decision_prefix is not None:
            decisions = [decision_prefix + block for block in blocks]
            ledger.decisions.update(zip(kept, decisions, strict=True))
        ledger.decided.update(zip(kept, decided, strict=True))

    def _settle(
        self,
        scored: Scored,
        decoded: Decoded,
        rows: list[int],
        schema_id: int | None,
        ledger: _Ledger,
    ) -> list[int]:
        """Rows of the table that are published; the others get their rejection."""
        version = self.model.manifest.version
        refused = dict(scored.rejections)
        if scored.failed:
            if self.policy.on_model_failure is OnModelFailure.HALT:
                raise Halt(f"on_model_failure is halt: {next(iter(scored.failed.values()))}")
            if self.policy.on_model_failure is OnModelFailure.DEAD_LETTER:
                refused |= {row: model_rejection(why) for row, why in scored.failed.items()}
        for index, reject in refused.items():
            stage = "feature" if reject.verdict is Verdict.FEATURE else "model"
            row = rows[decoded.rows[index]]
            ledger.rejected[row] = Rejection(reject, stage, schema_id, version)
        return [index for index in range(len(decoded.rows)) if index not in refused]

    def _encode_blocks(
        self,
        batch: Batch,
        rows: list[int],
        keep: list[int],
        scored: Scored,
        decided: list[str],
    ) -> list[bytes]:
        manifest, count = self.model.manifest, len(rows)
        stem = f"{self.policy.worker}:{batch.topic}:"
        ids = [f"{stem}{batch.partitions[row]}:{batch.offsets[row]}" for row in rows]
        scores = scored.scores[keep]
        failed = np.array([index in scored.failed for index in keep]) if scored.failed else None
        columns: dict[str, Any] = {
            "decision_id": ids,
            "model": [manifest.name] * count,
            "model_version": [manifest.version] * count,
            "score": scores
            if failed is None
            else [None if f else s for f, s in zip(failed, scores, strict=True)],
            "decision": decided,
            "fallback": np.zeros(count, dtype=bool) if failed is None else failed,
            "fallback_reason": None
            if failed is None
            else ["model_failed" if f else None for f in failed],
            "reasons": [[]] * count,
            "scored_at": np.full(count, batch.now),
        }
        return self._block.encode(columns, count)

    def _decided(self, scored: Scored, keep: Sequence[int]) -> list[str]:
        names = self.model.decisions
        decided = [names[band] for band in scored.bands[list(keep)].tolist()]
        if scored.failed:
            fallback = self.model.manifest.decisions.fallback
            decided = [
                fallback if index in scored.failed else name
                for index, name in zip(keep, decided, strict=True)
            ]
        return decided

    def _unknown(self, key: SchemaKey) -> Reject:
        shown = key if isinstance(key, int) else key.hex()
        found = self._contracts.find(key)
        if found is None:
            text = f"schema id {shown} is in no contract"
            return Reject(Verdict.CONTRACT, "unknown_schema", text)
        if found.subject != self.policy.input_subject:
            text = f"schema id {shown} is {found.subject}, not {self.policy.input_subject}"
            return Reject(Verdict.CONTRACT, "other_subject", text)
        text = (
            f"{found.subject} version {found.version} has no version of "
            f"{self.policy.output_subject} derived from it; derive and release one"
        )
        return Reject(Verdict.CONTRACT, "no_derived_output", text)
