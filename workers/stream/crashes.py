"""A record that kills the process: found, and sent aside, so that the stream moves on.

Native code may crash, run out of memory or never return on a single record, and the process that
starts again would meet it again, for ever. So before a batch is enriched its offsets are written
into a file. A start that finds such a note does the rows of that batch one by one, each with a
note of its own, before it does the batch; the record that ends the process alone, twice, is a dead
letter with verdict `crash` and never touched again. A process that is killed for another reason
costs no record: its note only makes the next start careful with one batch.

The note needs to outlive the process, not the machine: it is written into the page cache.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workers.enrich.batch import Batch, Outcomes, Rejection
from workers.enrich.merging import moved as moved_opinions
from workers.enrich.policy import Effort
from workers.errors import ClientHalt, Code, Reject
from workers.stream.journal import Event, Journal

ALONE = 2
"""So often a record must end the process alone. Once may be somebody's kill -9."""
KEPT = 100_000
"""Offsets behind which a suspect is forgotten: no batch reaches so far back."""

Enrich = Callable[[Batch, Effort], Outcomes]
Watchdog = Callable[[bool], None]
"""Called with true before native code runs, and with false after it."""
Range = tuple[int, int]


def unwatched(_: bool) -> None:  # noqa: FBT001  as `Watchdog`
    """No watchdog."""


@dataclass(slots=True)
class _NotesState:
    """What the file holds, by partition: offsets under way, to be careful with, and suspects."""

    doing: dict[int, Range] = field(default_factory=dict)
    careful: dict[int, Range] = field(default_factory=dict)
    alone: dict[int, dict[int, int]] = field(default_factory=dict)


class CrashGuard:
    """Enriches; and survives records that do not let a process survive."""

    def __init__(
        self,
        file: Path,
        topic: str,
        enrich: Enrich,
        journal: Journal,
        watchdog: Watchdog = unwatched,
    ) -> None:
        """`file` is this process's own, over its lives.

        Raises:
            ClientHalt: it cannot be written.
        """
        self._file = file
        self._topic = topic
        self._enrich = enrich
        self._journal = journal
        self._watchdog = watchdog
        self._unwritten = False
        self._notes = self._learned()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ClientHalt(
                f"{file}: cannot be written: {error.strerror}; `state` in the topology names the "
                "directory where workers note what they are doing"
            ) from error
        self._write()

    def __call__(self, batch: Batch, effort: Effort) -> Outcomes:
        """The batch's outcomes.

        Raises:
            Halt: as `Enricher.enrich`.
        """
        notes = self._notes
        if not (notes.careful or notes.alone):
            with self._noted(_ranges(batch)):
                return self._enrich(batch, effort)
        condemned = self._condemned(batch)
        rest = batch
        places = list(range(len(batch)))
        if condemned:
            places = [row for row in places if row not in condemned]
            rest = batch.select(places)
        self._one_by_one(rest, effort)
        with self._noted(_ranges(rest)):
            outcomes = self._enrich(rest, effort)
        self._past(batch)
        return outcomes if rest is batch else _completed(batch, outcomes, places, condemned)

    def _learned(self) -> _NotesState:
        """What the last life left behind."""
        found = _read(self._file, self._topic)
        for partition, (first, last) in found.doing.items():
            if first < last or len(found.doing) > 1:
                known = found.careful.get(partition, (first, last))
                found.careful[partition] = (min(known[0], first), max(known[1], last))
                self._journal.warn(
                    Event.CRASH_NOTED, topic=self._topic, partition=partition, offsets=[first, last]
                )
            else:
                suspects = found.alone.setdefault(partition, {})
                suspects[first] = suspects.get(first, 0) + 1
                self._journal.error(
                    Event.CRASH_FOUND,
                    topic=self._topic,
                    partition=partition,
                    offset=first,
                    times=suspects[first],
                )
        return replace(found, doing={})

    def _condemned(self, batch: Batch) -> dict[int, Rejection]:
        alone = self._notes.alone
        text = (
            f"it ended the process {ALONE} times, alone: killed, crashed, or out of memory or time"
        )
        rejection = Rejection(Reject(Code.PROCESS_ENDED, text), "crash")
        rows = enumerate(zip(batch.partitions, batch.offsets, strict=True))
        return {
            row: rejection
            for row, (partition, offset) in rows
            if alone.get(partition, {}).get(offset, 0) >= ALONE
        }

    def _one_by_one(self, batch: Batch, effort: Effort) -> None:
        """Rows to be careful with, each alone. What comes of it is thrown away."""
        notes = self._notes
        for row, (partition, offset) in enumerate(
            zip(batch.partitions, batch.offsets, strict=True)
        ):
            first, last = notes.careful.get(partition, (0, -1))
            if first <= offset <= last or offset in notes.alone.get(partition, {}):
                with self._noted({partition: (offset, offset)}):
                    self._enrich(batch.select([row]), effort)

    def _past(self, batch: Batch) -> None:
        """Forget what the stream is beyond. Rows that come again are as good as new by then."""
        notes = self._notes
        for partition, offset in batch.next_offsets().items():
            if partition in notes.careful and notes.careful[partition][1] < offset:
                del notes.careful[partition]
            # Those that ended the process stay for a while: the batch may fail and come again.
            suspects = notes.alone.get(partition, {})
            kept = {o: times for o, times in suspects.items() if o >= offset - KEPT}
            if kept:
                notes.alone[partition] = kept
            else:
                notes.alone.pop(partition, None)

    @contextmanager
    def _noted(self, doing: dict[int, Range]) -> Iterator[None]:
        self._notes.doing = doing
        self._write()
        self._watchdog(True)  # noqa: FBT003  as `Watchdog`
        try:
            yield
        finally:
            self._watchdog(False)  # noqa: FBT003  as `Watchdog`
            self._notes.doing = {}
            self._write()

    def _write(self) -> None:
        notes = self._notes
        document = {
            "topic": self._topic,
            "doing": notes.doing,
            "careful": notes.careful,
            "alone": notes.alone,
        }
        # One call, so that a process that ends in it leaves the old line or the new one; what
        # is left of a longer one stands behind the line's end.
        try:
            os.pwrite(self._descriptor, json.dumps(document).encode() + b"\n", 0)
        except OSError as error:
            # Notes help when a process is ended; records go on without them.
            if not self._unwritten:
                self._journal.warn(Event.CRASH_NOT_NOTED, file=str(self._file), why=error.strerror)
            self._unwritten = True
        else:
            self._unwritten = False

    def close(self) -> None:
        """Nothing is under way any more."""
        os.close(self._descriptor)


