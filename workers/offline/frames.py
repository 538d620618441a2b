"""Rows of a data frame as batches for the path, and outcomes as rows of one: all in Arrow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from workers.contracts.codec import Decoder
from workers.contracts.derive import BLOCK_FIELD
from workers.contracts.framing import PREFIX
from workers.contracts.schema import Schema
from workers.enrich.batch import Batch, HeaderList, Outcomes
from workers.errors import Code, Reject
from workers.offline.events import FileFault, datum_of
from workers.offline.path import WorkerPath

UNNAMED = "frame"
"""The topic in decision ids of rows that have none."""
_BLOCK = {
    "decision_id": pa.string(),
    "model": pa.string(),
    "model_version": pa.string(),
    "score": pa.float64(),
    "decision": pa.string(),
    "fallback": pa.bool_(),
    "fallback_reason": pa.string(),
    "rule": pa.string(),
    "scored_at": pa.timestamp("us", "UTC"),
}
_FIELD = re.compile(r"(?:for|on field) (\w+)$")


@dataclass(frozen=True, slots=True)
class Taken:
    """Rows of a frame, all of one topic, and what of them goes through the path.

    `partitions` and `offsets` have an entry a row of `frame`, `rows` one a row of `batch`: the
    row of the frame that it is. The others are in `refused`.
    """

    frame: pa.RecordBatch
    partitions: list[int]
    offsets: list[int]
    batch: Batch
    rows: list[int]
    refused: dict[int, Reject]


@dataclass(frozen=True, slots=True)
class Counter:
    """Where rows without partition and offset are: part `task`, the first one is number `first`."""

    task: int
    first: int


class FrameReader:
    """Reads the rows of frames that have the same columns."""

    def __init__(self, path: WorkerPath, names: Sequence[str]) -> None:
        """`names` are the frame's columns: a record's, with `value`, or else the contract's.

        A contract may have a field `value` itself: then it is the event's if all others are there.

        Raises:
            FileFault: they are neither; names what is missing.
            ContractError: the worker has no version to read events as.
        """
        source = path.newest.source
        fields = source.schema.document["fields"]
        missing = [f["name"] for f in fields if "default" not in f and f["name"] not in names]
        self._events: tuple[Schema, bytes] | None = (source.schema, source.frame)
        if "value" in names and (missing or "value" not in source.schema.field_names):
            self._events = None
        elif missing:
            raise FileFault(
                f"the frame has no column value, and of {source} it lacks {', '.join(missing)}"
            )
        self._fields = [name for name in source.schema.field_names if name in names]

    def read(self, frame: pa.RecordBatch, counter: Counter, now: int) -> Iterator[Taken]:
        """The rows, by topic; `now` is milliseconds UTC, what `scored_at` says."""
        count = frame.num_rows
        topics = _column(frame, "topic", [UNNAMED] * count)
        partitions = _column(frame, "partition", [counter.task] * count)
        offsets = _column(frame, "offset", [*range(counter.first, counter.first + count)])
        by_topic: dict[str, list[int]] = {}
        for row, topic in enumerate(topics):
            by_topic.setdefault(topic, []).append(row)
        for topic, rows in by_topic.items():
            part = frame if len(rows) == count else frame.take(pa.array(rows))
            yield self._taken(
                part,
                Batch(
                    topic=topic,
                    now=now,
                    partitions=[partitions[row] for row in rows],
                    offsets=[offsets[row] for row in rows],
                ),
            )

    def _taken(self, frame: pa.RecordBatch, places: Batch) -> Taken:
        count, refused = frame.num_rows, dict[int, Reject]()
        if self._events is None:
            values = _column(frame, "value", [])
            headers = [_headers(found) for found in _column(frame, "headers", [None] * count)]
        else:
            values, refused = self._encoded(frame, *self._events)
            headers = [None] * count
        whole = Batch(
            topic=places.topic,
            now=places.now,
            keys=[_bytes(key) for key in _column(frame, "key", [None] * count)],
            values=values,
            headers=headers,
            partitions=places.partitions,
            offsets=places.offsets,
            timestamps=[(0, 0)] * count,
        )
        rows = [row for row in range(count) if row not in refused]
        batch = whole if not refused else whole.select(rows)
        return Taken(frame, places.partitions, places.offsets, batch, rows, refused)

    def _encoded(
        self, frame: pa.RecordBatch, schema: Schema, prefix: bytes
    ) -> tuple[list[bytes | None], dict[int, Reject]]:
        """As a producer would write them: what the contract narrows is narrow here too."""
        values, refused = list[bytes | None](), dict[int, Reject]()
        events = frame.select(self._fields).to_pylist(maps_as_pydicts="strict")
        for row, event in enumerate(events):
            try:
                values.append(prefix + datum_of(event, schema))
            except Exception as error:  # noqa: BLE001  the Avro library raises many kinds
                values.append(None)
                refused[row] = Reject(Code.MALFORMED, _why(error, schema))
        return values, refused


def _why(error: Exception, schema: Schema) -> str:
    """Which kind of error, in which field; its own text may hold the value."""
    found = _FIELD.search(str(error))
    field = f", field {found[1]}" if found and found[1] in schema.field_names else ""
    return f"the row is no {schema.full_name}: {type(error).__name__}{field}"


def _column(frame: pa.RecordBatch, name: str, missing: list[Any]) -> list[Any]:
    return frame.column(name).to_pylist() if name in frame.schema.names else missing


def _bytes(content: object) -> bytes | None:
    """Keys of files are text or numbers; those of records are bytes."""
    return content if content is None or isinstance(content, bytes) else str(content).encode()


def _headers(found: list[Mapping[str, Any]] | None) -> HeaderList:
    return [(header["key"], header["value"]) for header in found] if found else None


class OutcomeColumns:
    """Makes rows of outcomes: one for each row of the frame, in its order."""

    def __init__(self, path: WorkerPath) -> None:
        self._path = path
        self._decoders: dict[bytes, Decoder] = {}

    def of(self, taken: Taken, outcomes: Outcomes) -> dict[str, pa.Array]:
        """The columns."""
        count = taken.frame.num_rows
        verdicts, rejects = self._verdicts(taken, outcomes)
        enriched = {taken.rows[row]: v for row, v in outcomes.enriched.items() if v is not None}
        return {
            "topic": pa.array([taken.batch.topic] * count, pa.string()),
            "partition": pa.array(taken.partitions, pa.int32()),
            "offset": pa.array(taken.offsets, pa.int64()),
            "verdict": pa.array(verdicts, pa.string()),
            "code": pa.array([why and why.code for why in rejects], pa.string()),
            "text": pa.array([why and str(why) for why in rejects], pa.string()),
            **self._block(enriched, count),
            "value": pa.array([enriched.get(row) for row in range(count)], pa.binary()),
        }

    def _verdicts(self, taken: Taken, outcomes: Outcomes) -> tuple[list[str], list[Reject | None]]:
        rejects = {taken.rows[row]: found.reject for row, found in outcomes.rejected.items()}
        rejects |= taken.refused
        others = {taken.rows[row]: "dropped" for row in outcomes.dropped}
        others |= {
            taken.rows[row]: "tombstone" for row, v in outcomes.enriched.items() if v is None
        }
        others |= {row: why.verdict.value for row, why in rejects.items()}
        rows = range(taken.frame.num_rows)
        return [others.get(row, "enriched") for row in rows], [rejects.get(row) for row in rows]

    def _block(self, enriched: Mapping[int, bytes], count: int) -> dict[str, pa.Array]:
        """The first block's fields; null where a row has none."""
        by_frame: dict[bytes, list[int]] = {}
        for row, value in enriched.items():
            by_frame.setdefault(value[:PREFIX], []).append(row)
        blocks = [
            self._decoder(prefix).decode([enriched[row][PREFIX:] for row in rows])
            for prefix, rows in by_frame.items()
        ]
        # Row of the frame to place in what was decoded, group after group.
        order = [row for rows in by_frame.values() for row in rows]
        places: list[int | None] = [None] * count
        for place, row in enumerate(order):
            places[row] = place
        index = pa.array(places, pa.int64())
        return {
            name: pa.concat_arrays(
                [_part(block.table, name, kind) for block in blocks] or [pa.array([], kind)]
            ).take(index)
            for name, kind in _BLOCK.items()
        }

    def _decoder(self, prefix: bytes) -> Decoder:
        if prefix not in self._decoders:
            versions = self._path.enricher.binding.versions.values()
            output = next(version.output for version in versions if version.prefix == prefix)
            self._decoders[prefix] = Decoder(output.schema)
        return self._decoders[prefix]


def _part(table: pa.RecordBatch, name: str, kind: pa.DataType) -> pa.Array:
    block = table.column(BLOCK_FIELD)
    if block.type.get_field_index(name) < 0:
        # An older block has not got it.
        return pa.nulls(len(block), kind)
    return pc.cast(pc.struct_field(block, name), kind)
