"""What is added to a Delta table and what removed, as its log has it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from deltalake.transaction import AddAction, RemoveAction

from workers.feedback.lake.commits import Commit, DataFile
from workers.feedback.lake.delta.columns import DAY

OURS = re.compile(r"day=(\d{4}-\d\d-\d\d)/(event|known)-[0-9a-f]{32}\.parquet")
"""Names of the lake's files, within their table."""
Group = tuple[str, str]
"""A day, and by which time rows are of it."""


@dataclass(frozen=True, slots=True)
class Held:
    """A file that a Delta table has."""

    bytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class Change:
    """Files that a Delta table lacks, and those that the lake has no more, by path."""

    add: Mapping[str, DataFile]
    remove: Mapping[str, Held]

    def __bool__(self) -> bool:
        """Is there anything to do?"""
        return bool(self.add or self.remove)

    def actions(self, commit: Commit) -> list[AddAction | RemoveAction]:
        """All of it, as of a commit.

        What was only compacted is no change of data: who follows a table need not look at it.
        """
        same, at = self._compacted(), milliseconds(commit)
        made: list[AddAction | RemoveAction] = [
            adding(commit, path, file, changes=_group(path) not in same)
            for path, file in self.add.items()
        ]
        for path, held in self.remove.items():
            group = _group(path)
            made.append(RemoveAction(path, group not in same, at, held.bytes, {DAY: group[0]}))
        return made

    def _compacted(self) -> set[Group]:
        """Where rows are as many as before: the lake adds rows, and takes none."""
        more, fewer = Counter[Group](), Counter[Group]()
        for path, file in self.add.items():
            more[_group(path)] += file.rows
        for path, held in self.remove.items():
            fewer[_group(path)] += held.rows
        return {group for group, rows in more.items() if rows == fewer[group]}


def adding(commit: Commit, path: str, file: DataFile, *, changes: bool) -> AddAction:
    """A file that is there from a commit on."""
    return AddAction(
        path=path,
        size=file.bytes,
        partition_values={DAY: str(file.day)},
        modification_time=milliseconds(commit),
        data_change=changes,
        stats=json.dumps({"numRecords": file.rows}),
    )


def milliseconds(commit: Commit) -> int:
    """When it was made, since 1970."""
    return int(commit.at.timestamp() * 1000)


def _group(path: str) -> Group:
    found = OURS.fullmatch(path)
    if found is None:
        raise ValueError(f"{path}: no file of the lake")
    return found[1], found[2]
