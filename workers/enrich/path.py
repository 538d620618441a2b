"""The path of a batch: sort by schema, decode, decide, encode the blocks, splice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import BlockEncoder
from workers.contracts.resolution import Resolver
from workers.enrich.batch import NOTHING, Batch, DecodedRows, Opinion, Outcomes, Rejection
from workers.enrich.binding import Binding
from workers.enrich.decisions import DecisionLog
from workers.enrich.headers import BlockHeaders
from workers.enrich.policy import FULL, Effort, Policy
from workers.enrich.reading import Rows, joined
from workers.enrich.seat import CHAMPION, Given, OpinionState, Seat
from workers.enrich.sorting import Group, Ledger, Sorter
from workers.enrich.staleness import Old, ages, rejection, stale
from workers.enrich.versions import Version
from workers.errors import Halt, Reject
from workers.models.model import Model, model_rejection
from workers.models.serving import Serving
from workers.telemetry.steps import Lap, Step, untimed
from workers.topology import OnModelFailure, OnStale, RuleSet, Shape


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is published: rows of the batch, their places, and for each seat their blocks."""

    numbers: list[int]
    places: list[int]
    blocks: list[list[bytes]]


class Enricher:
    """Turns batches into outcomes. One for a worker; the same for every door."""

    def __init__(self, policy: Policy, contracts: Catalogue, *models: Model) -> None:
        """Bind a worker's contracts to its models, one for each of `policy.blocks`.

        Raises:
            ContractError: as `Binding`.
            ModelError: as `Binding`, or a rule is not SQL.
        """
        self.policy = policy
        self.lap: Lap = untimed
        """Told of the steps of a batch; the stream's to set."""
        self._bind(contracts, [Serving(model) for model in models])

    @property
    def model(self) -> Model:
        """The champion of the first block."""
        return self._seats[0].serving.model

    @property
    def servings(self) -> tuple[Serving, ...]:
        """What decides now, for each block."""
        return tuple(seat.serving for seat in self._seats)

    @property
    def bypass(self) -> str | None:
        """Why the first block is decided without its model, while it is."""
        return self._seats[0].serving.bypass

    def rebind(self, contracts: Catalogue) -> None:
        """Go on with these contracts; as before where they cannot be bound.

        Raises:
            ContractError: as `Binding`.
            ModelError: as `Binding`.
        """
        self._bind(contracts, self.servings)

    def serve(self, servings: Sequence[Serving]) -> None:
        """Go on with these, one a block.

        Raises:
            ContractError: as `Binding`; the models stay as they were, a bypass is taken.
            ModelError: as `Binding`; the models stay as they were, a bypass is taken.
        """
        # A bypass first of all: it must hold even where the model beside it does not fit.
        for seat, serving in zip(self._seats, servings, strict=True):
            seat.bypass(serving.bypass)
        self._bind(self.binding.contracts, servings)

    def _bind(self, contracts: Catalogue, servings: Sequence[Serving]) -> None:
        seats = list[Seat]()
        # The first block is decided last: its rules may look at all the others.
        for name, serving in zip(self.policy.blocks, servings, strict=True):
            others = [] if seats else self.policy.blocks[1:]
            rules = self.policy.rules.get(name, RuleSet())
            exploration = None if seats else self.policy.exploration
            seats.append(Seat(name, serving, rules, others, exploration))
        policy = self.policy
        binding = Binding(policy, contracts, seats)
        self._seats, self.binding = seats, binding
        self._sorter = Sorter(policy, binding)
        self._block = BlockEncoder(binding.block)
        self._headers = None if policy.shape is Shape.DERIVED else BlockHeaders(policy, binding)
        frame = binding.decisions
        self._log = None if frame is None else DecisionLog(policy, frame, contracts)

    def enrich(self, batch: Batch, effort: Effort = FULL) -> Outcomes:
        """Account for every row of the batch.

        Raises:
            Halt: the model failed and the policy is to halt. Nothing else: what is wrong with a row
                is that row's outcome.
        """
        ledger = Ledger()
        rows = joined([self._decode(g, ledger) for g in self._sorter.sort(batch, ledger)])
        self.lap(Step.DECODE)
        decoded = None if rows is None else self._enrich_rows(batch, rows, ledger, effort)
        self.lap(Step.ENCODE)
        return Outcomes(
            batch,
            ledger.enriched,
            ledger.rejected,
            frozenset(ledger.dropped),
            ledger.decisions,
            ledger.decided,
            ledger.unknown,
            decoded,
            tuple(ledger.opinions),
            ledger.ages,
            ledger.explained,
            ledger.added,
        )

    def _decode(self, group: Group, ledger: Ledger) -> Rows:
        version, rows, datums = group.version, group.rows, group.datums
        if version.rewriter is not None:
            rows, datums = _rewritten(group, version.rewriter, ledger)
        decoded = version.reader.decode(datums)
        for place, reject in decoded.rejections.items():
            ledger.reject(rows[place], reject, reject.verdict.value, version.id)
        if len(decoded.rows) < len(rows):
            rows = [rows[place] for place in decoded.rows]
            datums = [datums[place] for place in decoded.rows]
        return Rows(decoded.table, self.binding.built, rows, datums, [version] * len(rows))

    def _enrich_rows(
        self, batch: Batch, rows: Rows, ledger: Ledger, effort: Effort
    ) -> DecodedRows | None:
        old = self._stale(batch, rows, ledger)
        opinions = self._opinions(batch, rows, effort, old)
        ledger.explained = sum((each.explained for each in opinions.values()), NOTHING)
        keep = self._settle(opinions, rows, ledger)
        numbers, versions, datums = rows.rows, rows.versions, rows.datums
        if len(keep) < len(numbers):
            numbers = [numbers[place] for place in keep]
            versions = [versions[place] for place in keep]
            datums = [datums[place] for place in keep]
        columns = [
            self._columns(batch, seat, opinions[seat.name], numbers, keep) for seat in self._seats
        ]
        blocks = [self._block.encode(each, len(numbers)) for each in columns]
        if self._headers is None:
            ledger.enriched.update(zip(numbers, _spliced(versions, datums, blocks), strict=True))
        else:
            ledger.enriched.update((number, batch.values[number]) for number in numbers)
            added = self._headers.of(columns, blocks)
            ledger.added.update(zip(numbers, added, strict=True))
        if self._log is not None:
            self._record(self._log, batch, rows, opinions, _Kept(numbers, keep, blocks), ledger)
        opinion = opinions[self.policy.blocks[0]]
        ledger.opinions = [_told(seat, opinions[seat.name], numbers, keep) for seat in self._seats]
        ledger.decided.update(zip(numbers, ledger.opinions[0].decisions.tolist(), strict=True))
        return self._scored(rows, opinion, ledger)

    def _record(
        self,
        log: DecisionLog,
        batch: Batch,
        rows: Rows,
        opinions: dict[str, OpinionState],
        kept: _Kept,
        ledger: Ledger,
    ) -> None:
        """The decision records, one a block, of what is published and in the sample."""
        chosen = log.sampled(batch, kept.numbers)
        whole = len(chosen) == len(kept.numbers)
        places = np.array(kept.places if whole else [kept.places[c] for c in chosen], dtype=np.intp)
        records = [
            log.records(
                batch,
                rows,
                seat,
                opinions[seat.name],
                places,
                blocks if whole else [blocks[c] for c in chosen],
            )
            for seat, blocks in zip(self._seats, kept.blocks, strict=True)
        ]
        numbers = kept.numbers if whole else [kept.numbers[c] for c in chosen]
        ledger.decisions.update(zip(numbers, zip(*records, strict=True), strict=True))

    def _stale(self, batch: Batch, rows: Rows, ledger: Ledger) -> Old | None:
        """Places of stale events, where something becomes of them."""
        settings = self.policy.staleness
        if settings is None:
            return None
        ledger.ages = ages(settings, batch, rows)
        return None if settings.policy is OnStale.REPORT else stale(settings, ledger.ages)

    def _scored(self, rows: Rows, opinion: OpinionState, ledger: Ledger) -> DecodedRows | None:
        """What the first block's champion said and was published as it said it."""
        if self.bypass is not None or not self.policy.shadow:
            return None
        decided = ledger.decided
        if (others := opinion.changed) is not None:
            own = [number for number, other in zip(rows.rows, others, strict=True) if not other]
            decided = {number: decided[number] for number in own if number in decided}
        version = self.model.manifest.version
        return DecodedRows(rows.table, rows.rows, opinion.scores, version, decided)

    def _opinions(
        self, batch: Batch, rows: Rows, effort: Effort, old: Old | None
    ) -> dict[str, OpinionState]:
        found: dict[str, OpinionState] = {}
        for seat in (*self._seats[1:], self._seats[0]):
            others = {} if seat is not self._seats[0] else dict(found)
            found[seat.name] = seat.decide(batch, rows, effort, Given(others, old, self.lap))
        settings = self.policy.staleness
        if old is not None and settings is not None and settings.policy is OnStale.DEAD_LETTER:
            refused = dict.fromkeys(np.flatnonzero(old).tolist(), rejection(settings))
            first = found[self.policy.blocks[0]]
            first.rejections = refused | first.rejections
        return found

    def _settle(self, opinions: dict[str, OpinionState], rows: Rows, ledger: Ledger) -> list[int]:
        """Places that are published; the others get their rejection."""
        refused: dict[int, Rejection] = {}
        for name in self.policy.blocks:
            opinion, policy = opinions[name], self.policy.on_model_failure
            rejects = dict(opinion.rejections)
            if opinion.failed and policy is OnModelFailure.HALT:
                raise Halt(f"on_model_failure is halt: {next(iter(opinion.failed.values()))}")
            if opinion.failed and policy is OnModelFailure.DEAD_LETTER:
                rejects |= {place: model_rejection(why) for place, why in opinion.failed.items()}
            for place, reject in rejects.items():
                stage, schema_id = reject.verdict.value, rows.versions[place].id
                version = str(opinion.versions[place])
                refused.setdefault(place, Rejection(reject, stage, schema_id, version))
        ledger.rejected.update((rows.rows[place], why) for place, why in refused.items())
        return [place for place in range(len(rows.rows)) if place not in refused]

    def _columns(
        self,
        batch: Batch,
        seat: Seat,
        opinion: OpinionState,
        numbers: list[int],
        keep: list[int],
    ) -> dict[str, Any]:
        """A seat's block of these rows, by field."""
        count = len(numbers)
        stem = f"{self.policy.worker}:{batch.topic}:"
        # The first block's id is the event's; another's says which of the event's it is.
        tail = "" if seat is self._seats[0] else f":{seat.name}"
        partitions, offsets = batch.partitions, batch.offsets
        ids = [f"{stem}{partitions[n]}:{offsets[n]}" for n in numbers]
        # A slice copies nothing, and nearly always every place is kept.
        kept: Any = slice(None) if count == len(opinion.scores) else keep
        scores, without = opinion.scores[kept], opinion.without[kept]
        reasons, manifest = opinion.reasons, seat.serving.model.manifest
        # What is the same for all rows, as nearly everything is, is never a column of objects.
        alike = opinion.challenged is None
        return {
            "decision_id": [f"{each}{tail}" for each in ids] if tail else ids,
            "model": pa.repeat(manifest.name, count),
            "model_version": (
                pa.repeat(manifest.version, count) if alike else opinion.versions[kept]
            ),
            "score": pa.array(scores, mask=np.isnan(scores)),
            "decision": opinion.decisions[kept],
            "fallback": (
                [why is not None for why in without]
                if opinion.marked
                else np.zeros(count, dtype=np.bool_)
            ),
            "fallback_reason": without if opinion.marked else None,
            "reasons": reasons if kept is not keep else [reasons[place] for place in keep],
            "scored_at": np.full(count, batch.now),
            "arm": pa.repeat(CHAMPION, count) if alike else opinion.arms[kept],
            "rule": opinion.rules[kept] if seat.rules else None,
        }


def _spliced(
    versions: list[Version], datums: list[bytes], blocks: list[list[bytes]]
) -> list[bytes]:
    """Enriched events: frame, datum, the blocks of every seat."""
    first = blocks[0]
    whole = first if len(blocks) == 1 else [b"".join(b) for b in zip(*blocks, strict=True)]
    return [
        version.prefix + datum + block
        for version, datum, block in zip(versions, datums, whole, strict=True)
    ]


def _told(seat: Seat, opinion: OpinionState, numbers: list[int], keep: list[int]) -> Opinion:
    """A block's opinion of what is published. Slices where all is: nothing is copied."""
    kept: Any = slice(None) if len(keep) == len(opinion.scores) else keep
    challenged = opinion.challenged
    return Opinion(
        seat.name,
        seat.serving.model,
        numbers,
        opinion.scores[kept],
        opinion.decisions[kept],
        opinion.without[kept] if opinion.marked else None,
        None if challenged is None else len(np.intersect1d(challenged, keep)),
        opinion.asked,
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
