"""One word for how a partition fares, from a window of snapshots and without a threshold.

After Burrow's idea: a number of records says nothing, what it does over a while does.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

from workers.stream.snapshot import PartitionView, Snapshot

LEAST = 3
"""Samples without which nothing is judged."""


class Word(StrEnum):
    """From well to worst."""

    OK = "OK"
    """Nothing waits, or what waits shrinks; or it is too early to tell."""
    WARN = "WARN"
    """Records are done, and yet the lag grew all the while."""
    REWIND = "REWIND"
    """The position went back: records are done again."""
    STALL = "STALL"
    """Records wait, and the position of this partition does not move."""
    STOP = "STOP"
    """Records wait, and the whole worker has finished nothing."""


def words(window: Sequence[Snapshot]) -> dict[int, Word]:
    """The word of each partition that the last snapshot has. `window` is in order, oldest first."""
    if not window:
        return {}
    return {view.partition: _word(view.partition, window) for view in window[-1].partitions}


def worst(found: dict[int, Word]) -> Word:
    """The worker's word."""
    order = list(Word)
    return max(found.values(), key=order.index, default=Word.OK)


def _word(partition: int, window: Sequence[Snapshot]) -> Word:
    seen = _held_since(partition, window)
    if len(seen) < LEAST:
        return Word.OK
    positions = [view.position for _, view in seen if view.position is not None]
    if any(later < before for before, later in pairwise(positions)):
        return Word.REWIND
    lags = [view.lag for _, view in seen if view.lag is not None]
    if not lags or min(lags) == 0:
        return Word.OK
    if positions and positions[0] == positions[-1]:
        progress = {snapshot.last_progress for snapshot, _ in seen}
        return Word.STOP if len(progress) == 1 else Word.STALL
    grew = all(later >= before for before, later in pairwise(lags))
    return Word.WARN if grew and lags[-1] > lags[0] else Word.OK


def _held_since(partition: int, window: Sequence[Snapshot]) -> list[tuple[Snapshot, PartitionView]]:
    """The newest samples that all have the partition: it is ours since the first of them."""
    seen: list[tuple[Snapshot, PartitionView]] = []
    for snapshot in reversed(window):
        view = next((view for view in snapshot.partitions if view.partition == partition), None)
        if view is None:
            break
        seen.append((snapshot, view))
    return seen[::-1]
