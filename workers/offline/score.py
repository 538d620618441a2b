"""Score a file or a range of a topic through the very path that a worker uses on Kafka."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from workers.contracts.catalogue import Registered
from workers.contracts.framing import PREFIX
from workers.contracts.resolution import Resolver, Unresolvable
from workers.enrich.batch import Batch, Outcomes
from workers.enrich.versions import Version
from workers.errors import ContractError, Reject
from workers.offline.events import FileFault, datums_of
from workers.offline.files import Rows, event_file, whole
from workers.offline.path import WorkerPath
from workers.stream.ranges import RangeReader, Span

Place = Callable[[Batch, int], dict[str, int]]
"""How a rejected row is named in the list of them."""


@dataclass(slots=True)
class TallyState:
    """What became of the events; `tombstones` and `dropped` are in no file."""

    events: int = 0
    enriched: int = 0
    tombstones: int = 0
    dropped: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)


Progress = Callable[[TallyState], None]


def score_file(
    path: WorkerPath,
    source: Path,
    target: Path,
    *,
    now: int,
    progress: Progress = lambda _: None,
) -> TallyState:
    """Write the enriched events of the file `source`, as `score_batches` does.

    Decision ids have the file's name for a topic and the event's place in it for an offset. `now`
    is milliseconds UTC, what `scored_at` says.

    Raises:
        FileFault: the source cannot be read; the target is not written then.
        ContractError: the worker has no version to read it as.
    """

    def place(batch: Batch, row: int) -> dict[str, int]:
        return {"event": batch.offsets[row]}

    batches = _batches(path.newest, source, now)
    facts = {"workers.source": source.name}
    return score_batches(path, batches, target, facts=facts, place=place, progress=progress)


def score_range(
    path: WorkerPath,
    reader: RangeReader,
    spans: Sequence[Span],
    target: Path,
    *,
    progress: Progress = lambda _: None,
) -> TallyState:
    """Write the enriched events of a topic's ranges, as `score_batches` does.

    Decision ids are those that the worker gives; `scored_at` is when the batch was read.

    Raises:
        RangeFault: retention overtook the reading; the target is not written then.
        BrokerUnreachable: nothing came any more.
        ClientHalt: the broker refuses us.
    """
    ranges = {span.partition: [span.start, span.end] for span in spans}
    facts = {"workers.source": f"topic://{reader.topic}", "workers.ranges": json.dumps(ranges)}
    return score_batches(path, reader.read(spans), target, facts=facts, progress=progress)


def record_place(batch: Batch, row: int) -> dict[str, int]:
    """Partition and offset."""
    return {"partition": batch.partitions[row], "offset": batch.offsets[row]}


def score_batches(
    path: WorkerPath,
    batches: Iterable[Batch],
    target: Path,
    *,
    facts: Mapping[str, str],
    place: Place = record_place,
    progress: Progress = lambda _: None,
) -> TallyState:
    """Write the enriched events of the batches to `target`, .avro or .parquet, whole or not at all.

    All are written as the newest output version; events of an older one are resolved to it as Avro
    says. What is rejected goes, a JSON line each with place, verdict, code and text, beside it
    into `<target>.rejected.jsonl`. One batch at a time is held.

    Raises:
        FileFault: the target has another ending, or Parquet cannot hold the output.
        ContractError: the worker has no version with an output; or an event's output version
            cannot be read as the newest one.
        Halt: what the batches raise.
    """
    tally, output = TallyState(), path.newest.output
    manifest = path.enricher.model.manifest
    facts = {
        **facts,
        "workers.output": str(output),
        "workers.model": f"{manifest.name} version {manifest.version}",
    }
    rejected = target.with_name(f"{target.name}.rejected.jsonl")
    frames = _Frames(path, output)
    with (
        event_file(target, output.schema, facts) as events,
        whole(rejected) as made,
        made.open("w") as log,
    ):
        for batch in batches:
            outcomes = path.enrich(batch)
            events.write(frames.rows(outcomes))
            _list(log, outcomes, place)
            _count(tally, outcomes)
            progress(tally)
    return tally


class _Frames:
    """Enriched values as bare datums of one output version."""

    def __init__(self, path: WorkerPath, output: Registered) -> None:
        self._path = path
        self._output = output
        self._resolvers: dict[bytes, Resolver] = {}

    def rows(self, outcomes: Outcomes) -> Rows:
        """The enriched events, in the order of the batch; tombstones have no datum."""
        batch, newest = outcomes.batch, self._output.frame
        found = [(row, value) for row, value in sorted(outcomes.enriched.items()) if value]
        datums = [
            value[PREFIX:] if value[:PREFIX] == newest else self._rewritten(batch, row, value)
            for row, value in found
        ]
        rows = [row for row, _ in found]
        partitions = [batch.partitions[row] for row in rows]
        return Rows(datums, partitions, [batch.offsets[row] for row in rows])

    def _rewritten(self, batch: Batch, row: int, value: bytes) -> bytes:
        try:
            return self._resolver(value[:PREFIX]).rewrite(value[PREFIX:])
        except Reject as why:
            place = f"partition {batch.partitions[row]} offset {batch.offsets[row]}"
            raise FileFault(f"{place}: the output is no {self._output}: {why}") from why

    def _resolver(self, prefix: bytes) -> Resolver:
        if prefix not in self._resolvers:
            versions = self._path.enricher.binding.versions.values()
            output = next(v.output for v in versions if v.prefix == prefix)
            try:
                found = Resolver(output.schema, self._output.schema)
            except Unresolvable as why:
                raise ContractError(f"{output} cannot be read as {self._output}: {why}") from why
            self._resolvers[prefix] = found
        return self._resolvers[prefix]


def _batches(version: Version, source: Path, now: int) -> Iterator[Batch]:
    first, prefix = 0, version.source.frame
    for datums in datums_of(source, version.source.schema):
        count = len(datums)
        yield Batch(
            topic=source.name,
            now=now,
            keys=[None] * count,
            values=[prefix + datum for datum in datums],
            headers=[None] * count,
            partitions=[0] * count,
            offsets=list(range(first, first + count)),
            timestamps=[(0, 0)] * count,
        )
        first += count


def _list(log: IO[str], outcomes: Outcomes, place: Place) -> None:
    for row, rejection in sorted(outcomes.rejected.items()):
        reject = rejection.reject
        line = {
            **place(outcomes.batch, row),
            "verdict": reject.verdict.value,
            "code": reject.code,
            "text": str(reject),
        }
        log.write(json.dumps(line) + "\n")


def _count(tally: TallyState, outcomes: Outcomes) -> None:
    tally.events += len(outcomes.batch)
    published = [value for value in outcomes.enriched.values() if value is not None]
    tally.enriched += len(published)
    tally.tombstones += len(outcomes.enriched) - len(published)
    tally.dropped += len(outcomes.dropped)
    tally.rejected.update(r.reject.verdict.value for r in outcomes.rejected.values())
    tally.decisions.update(outcomes.decided.values())
