"""The path of a batch: sort by schema, decode, score, decide, encode the block, splice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import BlockEncoder
from workers.contracts.derive import enrichment_block
from workers.contracts.resolution import Resolver
from workers.enrich.batch import Batch, DecodedRows, Outcomes, Rejection
from workers.enrich.binding import Binding, Version
from workers.enrich.policy import Policy
from workers.enrich.sorting import Group, Ledger, Sorter
from workers.errors import Halt, Reject
from workers.models.model import Model, Scored, bypassed, model_rejection
from workers.topology import OnModelFailure


@dataclass(frozen=True, slots=True)
class _Decoded:
    """Rows of a batch that could be decoded, whatever version wrote them.

    `table` has one row for each entry of `rows`, `datums` and `versions`.
    """

    table: pa.RecordBatch
    rows: list[int]
    datums: list[bytes]
    versions: list[Version]


class Enricher:
    """Turns batches into outcomes. One for a worker; the same for every door."""

    def __init__(self, policy: Policy, contracts: Catalogue, model: Model) -> None:
        """Bind a worker's contracts to its model.

        Raises:
            ContractError: as `Binding`.
            ModelError: as `Binding`.
        """
        self.policy = policy
        self.model = model
        self.bypass: str | None = None
        self._block = BlockEncoder(enrichment_block())
        self.rebind(contracts)

    def rebind(self, contracts: Catalogue) -> None:
        """Go on with these contracts; as before where they cannot be bound.

        Raises:
            ContractError: as `Binding`.
            ModelError: as `Binding`.
        """
        self.binding = Binding(
            self.policy, contracts, self.model.features, self.model.manifest.contract
        )
        self._sorter = Sorter(self.policy, self.binding)

    def serve(self, model: Model, bypass: str | None) -> None:
        """Go on with this model; or, while `bypass` says why, with its fallback decision alone.

        Raises:
            ContractError: as `Binding`; the model stays as it was, the bypass is taken.
            ModelError: as `Binding`; the model stays as it was, the bypass is taken.
        """
        # First of all: it must hold even where the model beside it does not fit.
        self.bypass = bypass
        if model is not self.model:
            contracts, built = self.binding.contracts, model.manifest.contract
            binding = Binding(self.policy, contracts, model.features, built)
            self.model, self.binding = model, binding
            self._sorter = Sorter(self.policy, binding)

    def enrich(self, batch: Batch) -> Outcomes:
        """Account for every row of the batch.

        Raises:
            Halt: the model failed and the policy is to halt. Nothing else: what is wrong with a row
                is that row's outcome.
        """
        ledger = Ledger()
        decoded = _joined([self._decode(g, ledger) for g in self._sorter.sort(batch, ledger)])
        scored = None if decoded is None else self._enrich_decoded(batch, decoded, ledger)
        return Outcomes(
            batch,
            ledger.enriched,
            ledger.rejected,
            frozenset(ledger.dropped),
            ledger.decisions,
            ledger.decided,
            ledger.unknown,
            scored,
        )

    def _decode(self, group: Group, ledger: Ledger) -> _Decoded:
        version, rows, datums = group.version, group.rows, group.datums
        if version.rewriter is not None:
            rows, datums = _rewritten(group, version.rewriter, ledger)
        decoded = version.reader.decode(datums)
        for place, reject in decoded.rejections.items():
            ledger.reject(rows[place], reject, reject.verdict.value, version.id)
        if len(decoded.rows) < len(rows):
            rows = [rows[place] for place in decoded.rows]
            datums = [datums[place] for place in decoded.rows]
        return _Decoded(decoded.table, rows, datums, [version] * len(rows))

    def _enrich_decoded(
        self, batch: Batch, decoded: _Decoded, ledger: Ledger
    ) -> DecodedRows | None:
        scored = self._scored(decoded)
        keep = self._settle(scored, decoded, ledger)
        rows, versions, datums = decoded.rows, decoded.versions, decoded.datums
        if len(keep) < len(rows):
            rows = [rows[index] for index in keep]
            versions = [versions[index] for index in keep]
            datums = [datums[index] for index in keep]
        decided = self._decided(scored, keep)
        blocks = self._encode_blocks(batch, rows, keep, scored, decided)
        joined = [
            version.prefix + datum + block
            for version, datum, block in zip(versions, datums, blocks, strict=True)
        ]
        ledger.enriched.update(zip(rows, joined, strict=True))
        if (prefix := self.binding.decision_prefix) is not None:
            ledger.decisions.update(zip(rows, [prefix + b for b in blocks], strict=True))
        ledger.decided.update(zip(rows, decided, strict=True))
        if self.bypass is not None:
            return None
        version = self.model.manifest.version
        return DecodedRows(decoded.table, decoded.rows, scored.scores, version)

    def _scored(self, decoded: _Decoded) -> Scored:
        if self.bypass is None:
            return self.model.score(decoded.table)
        return bypassed(len(decoded.rows))

    def _settle(self, scored: Scored, decoded: _Decoded, ledger: Ledger) -> list[int]:
        """Rows of the table that are published; the others get their rejection."""
        model = self.model.manifest.version
        refused = dict(scored.rejections)
        if scored.failed and self.bypass is None:
            if self.policy.on_model_failure is OnModelFailure.HALT:
                raise Halt(f"on_model_failure is halt: {next(iter(scored.failed.values()))}")
            if self.policy.on_model_failure is OnModelFailure.DEAD_LETTER:
                refused |= {row: model_rejection(why) for row, why in scored.failed.items()}
        for index, reject in refused.items():
            stage, schema_id = reject.verdict.value, decoded.versions[index].id
            ledger.rejected[decoded.rows[index]] = Rejection(reject, stage, schema_id, model)
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
        reason = "model_failed" if self.bypass is None else "bypassed"
        columns: dict[str, Any] = {
            "decision_id": ids,
            "model": [manifest.name] * count,
            "model_version": [manifest.version] * count,
            "score": scores
            if failed is None
            else [None if f else s for f, s in zip(failed, scores, strict=True)],
            "decision": decided,
            "fallback": np.zeros(count, dtype=bool) if failed is None else failed,
            "fallback_reason": None if failed is None else [reason if f else None for f in failed],
            "reasons": self._reasons(scored, keep, decided),
            "scored_at": np.full(count, batch.now),
        }
        return self._block.encode(columns, count)

    def _reasons(self, scored: Scored, keep: list[int], decided: list[str]) -> list[Any]:
        none: list[Any] = [[]] * len(keep)
        if scored.matrix is None or self.model.manifest.reasons is None:
            return none
        asked = ["" if i in scored.failed else d for i, d in zip(keep, decided, strict=True)]
        try:
            return self.model.reasons(scored.matrix[keep], asked)
        except Exception:  # noqa: BLE001  a decision without its reasons is still the decision
            # That they can be had at all was proven with the golden rows.
            return none

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


def _joined(parts: list[_Decoded]) -> _Decoded | None:
    """One table of all versions' rows: their columns are the same, those of the model's version."""
    parts = [part for part in parts if part.rows]
    if len(parts) <= 1:
        return parts[0] if parts else None
    return _Decoded(
        pa.concat_batches([part.table for part in parts]),
        [row for part in parts for row in part.rows],
        [datum for part in parts for datum in part.datums],
        [version for part in parts for version in part.versions],
    )


def _rewritten(group: Group, rewriter: Resolver, ledger: Ledger) -> tuple[list[int], list[bytes]]:
    """The group's records as ones of a version that has a derived output."""
    rows, datums = list[int](), list[bytes]()
    for row, datum in zip(group.rows, group.datums, strict=True):
        try:
            datums.append(rewriter.rewrite(datum))
            rows.append(row)
        except Reject as reject:
            ledger.reject(row, reject, reject.verdict.value, group.version.id)
    return rows, datums
