"""Trying again what may pass by itself: at once, and later by way of retry topics.

A record on its way through a retry topic is as it came, with headers of ours at its end that say
where it came from and until when it waits. The worker that reads the topic takes them off again,
so what it publishes is what the first try would have published: the same decision id, the same
dead letter. It reads nothing else; a producer that writes such headers itself reaches no further
than its own record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from workers.contracts.framing import Header
from workers.enrich.batch import Batch, Outcomes
from workers.enrich.merging import merged
from workers.enrich.policy import Effort
from workers.errors import CAUSES, Code
from workers.stream.clock import Clock, jittered
from workers.stream.records import Record
from workers.stream.snapshot import Pause, PauseKind
from workers.stream.source import Source
from workers.topology import Retries, RetryTopic, Tier

OURS = "__workers.retry."
_NAMES = tuple(f"{OURS}{name}" for name in ("partition", "offset", "timestamp", "due", "attempts"))
RETRY_BYTES = 400
"""Our headers take no more: five names, numbers of 19 digits."""
AT_ONCE = frozenset({Code.MODEL_FAILED})
"""Codes that are tried again at once. A registry was asked twice before it is believed."""

Enrich = Callable[[Batch, Effort], Outcomes]


def passing(outcomes: Outcomes) -> list[int]:
    """Rejected rows that may pass by themselves."""
    rejected = outcomes.rejected
    return [row for row, why in sorted(rejected.items()) if CAUSES[why.reject.code].passing]


class AtOnce:
    """Enriches; what fails and may pass is tried a few times more, alone."""

    def __init__(
        self,
        retries: Retries,
        enrich: Enrich,
        wait: Callable[[float], bool],
        tried: Callable[[int], None],
    ) -> None:
        """`wait` takes seconds and says whether to go on; `tried` is told how many rows."""
        self._retries = retries
        self._enrich = enrich
        self._wait = wait
        self._tried = tried

    def __call__(self, batch: Batch, effort: Effort) -> Outcomes:
        """The batch's outcomes.

        Raises:
            Halt: as `Enricher.enrich`.
        """
        outcomes = self._enrich(batch, effort)
        for number in range(self._retries.tries):
            rejected = outcomes.rejected
            rows = [row for row in sorted(rejected) if rejected[row].reject.code in AT_ONCE]
            if not rows or not self._wait(jittered(self._retries.wait * 2**number)):
                return outcomes
            self._tried(len(rows))
            outcomes = merged(outcomes, self._enrich(batch.select(rows), effort), rows)
        return outcomes


class Waiting:
    """Holds partitions of a retry topic until the records in them are due."""

    def __init__(self, tier: Tier, source: Source, clock: Clock) -> None:
        """Nothing is held at first."""
        self._tier = tier
        self._source = source
        self._clock = clock
        self._until: dict[int, tuple[Pause, float]] = {}

    def hold(self, batch: Batch) -> Batch:
        """The rows that are due; from the first of a partition that is not, it is held."""
        first: dict[int, int] = {}
        latest = batch.now + int(self._tier.delay * 1000)
        for row, partition in enumerate(batch.partitions):
            if partition in first:
                continue
            found = _trailer(batch, row)
            # A time that nobody of ours wrote is no longer than ours.
            due = 0 if found is None else min(found[3], latest)
            if due > batch.now:
                first[partition] = row
                self._hold(partition, batch.offsets[row], (due - batch.now) / 1000)
        if not first:
            return batch
        rows = enumerate(batch.partitions)
        return batch.select([row for row, p in rows if row < first.get(p, len(batch))])

    def release(self) -> None:
        """Read on where records are due.

        Raises:
            Retry: a partition cannot be moved now.
        """
        now = self._clock.monotonic()
        for partition, (pause, until) in list(self._until.items()):
            if not self._source.still_held(partition, pause):
                del self._until[partition]
            elif until <= now:
                del self._until[partition]
                self._source.release(partition)

    def _hold(self, partition: int, offset: int, seconds: float) -> None:
        why = f"waits for its time: {self._tier.delay:g} s after it failed"
        pause = Pause(PauseKind.RETRY, why)
        self._until[partition] = (pause, self._clock.monotonic() + seconds)
        self._source.hold(partition, offset, pause)


def as_first_came(enrich: Enrich, tier: Tier) -> Enrich:
    """Enriches records of a retry topic as if they came from where they first did."""

    def again(batch: Batch, effort: Effort) -> Outcomes:
        return replace(enrich(restored(batch, tier), effort), batch=batch)

    return again


def restored(batch: Batch, tier: Tier) -> Batch:
    """A retry topic's batch as its records first came; a record without our headers as it is."""
    back = replace(
        batch,
        topic=tier.topic,
        headers=list(batch.headers),
        partitions=list(batch.partitions),
        offsets=list(batch.offsets),
        timestamps=list(batch.timestamps),
    )
    for row in range(len(batch)):
        if (found := _trailer(batch, row)) is not None:
            back.partitions[row], back.offsets[row], milliseconds, _, _ = found
            back.timestamps[row] = (batch.timestamps[row][0], milliseconds)
            back.headers[row] = (batch.headers[row] or [])[: -len(_NAMES)] or None
    return back


def attempts_before(batch: Batch, row: int, tier: Tier | None) -> int:
    """How often a row of a retry topic was tried before it came there; 0 for any other topic."""
    found = None if tier is None else _trailer(batch, row)
    return 0 if found is None else found[4]


def retry_record(topic: RetryTopic, batch: Batch, row: int, tried: int) -> Record:
    """The record that waits in `topic`. `batch` is as its records first came."""
    milliseconds = batch.timestamps[row][1]
    due = batch.now + int(topic.delay * 1000)
    said = (batch.partitions[row], batch.offsets[row], milliseconds, due, tried)
    trailer: Iterator[Header] = zip(_NAMES, (b"%d" % number for number in said), strict=True)
    headers = [*(batch.headers[row] or []), *trailer]
    return (topic.topic, batch.keys[row], batch.values[row], headers, milliseconds, -1)


def _trailer(batch: Batch, row: int) -> tuple[int, int, int, int, int] | None:
    """Partition, offset, timestamp, due (ms) and attempts, where the last headers are ours."""
    last = (batch.headers[row] or [])[-len(_NAMES) :]
    if tuple(name for name, _ in last) != _NAMES:
        return None
    try:
        found = [int(content or b"") for _, content in last]
    except ValueError:
        return None
    if not all(0 <= number < 2**63 for number in found):
        return None
    return found[0], found[1], found[2], found[3], found[4]
