"""Numbers that are as they are now: of the snapshot, of counts kept elsewhere, of the process.

Asked by whoever collects, in threads of theirs: nothing here touches a client.
"""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from workers.stream.clock import Clock
from workers.stream.journal import CountsState
from workers.stream.snapshot import Board, ModelView
from workers.telemetry import names
from workers.telemetry.registry import Sample

_STATM = Path("/proc/self/statm")
_FILES = Path("/proc/self/fd")


def of_snapshot(
    board: Board, clock: Clock, poll_limit: float, created: Callable[[], Mapping[str, int]]
) -> Iterator[Sample]:
    """Partitions, polls and models, as the loop last said.

    `poll_limit` is max.poll.interval, `created` says when the model of each block was built, ms.
    """
    seen, now, wall = board.snapshot, clock.monotonic(), clock.now()
    yield names.ASSIGNED, (), len(seen.partitions)
    paused = Counter(view.pause.kind.value for view in seen.partitions if view.pause is not None)
    for reason in names.PAUSED.attributes[0].values:
        yield names.PAUSED, (reason,), paused[reason]
    for view in seen.partitions:
        number = (str(view.partition),)
        for metric, value in (
            (names.LAG, view.lag),
            (names.TIME_LAG, view.time_lag(wall)),
            (names.LAG_TREND, view.trend),
        ):
            if value is not None:
                yield metric, number, value
    yield names.POLL_AGE, (), max(0.0, now - seen.last_poll)
    yield names.POLL_LIMIT, (), poll_limit
    yield names.COMMIT_AGE, (), max(0.0, now - seen.last_progress)
    yield names.BUILD_INFO, (seen.build,), 1
    yield names.UPTIME, (), max(0.0, (wall - seen.started) / 1000)
    yield from of_models(seen.models, created(), wall)


def of_models(
    models: Iterable[ModelView], created: Mapping[str, int], wall: int
) -> Iterator[Sample]:
    """What serves; `created` says when the model of each block was built, ms as `wall`."""
    for model in models:
        served = (model.block, model.name, model.version, model.alias or "", model.backend)
        yield names.MODEL_INFO, served, 1
        yield names.MODEL_BYPASSED, (model.block,), int(model.bypassed is not None)
        if model.block in created:
            yield names.MODEL_AGE, (model.block,), max(0.0, (wall - created[model.block]) / 1000)


def of_counts(counts: CountsState) -> Iterator[Sample]:
    """Counters that the loop and the shadow keep anyway."""
    yield names.TRIED_AGAIN, (), counts.tried_again
    for stage, count in dict(counts.breaches).items():
        yield names.BREACHES, (stage,), count
    for step, count in dict(counts.given_up).items():
        yield names.GIVEN_UP, (step,), count
    shadow = counts.shadow
    if shadow is None:
        return
    yield names.SHADOW_ROWS, ("compared", ""), shadow.compared
    for why, count in shadow.skipped.items():
        yield names.SHADOW_ROWS, ("skipped", why), count
    for why, count in dict(shadow.failed).items():
        if count:
            yield names.SHADOW_ROWS, ("failed", why), count
    yield names.SHADOW_DISAGREED, (), shadow.disagreed
    yield names.SHADOW_DIFFERING, (), shadow.differing
    yield names.SHADOW_DIFFERENCE, (), shadow.difference_sum
    yield names.SHADOW_LARGEST, (), shadow.difference_max
    yield names.SHADOW_UNDELIVERED, (), shadow.undelivered
    yield names.SHADOW_RESTARTS, (), shadow.restarts


def of_process() -> Iterator[Sample]:
    """Processor time; on Linux also memory and open files."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield names.CPU_TIME, ("user",), used.ru_utime
    yield names.CPU_TIME, ("system",), used.ru_stime
    if _STATM.exists():
        pages = int(_STATM.read_text().split()[1])
        yield names.MEMORY, (), pages * os.sysconf("SC_PAGE_SIZE")
        yield names.FILES, (), len(os.listdir(_FILES))