def _ranges(batch: Batch) -> dict[int, Range]:
    # Rows are in order within a partition: the last one seen is the highest.
    last = dict(zip(batch.partitions, batch.offsets, strict=True))
    first = dict(zip(reversed(batch.partitions), reversed(batch.offsets), strict=True))
    return {partition: (first[partition], offset) for partition, offset in last.items()}


def _read(file: Path, topic: str) -> _NotesState:
    """A file's notes; none where there is no file, or none that is of this topic."""
    try:
        document = json.loads(file.read_bytes().partition(b"\n")[0])
        if document["topic"] != topic:
            return _NotesState()
        return _NotesState(
            doing={int(p): (int(r[0]), int(r[1])) for p, r in document["doing"].items()},
            careful={int(p): (int(r[0]), int(r[1])) for p, r in document["careful"].items()},
            alone={
                int(p): {int(offset): int(times) for offset, times in found.items()}
                for p, found in document["alone"].items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        # Notes help; without them a start is as it would be on a new machine.
        return _NotesState()


def _completed(
    batch: Batch, outcomes: Outcomes, places: list[int], condemned: dict[int, Rejection]
) -> Outcomes:
    """Outcomes of the rows at `places`, as ones of the whole batch."""

    def moved(found: dict[int, Any]) -> dict[int, Any]:
        return {places[row]: value for row, value in found.items()}

    return Outcomes(
        batch,
        moved(outcomes.enriched),
        {**moved(outcomes.rejected), **condemned},
        frozenset(places[row] for row in outcomes.dropped),
        moved(outcomes.decisions),
        moved(outcomes.decided),
        {key: [places[row] for row in rows] for key, rows in outcomes.unknown.items()},
        explained=outcomes.explained,
        added=moved(outcomes.added),
        opinions=moved_opinions(outcomes.opinions, places),
        ages=outcomes.ages,
    )
