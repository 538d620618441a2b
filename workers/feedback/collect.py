"""Collecting: records of topics become rows of the lake, each exactly once.

Files first, then the one document that names them together with the offsets that come next. Killed
before it, nothing was collected; after it, all of it was. Two collectors at once: the document of
one is refused, and it begins again where the other's ends.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from workers.feedback.lake.commits import Commit, DataFile, Log, Offsets, added, merged
from workers.feedback.lake.files import By, write_days
from workers.feedback.lake.place import LakeFault
from workers.feedback.records import RecordReader, RowsState, joined, spread_features
from workers.models.expressions import parse_expression
from workers.stream.clock import Clock
from workers.stream.ranges import Edge, RangeFault, RangeReader, Span
from workers.topology import Feedback

DECISIONS, OUTCOMES, COMPARISONS = "decisions", "outcomes", "comparisons"
ROWS = 200_000
"""Rows of a commit, about."""
TRIES = 20
"""Times that another collector may be first."""
Failpoint = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """A topic and the table that its records become rows of."""

    table: str
    reader: RangeReader
    partitions: tuple[int, ...]
    records: RecordReader


@dataclass(slots=True)
class CollectedState:
    """What a run has added: rows by table, records that are no events, offsets that were gone."""

    rows: dict[str, int] = field(default_factory=dict)
    unreadable: int = 0
    lost: int = 0
    commits: int = 0


def nowhere(_: str) -> None:
    """Where nothing is to happen on the way."""


class Collector:
    """Brings a loop's lake up to what its topics have now."""

    def __init__(
        self,
        loop: Feedback,
        log: Log,
        clock: Clock,
        *,
        rows: int = ROWS,
        at: Failpoint = nowhere,
    ) -> None:
        self._loop = loop
        self._log = log
        self._clock = clock
        self._rows = rows
        self._at = at

    def collect(self, sources: Sequence[Source], *, accept_loss: bool = False) -> CollectedState:
        """Everything that is committed on the topics now.

        Raises:
            RangeFault: retention took records before they were collected, and that is not accepted.
            ContractError: a record's schema is in no contract.
            LakeFault: the lake cannot be written.
        """
        state = CollectedState()
        for source in sources:
            for _ in range(TRIES):
                if self._topic(source, state, accept_loss=accept_loss):
                    break
            else:
                raise LakeFault(f"{self._log.place.name}: others were first, {TRIES} times")
        return state

    def _topic(self, source: Source, state: CollectedState, *, accept_loss: bool) -> bool:
        """All of a topic; False where another collector was first and it must begin again."""
        commit = self._log.newest()
        known = commit.offsets.get(source.reader.topic, {})
        spans, lost = _spans(source, known, accept_loss=accept_loss)
        for part in self._parts(source, spans):
            if (
                not part.rows.frames
                and not part.rows.unreadable
                and part.next == _within(known, part.next)
            ):
                continue
            made = self._made(commit, source, part, lost)
            self._at("before the document")
            if not self._log.append(commit, made):
                return False
            self._at("after the document")
            state.commits += 1
            state.lost += sum(lost.values())
            state.unreadable += len(part.rows.unreadable)
            count = made.rows(source.table) - commit.rows(source.table)
            state.rows[source.table] = state.rows.get(source.table, 0) + count
            commit, known, lost = self._log.newest(), {**known, **part.next}, {}
            if commit.writer and commit.offsets.get(source.reader.topic) != made.offsets.get(
                source.reader.topic
            ):
                return False
        return True

    def _parts(self, source: Source, spans: Sequence[Span]) -> Iterator[_Part]:
        """The topic in parts of about `rows` rows; the last one ends where the spans do."""
        part = _Part(RowsState(), {})
        for batch in source.reader.read(spans):
            source.records.read(batch, part.rows)
            part.next.update(batch.next_offsets())
            part.count += len(batch)
            if part.count >= self._rows:
                yield part
                part = _Part(RowsState(), {})
        # What is after the last record of a span is no record: markers of transactions.
        part.next.update({span.partition: span.end for span in spans})
        yield part

    def _made(self, commit: Commit, source: Source, part: _Part, lost: Offsets) -> Commit:
        files: list[DataFile] = []
        frame = joined(part.rows)
        if frame is not None:
            files = list(self._written(source.table, frame))
        self._at("files written")
        topic, state = source.reader.topic, part.rows
        return commit.model_copy(
            update={
                "at": datetime.datetime.fromtimestamp(self._clock.now() / 1000, datetime.UTC),
                "did": f"collect {topic}",
                "offsets": merged(commit.offsets, {topic: part.next}),
                "unreadable": added(commit.unreadable, topic, state.unreadable),
                "lost": merged(commit.lost, {topic: lost}) if lost else commit.lost,
                "files": (*commit.files, *files),
            }
        )

    def _written(self, table: str, frame: pl.DataFrame) -> Iterator[DataFile]:
        """Files by the day of the event; of outcomes that do not say it, when they were known."""
        frame = spread_features(frame) if table == DECISIONS else frame
        for by, times in _times(self._loop, table, frame):
            some = times.is_not_null()
            if some.any():
                yield from write_days(
                    self._log.place,
                    self._log.loop,
                    table,
                    frame.filter(some),
                    times.filter(some),
                    by,
                )
            frame = frame.filter(~some)


@dataclass(slots=True)
class _Part:
    rows: RowsState
    next: Offsets
    count: int = 0


def _times(loop: Feedback, table: str, frame: pl.DataFrame) -> Iterator[tuple[By, pl.Series]]:
    """Times to keep rows by; the second is of the rows that have none by the first."""
    instant = pl.Datetime("ms", "UTC")
    written = pl.from_epoch("record_at", "ms").cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
    if table == OUTCOMES:
        event = pl.lit(None, instant)
        if loop.outcomes.event_at is not None:
            event = parse_expression(loop.outcomes.event_at).cast(instant)
        known = parse_expression(loop.outcomes.known_at).cast(instant)
    elif table == DECISIONS and "event_at" in frame.columns:
        event, known = pl.col("event_at").cast(instant), pl.col("scored_at").cast(instant)
    else:
        event, known = written, written
    first = frame.select(event.alias("t"))["t"]
    yield "event", first
    rest = frame.filter(first.is_null())
    yield "known", rest.select(pl.coalesce(known, written).alias("t"))["t"]


def _spans(source: Source, known: Offsets, *, accept_loss: bool) -> tuple[list[Span], Offsets]:
    """From where the lake ends to where the topic does; offsets that are gone, by partition."""
    spans, lost = list[Span](), Offsets()
    for partition in source.partitions:
        (whole,) = source.reader.spans([partition], Edge.EARLIEST, Edge.LATEST)
        start = known.get(partition, whole.start)
        name = f"{source.reader.topic} [{partition}]"
        if start > whole.end:
            raise RangeFault(
                f"{name}: collected up to {start}, and the log ends at {whole.end}: the topic was "
                "made anew. Begin another lake for it"
            )
        if start < whole.start:
            gone = whole.start - start
            if not accept_loss:
                raise RangeFault(
                    f"{name}: collected up to {start}, and the log begins at {whole.start}: "
                    f"retention took {gone} offsets. --accept-loss goes on, and notes it"
                )
            lost[partition] = gone
        spans.append(Span(partition, max(start, whole.start), whole.end))
    return spans, lost


def _within(known: Offsets, places: Offsets) -> Offsets:
    return {partition: known.get(partition, -1) for partition in places}
