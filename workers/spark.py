"""A worker's path in Spark: `df.mapInArrow(score_partitions("/etc/topology.yaml"), OUTCOMES)`.

For history that is larger than one machine. The path is the worker's own; Spark only carries rows
to it. `pyspark` (extra `spark`) is needed where it runs, not to import this.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from workers.offline.frames import Counter, FrameReader, OutcomeColumns
from workers.offline.path import WorkerPath
from workers.stream.clock import SystemClock
from workers.topology import load
from workers.wiring import build_path, pick

OUTCOMES = (
    "topic string, partition int, offset bigint, verdict string, code string, text string, "
    "decision_id string, model string, model_version string, score double, decision string, "
    "fallback boolean, fallback_reason string, rule string, scored_at timestamp, value binary"
)
"""The schema of outcome rows, as `mapInArrow` wants it; kept columns come after it."""
Batches = Iterator[pa.RecordBatch]


def score_partitions(
    topology: str | Path, worker: str | None = None, *, keep: Sequence[str] = ()
) -> Callable[[Batches], Batches]:
    """What `mapInArrow` calls with the Arrow batches of a partition: a row out for each row in.

    `topology` is where every executor finds the file, and what it names. A frame has records in a
    binary column `value`, as Spark's Kafka source gives them, or else the contract's own columns.
    `key`, `headers`, `topic`, `partition` and `offset` are used where they are there: with the last
    three, decision ids are the worker's; without, they name the place in Spark's own partition.
    Columns of `keep` are passed on: `OUTCOMES + ", flight_id string"`.

    `verdict` is `enriched`, `tombstone`, `dropped`, or why the worker would dead-letter the row: a
    bad row is a row and raises nothing. `value` is what the worker would publish, byte for byte
    but for `scored_at`; the columns from `decision_id` on are of its first block.

    Raises:
        Halt: in the executor: topology, contracts or model cannot be used, or the frame has
            neither a `value` nor the contract's columns.
    """
    place, kept = str(topology), tuple(keep)

    def score(batches: Batches) -> Batches:
        yield from _score(_path(place, worker), batches, kept)

    return score


@functools.cache
def _path(topology: str, worker: str | None) -> WorkerPath:
    """Kept for the process's life: it is called for one partition after the other, and the model is
    to be loaded once.
    """
    loaded = load(Path(topology))
    return build_path(loaded, pick(loaded, worker))


def _score(path: WorkerPath, batches: Batches, keep: tuple[str, ...]) -> Batches:
    reader: FrameReader | None = None
    columns, clock, counter = OutcomeColumns(path), SystemClock(), Counter(_task(), 0)
    for frame in batches:
        reader = reader or FrameReader(path, frame.schema.names)
        for taken in reader.read(frame, counter, clock.now()):
            found = columns.of(taken, path.enrich(taken.batch))
            kept = {name: taken.frame.column(name) for name in keep}
            yield pa.RecordBatch.from_pydict({**found, **kept})
        counter = Counter(counter.task, counter.first + frame.num_rows)


def _task() -> int:
    """The number of Spark's partition."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return 0 if context is None else int(context.partitionId())
