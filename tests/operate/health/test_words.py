"""The word of a partition, by what positions and lags did in a window."""

from __future__ import annotations

import pytest

from workers.operate.health.words import Word, words, worst
from workers.stream.snapshot import PartitionView, Snapshot

Row = tuple[int | None, int | None]
"""Position and lag at one moment; a partition that is not ours has neither."""
AWAY = None


def window(*rows: Row | None, progress: bool = True) -> list[Snapshot]:
    """Samples of partition 0; with `progress` the worker settles something in each."""
    return [
        Snapshot(
            last_progress=float(n) if progress else 0.0,
            partitions=()
            if row is None
            else (PartitionView(partition=0, position=row[0], lag=row[1]),),
        )
        for n, row in enumerate(rows)
    ]


@pytest.mark.parametrize(
    ("rows", "progress", "word"),
    [
        pytest.param([(5, 0), (5, 0), (5, 0)], False, Word.OK, id="nothing waits"),
        pytest.param([(5, 9), (9, 5), (14, 0)], True, Word.OK, id="caught up"),
        pytest.param([(5, 9), (14, 0), (15, 9)], True, Word.OK, id="caught up in between"),
        pytest.param([(5, 9), (6, 8), (7, 8)], True, Word.OK, id="the lag shrinks"),
        pytest.param([(5, 9), (6, 12), (7, 11)], True, Word.OK, id="the lag goes up and down"),
        pytest.param([(5, 9), (6, 9), (7, 9)], True, Word.OK, id="the lag stays"),
        pytest.param([(5, 9), (6, 10), (7, 10)], True, Word.WARN, id="done, and yet it grew"),
        pytest.param([(5, 9), (5, 9), (5, 9)], True, Word.STALL, id="others are done, it is not"),
        pytest.param([(5, 9), (5, 12), (5, 20)], True, Word.STALL, id="not done, and it grows"),
        pytest.param([(5, 9), (5, 9), (5, 9)], False, Word.STOP, id="nothing at all is done"),
        pytest.param([(5, 9), (7, 7), (6, 8)], True, Word.REWIND, id="gone back"),
        pytest.param([(5, 0), (7, 0), (6, 0)], True, Word.REWIND, id="gone back without lag"),
        pytest.param([(5, 9), (5, 9)], False, Word.OK, id="too early to tell"),
        pytest.param([], False, Word.OK, id="nothing was seen"),
        pytest.param([(9, 9), AWAY, (5, 9), (5, 9)], False, Word.OK, id="ours anew: too early"),
        pytest.param(
            [(9, 9), AWAY, (5, 9), (5, 9), (5, 9)], False, Word.STOP, id="ours anew: no rewind"
        ),
        pytest.param([(None, None)] * 4, False, Word.OK, id="nothing is known"),
        pytest.param([(5, None), (5, 3), (5, 4)], False, Word.STOP, id="known since a while"),
    ],
)
def test_the_word(rows: list[Row | None], progress: bool, word: Word) -> None:
    found = words(window(*rows, progress=progress))
    assert found.get(0, Word.OK) is word


def test_a_workers_word_is_the_worst_of_its_partitions() -> None:
    assert worst({0: Word.OK, 1: Word.STALL, 2: Word.WARN}) is Word.STALL
    assert worst({0: Word.STOP, 1: Word.REWIND}) is Word.STOP
    assert worst({}) is Word.OK
