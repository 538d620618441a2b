"""Commits: numbered documents, each of which says whole what counts after it.

    flights/commits/000000012.json                 files, and the next offset of each partition
    flights/decisions/day=2013-03-01/000000012-….parquet

The highest number counts. A file that no document names is not there, so what a process wrote
before it was killed is written again by the next, from the same offsets: nothing is lost, and
nothing is there twice.
"""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workers.feedback.lake.place import LakeFault, Place

_NUMBER = re.compile(r"(\d{9})\.json")
Offsets = dict[int, int]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataFile(_Part):
    """A Parquet file of a table; its rows belong to one day, UTC.

    `by` says which time the day is of: an outcome that does not say when its event was is kept by
    when it was known.
    """

    path: str
    table: str
    day: datetime.date
    by: Literal["event", "known"] = "event"
    rows: Annotated[int, Field(ge=1)]
    bytes: Annotated[int, Field(ge=1)]


class Commit(_Part):
    """What counts. `offsets` are the next to read, by topic and partition."""

    format: Literal[1] = 1
    number: int = 0
    at: datetime.datetime
    did: str
    offsets: dict[str, Offsets] = {}
    unreadable: dict[str, dict[str, int]] = Field(
        default={}, description="Records that are no events of the contract, by topic and code."
    )
    lost: dict[str, Offsets] = Field(
        default={}, description="Offsets that retention took before they were collected."
    )
    files: tuple[DataFile, ...] = ()
    writer: str = ""

    def table(self, name: str) -> list[DataFile]:
        """The files of a table."""
        return [file for file in self.files if file.table == name]

    def days(self, table: str) -> list[datetime.date]:
        """Days that a table has rows of."""
        return sorted({file.day for file in self.table(table)})

    def rows(self, table: str) -> int:
        """Rows of a table."""
        return sum(file.rows for file in self.table(table))


class Log:
    """The commits of one loop."""

    def __init__(self, place: Place, loop: str) -> None:
        self.place = place
        self.loop = loop

    def newest(self) -> Commit:
        """What counts now; an empty one where nothing was collected yet.

        Raises:
            LakeFault: the document is damaged.
        """
        numbers = self.numbers()
        if not numbers:
            return Commit(at=datetime.datetime.fromtimestamp(0, datetime.UTC), did="nothing yet")
        return self.read(numbers[-1])

    def numbers(self) -> list[int]:
        """Numbers of the commits that are kept, ascending."""
        names = (_NUMBER.fullmatch(name) for name in self.place.names(f"{self.loop}/commits"))
        return sorted(int(match[1]) for match in names if match)

    def read(self, number: int) -> Commit:
        """A commit by its number.

        Raises:
            LakeFault: there is none, or it is damaged.
        """
        path = self._path(number)
        try:
            return Commit.model_validate_json(self.place.read(path))
        except FileNotFoundError as error:
            raise LakeFault(f"{self.place.name}/{path}: there is no such commit") from error
        except ValidationError as error:
            raise LakeFault(f"{self.place.name}/{path}: damaged: {error}") from error

    def append(self, after: Commit, made: Commit) -> bool:
        """Let `made` count after `after`; False where another writer was first, and nothing is."""
        whole = made.model_copy(update={"number": after.number + 1, "writer": uuid.uuid4().hex})
        return self.place.create(self._path(whole.number), whole.model_dump_json().encode())

    def forget(self, keep: int) -> list[int]:
        """Remove all but the newest `keep` documents; datasets can no longer be made of those."""
        gone = self.numbers()[:-keep] if keep > 0 else []
        for number in gone:
            self.place.remove(self._path(number))
        return gone

    def _path(self, number: int) -> str:
        return f"{self.loop}/commits/{number:09d}.json"


def merged(before: Mapping[str, Offsets], more: Mapping[str, Offsets]) -> dict[str, Offsets]:
    """Offsets by topic and partition, `more` counting where both have one."""
    topics = before.keys() | more.keys()
    return {t: {**before.get(t, {}), **more.get(t, {})} for t in sorted(topics)}


def added(
    before: Mapping[str, Mapping[str, int]], topic: str, codes: Iterable[str]
) -> dict[str, dict[str, int]]:
    """Counts by topic and code, with one more for each of `codes`."""
    found = {name: dict(counts) for name, counts in before.items()}
    for code in codes:
        counts = found.setdefault(topic, {})
        counts[code] = counts.get(code, 0) + 1
    return found
