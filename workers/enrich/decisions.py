"""Decision records: the enrichment block, and what is needed to learn from the decision.

What only a new model or contract changes is encoded once and appended; the rest goes by columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workers.contracts.catalogue import Catalogue
from workers.contracts.codec import BlockEncoder
from workers.contracts.decision import DecisionFrame, tail_parts
from workers.contracts.sensitive import sensitive_fields
from workers.enrich.batch import Batch
from workers.enrich.policy import Logged, Policy
from workers.enrich.reading import Rows
from workers.enrich.rules import Places
from workers.enrich.seat import Asked, OpinionState, Seat, share_of
from workers.enrich.versions import Version
from workers.models.bundle import FeatureType
from workers.models.features import fingerprint_of
from workers.models.model import Model

_SALT = b"decisions"
_FINGERPRINT = 16
_LONGEST_KEY = 65_536
"""Bytes. A longer one is the record's own key and is not written twice: two of them might be more
than a record can be."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which of a model's features are logged: names, and columns of its matrix."""

    number_names: tuple[str, ...] = ()
    number_columns: tuple[int, ...] = ()
    category_names: tuple[str, ...] = ()
    fingerprint: str | None = None
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class _Part:
    """Records whose features are laid out alike; `at` are their places among the records."""

    at: Places
    numbers: pa.ListArray
    categories: pa.ListArray
    layout: _Layout


def logged_features(model: Model, secret: frozenset[str], logged: Logged) -> tuple[str, ...]:
    """Features whose values go into decision records.

    One that reads a field of `secret`, the sensitive ones, goes only where it is named.
    """
    names = tuple(feature.name for feature in model.features.ordered)
    if logged.features is not None:
        return tuple(name for name in names if name in logged.features)
    return tuple(name for name in names if not model.features.reads(name) & secret)


