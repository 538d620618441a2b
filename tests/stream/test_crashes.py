"""Which record ended a process is found over its lives, and no other is blamed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.enrich.test_path import batch
from workers.enrich.batch import Batch, Outcomes
from workers.enrich.policy import FULL, Effort
from workers.errors import ClientHalt, Verdict
from workers.stream.clock import SystemClock
from workers.stream.crashes import CrashGuard
from workers.stream.journal import Journal

PILL = b"pill"


class Died(BaseException):
    """The process is gone: nothing of it runs any more."""


class Lives:
    """A process that starts again and reads on where it was; its note is what it was at its end."""

    def __init__(self, file: Path, values: list[bytes | None], partition: int = 3) -> None:
        self.file = file
        self.deaths = 0
        self._batch = replace(batch(values), partitions=[partition] * len(values))

    def enrich(self, part: Batch, _: Effort) -> Outcomes:
        """Die of a pill, with the note left as it is now."""
        if PILL in part.values:
            self._left = self.file.read_bytes()
            raise Died
        return Outcomes(part, dict(enumerate(part.values)), {}, frozenset())

    def live(self, part: Batch | None = None) -> Outcomes | None:
        """One life: the batch's outcomes, or None where it ended."""
        guard = CrashGuard(self.file, "flights", self.enrich, Journal(SystemClock()))
        try:
            return guard(part or self._batch, FULL)
        except Died:
            guard.close()
            self.file.write_bytes(self._left)
            self.deaths += 1
            return None
        finally:
            if self.deaths == 0:
                guard.close()

    def until_it_lives(self) -> Outcomes:
        """As a supervisor does."""
        while (found := self.live()) is None:
            assert self.deaths < 20
        return found


def test_the_record_that_ends_the_process_is_sent_aside_and_no_other(tmp_path: Path) -> None:
    """Once in its batch, twice alone; then it is a dead letter, and its neighbours are enriched."""
    values: list[bytes | None] = [b"%d" % n for n in range(50)]
    values[17] = PILL
    lives = Lives(tmp_path / "note.json", values)

    outcomes = lives.until_it_lives()

    assert lives.deaths == 3
    assert outcomes.rejected.keys() == {17}
    assert outcomes.rejected[17].reject.verdict is Verdict.CRASH
    assert outcomes.enriched == {row: v for row, v in enumerate(values) if row != 17}


def test_several_pills_of_a_batch_are_found_one_after_the_other(tmp_path: Path) -> None:
    """Each costs two lives more."""
    values: list[bytes | None] = [b"%d" % n for n in range(30)]
    values[3] = values[4] = values[29] = PILL
    lives = Lives(tmp_path / "note.json", values)

    outcomes = lives.until_it_lives()

    assert outcomes.rejected.keys() == {3, 4, 29}
    assert lives.deaths == 7


def test_a_process_killed_for_another_reason_costs_no_record(tmp_path: Path) -> None:
    """Twenty kills in the middle of a batch: each start is careful, and nothing is blamed."""
    lives = Lives(tmp_path / "note.json", [b"%d" % n for n in range(50)])
    for _ in range(20):
        note = {"topic": "flights", "doing": {"3": [100, 149]}, "careful": {}, "alone": {}}
        lives.file.write_text(json.dumps(note) + "\n")
        outcomes = lives.live()
        assert outcomes is not None
        assert not outcomes.rejected


def test_one_kill_while_a_record_is_alone_does_not_blame_it(tmp_path: Path) -> None:
    """It takes two."""
    lives = Lives(tmp_path / "note.json", [b"a", b"b"])
    note = {"topic": "flights", "doing": {"3": [100, 100]}, "careful": {}, "alone": {}}
    lives.file.write_text(json.dumps(note) + "\n")

    outcomes = lives.live()

    assert outcomes is not None
    assert not outcomes.rejected


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"topic": "flights"}', '{"topic": "other", "doing": {"3": [100, 100]}}\n'],
)
def test_damaged_or_foreign_notes_are_no_notes(tmp_path: Path, content: str) -> None:
    """A start is as on a new machine then."""
    lives = Lives(tmp_path / "note.json", [b"a"])
    lives.file.write_text(content)

    outcomes = lives.live()

    assert outcomes is not None
    assert outcomes.enriched == {0: b"a"}


def test_a_shorter_note_after_a_longer_one_is_read(tmp_path: Path) -> None:
    """The rest of the longer one stands behind the line's end."""
    file = tmp_path / "note.json"
    lives = Lives(file, [b"%d" % n for n in range(50)])
    file.write_text(
        json.dumps({"topic": "flights", "doing": {}, "careful": {"7": [1, 10**15]}, "alone": {}})
        + "\n"
    )
    lives.live()

    assert lives.live() is not None
    line = json.loads(file.read_bytes().partition(b"\n")[0])
    assert line["careful"] == {"7": [1, 10**15]}


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """At the start, not in the middle of a batch."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ClientHalt, match=r"file/note\.json: cannot be written.*`state`"):
        Lives(tmp_path / "file" / "note.json", []).live()
