"""Compaction: the files of a day become one, and what no document names is removed."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass

from workers.feedback.lake.commits import Commit, DataFile, Log
from workers.feedback.lake.files import ROWS, scan, write_day

Key = tuple[str, datetime.date, str]
_MADE = re.compile(r"/day=[0-9-]+/\.?(event|known)-")


@dataclass(frozen=True, slots=True)
class Compacted:
    """Files before and after; `removed` are files that no document named any more."""

    before: int
    after: int
    removed: int


def compact(log: Log, now: datetime.datetime, at: Callable[[str], None]) -> Compacted:
    """Write days of several files as one each. Rows, and what is read of them, stay the same.

    Where a collector was first meanwhile nothing is changed; the next run does it.
    """
    commit = log.newest()
    groups: dict[Key, list[DataFile]] = {}
    for file in commit.files:
        groups.setdefault((file.table, file.day, file.by), []).append(file)
    files: list[DataFile] = []
    for members in groups.values():
        small = [file for file in members if file.rows < ROWS // 2]
        files += [file for file in members if file not in small]
        files += _as_one(log, small) if len(small) > 1 else small
    if len(files) == len(commit.files):
        return Compacted(len(files), len(files), 0)
    update = {"at": now, "did": "compact", "files": tuple(files)}
    at("before the document")
    if not log.append(commit, commit.model_copy(update=update)):
        return Compacted(len(commit.files), len(commit.files), 0)
    return Compacted(len(commit.files), len(files), 0)


def _as_one(log: Log, members: list[DataFile]) -> list[DataFile]:
    rows = scan(log.place, members)
    if rows is None:
        return []
    # As they were collected: readers take the first of what is there twice.
    frame = rows.sort("record_partition", "record_offset").collect()
    first = members[0]
    return write_day(log.place, log.loop, first.table, first.day, frame, first.by)


def clean(log: Log, keep: int) -> int:
    """Forget all but the newest `keep` documents, and remove files that none of the rest names.

    Only while nobody collects: what a collector has just written is named by no document yet.
    """
    log.forget(keep)
    commits: list[Commit] = [log.read(number) for number in log.numbers()]
    named = {file.path for commit in commits for file in commit.files}
    gone = [p for p in log.place.below(log.loop) if _MADE.search(p) and p not in named]
    for path in gone:
        log.place.remove(path)
    return len(gone)