class DecisionLog:
    """Makes the decision records of batches, for one binding of a worker."""

    def __init__(self, policy: Policy, frame: DecisionFrame, contracts: Catalogue) -> None:
        inputs = contracts.versions(policy.input_subject).values()
        # Tagged in one version is tagged in all: a batch may have records of several.
        self._secret = frozenset[str]().union(*(sensitive_fields(v.schema) for v in inputs))
        self._policy = policy.logged
        self._aliases = policy.aliases
        self._frame = frame
        varying, fixed = tail_parts()
        self._varying, self._fixed = BlockEncoder(varying), BlockEncoder(fixed)
        self._layouts: dict[int, _Layout] = {}
        self._endings: dict[tuple[_Layout, int, str], bytes] = {}
        # Keys of the two above are identities: what they are of is kept alive.
        self._held: list[Any] = []

    def sampled(self, batch: Batch, numbers: Sequence[int]) -> list[int]:
        """Places of `numbers`, rows of the batch, whose decisions are written.

        By key: all decisions of a key, or none; those without a key one by one.
        """
        share = self._policy.sample
        if share >= 1:
            return list(range(len(numbers)))
        return [
            place
            for place, row in enumerate(numbers)
            if share_of(batch.keys[row] or batch.place(row), _SALT) < share
        ]

    def records(
        self,
        batch: Batch,
        rows: Rows,
        seat: Seat,
        opinion: OpinionState,
        places: Places,
        blocks: Sequence[bytes],
    ) -> list[bytes]:
        """A framed record for each of `places` of `rows`, which `blocks` are the blocks of."""
        prefix = self._frame.prefix
        if not self._frame.tailed or not len(places):
            return [prefix + block for block in blocks]
        parts = self._parts(rows, seat, opinion, places)
        tails = self._varying.encode(
            self._columns(batch, rows, opinion, places, parts), len(blocks)
        )
        endings = self._all_endings(batch.topic, rows, places, parts)
        if isinstance(endings, bytes):
            return [
                prefix + block + tail + endings for block, tail in zip(blocks, tails, strict=True)
            ]
        return [
            prefix + block + tail + ending
            for block, tail, ending in zip(blocks, tails, endings, strict=True)
        ]

    def _columns(
        self,
        batch: Batch,
        rows: Rows,
        opinion: OpinionState,
        places: Places,
        parts: Sequence[_Part],
    ) -> dict[str, Any]:
        # All of a batch, in its order, is nearly always what there is: nothing is picked then.
        numbers = [rows.rows[place] for place in places.tolist()]
        whole = numbers == list(range(len(batch)))
        picked = batch if whole else batch.select(numbers)
        kinds, times = (
            np.array(each, dtype=np.int64) for each in zip(*picked.timestamps, strict=True)
        )
        apart = batch.topic.startswith("@")
        # A type of 0: the record has no timestamp.
        without = kinds == 0
        raw = np.full(len(rows.rows), np.nan)
        for asked in opinion.trials:
            raw[asked.places] = asked.raw
        raw[np.isnan(opinion.scores)] = np.nan
        given = raw[places]
        return {
            "event_key": _texts(picked.keys) if self._policy.key else None,
            # No topic of Kafka has an @: what came by HTTP was nowhere in Kafka.
            "event_partition": None if apart else _natural(picked.partitions, pa.int32()),
            "event_offset": None if apart else _natural(picked.offsets, pa.int64()),
            "event_at": pa.array(times, pa.timestamp("ms"), mask=without),
            "raw_score": pa.array(given, mask=np.isnan(given)),
            "propensity": opinion.propensities[places],
            "explored": opinion.explored[places],
            "latency_ms": pa.array(np.maximum(batch.now - times, 0), mask=without),
            "numbers": _in_order(parts, [part.numbers for part in parts]),
            "categories": _in_order(parts, [part.categories for part in parts]),
        }

    def _parts(self, rows: Rows, seat: Seat, opinion: OpinionState, places: Places) -> list[_Part]:
        """Every place belongs to one part: by the model that was asked, or that would be."""
        owner = np.full(len(rows.rows), -1, dtype=np.intp)
        index = np.zeros(len(rows.rows), dtype=np.intp)
        for number, asked in enumerate(opinion.trials):
            owner[asked.places] = number
            index[asked.places] = np.arange(len(asked.places))
        mine = owner[places]
        parts = [
            self._part(seat, asked, np.flatnonzero(mine == number), index[places])
            for number, asked in enumerate(opinion.trials)
        ]
        rest = np.flatnonzero(mine < 0)
        if len(rest):
            parts += self._unasked(seat, rows, places, rest)
        return [part for part in parts if len(part.at)]

    def _part(self, seat: Seat, asked: Asked, at: Places, index: Places) -> _Part:
        layout = self._layout(seat, asked.model)
        matrix, table = asked.matrix, asked.table
        if len(at) < len(asked.places):
            matrix, table = matrix[index[at]], table.take(pa.array(index[at]))
        columns, names = layout.number_columns, layout.category_names
        numbers = pa.array(matrix[:, columns].ravel()) if columns else pa.array([], pa.float64())
        texts = asked.model.features.texts(table, names) if names and len(at) else []
        return _Part(
            at,
            _lists(numbers, len(columns), len(at)),
            _lists(_interleaved(texts), len(texts), len(at)),
            layout,
        )

    def _unasked(self, seat: Seat, rows: Rows, places: Places, rest: Places) -> list[_Part]:
        """What a rule or a bypass decided: as the champion would have been given it."""
        model = seat.serving.model
        read = rows.read(model.manifest.contract.version, places[rest])
        featured = model.features.compute(read.table)
        good = np.ones(len(read.places), dtype=bool)
        good[list(featured.rejections)] = False
        kept = np.flatnonzero(good)
        where = {place: at for at, place in zip(rest.tolist(), places[rest].tolist(), strict=True)}
        at = np.array([where[place] for place in read.places[kept].tolist()], dtype=np.intp)
        given = Asked(
            model,
            read.places[kept],
            read.table.take(pa.array(kept)),
            featured.matrix[kept],
            np.full(len(kept), np.nan),
        )
        part = self._part(seat, given, at, np.arange(0))
        lacking = np.setdiff1d(rest, at)
        count = len(lacking)
        none = _lists(pa.array([], pa.float64()), 0, count)
        no_text = _lists(pa.array([], pa.string()), 0, count)
        return [part, _Part(lacking, none, no_text, _Layout(alias=part.layout.alias))]

    def _layout(self, seat: Seat, model: Model) -> _Layout:
        key = id(model)
        if key not in self._layouts:
            self._held.append(model)
            names = logged_features(model, self._secret, self._policy)
            ordered = model.features.ordered
            numeric = [f.name for f in ordered if f.type is FeatureType.NUMERIC and f.name in names]
            columns = [place for place, f in enumerate(ordered) if f.name in numeric]
            champion = model is seat.serving.model
            self._layouts[key] = _Layout(
                tuple(numeric),
                tuple(columns),
                tuple(name for name in names if name not in numeric),
                fingerprint_of(model.manifest.features),
                self._aliases.get(seat.name) if champion else "challenger",
            )
        return self._layouts[key]

    def _all_endings(
        self, topic: str, rows: Rows, places: Places, parts: Sequence[_Part]
    ) -> bytes | list[bytes]:
        """What each record ends with; one for all where they are alike."""
        first = rows.versions[0]
        one = all(version is first for version in rows.versions)
        if one and len(parts) == 1:
            return self._ending(parts[0].layout, first, topic)
        endings = [b""] * len(places)
        for part in parts:
            for at in part.at.tolist():
                version = rows.versions[places[at]]
                endings[at] = self._ending(part.layout, version, topic)
        return endings

    def _ending(self, layout: _Layout, version: Version, topic: str) -> bytes:
        key = (layout, id(version), topic)
        if key not in self._endings:
            self._held.append(version)
            source = version.source
            columns: dict[str, Any] = {
                "alias": [layout.alias],
                "event_topic": [topic],
                "contract": [source.subject],
                "contract_version": [source.version],
                "contract_fingerprint": [source.schema.fingerprint[:_FINGERPRINT]],
                "features_fingerprint": [layout.fingerprint],
                "number_names": [list(layout.number_names)],
                "category_names": [list(layout.category_names)],
                "sample": [self._policy.sample],
            }
            self._endings[key] = bytes(self._fixed.encode(columns, 1)[0])
        return self._endings[key]


def _natural(column: Sequence[int], kind: pa.DataType) -> pa.Array:
    """Those of the input record; a negative one stands for none."""
    found = np.array(column, dtype=np.int64)
    return pa.array(found, kind, mask=found < 0)


def _texts(keys: Sequence[bytes | None]) -> pa.Array:
    found = pa.array(keys, pa.binary())
    long = pc.greater(pc.binary_length(found), _LONGEST_KEY)
    if pc.any(long).as_py():
        found = pc.if_else(long, None, found)
    try:
        return found.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_text(key) for key in found.to_pylist()], pa.string())


def _text(key: bytes | None) -> str | None:
    try:
        return None if key is None else key.decode()
    except UnicodeDecodeError:
        return None


def _lists(values: pa.Array, width: int, count: int) -> pa.ListArray:
    """`count` lists of `width` values each."""
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(offsets, values)


def _interleaved(columns: Sequence[pa.Array]) -> pa.Array:
    """Row after row what is column after column."""
    if not columns:
        return pa.array([], pa.string())
    count = len(columns[0])
    order = np.arange(count * len(columns)).reshape(len(columns), count).T.ravel()
    return pa.concat_arrays(columns).take(pa.array(order))


def _in_order(parts: Sequence[_Part], arrays: Sequence[pa.ListArray]) -> pa.ListArray:
    """The parts' lists by the place of their record."""
    if len(parts) == 1:
        return arrays[0]
    order = np.argsort(np.concatenate([part.at for part in parts]), kind="stable")
    return pa.concat_arrays(arrays).take(pa.array(order))
