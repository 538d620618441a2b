"""The lake, in a directory and in an object store: what is committed is whole, of one writer."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import polars as pl
import pytest

from tests.feedback.lakes import DAY, INSTANT, START
from workers.feedback.collect import nowhere
from workers.feedback.lake.commits import Commit, Log
from workers.feedback.lake.compact import clean, compact
from workers.feedback.lake.files import scan, write_days
from workers.feedback.lake.place import LakeFault, Place, open_place
from workers.topology import Lake


@pytest.fixture(params=["directory", "object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Both kinds; fsspec's own store in memory refuses to write over an object, as S3 does.

    The directory's name would be a pattern, were it not a path.
    """
    if request.param == "directory":
        return open_place(Lake(directory=tmp_path / "lake [a-z]*"))
    return open_place(Lake.model_validate({"url": f"memory://lake-{uuid.uuid4().hex}"}))


def days(count: int, first: int = 0) -> pl.DataFrame:
    """A row a day."""
    return pl.DataFrame(
        {
            "record_partition": [0] * count,
            "record_offset": range(first, first + count),
            "at": [START + n * DAY for n in range(count)],
        },
        schema_overrides={"at": INSTANT},
    )


def test_a_file_is_made_once(place: Place) -> None:
    """A name that is taken is refused, and what is there stays."""
    assert place.create("a/b.json", b"first")
    assert not place.create("a/b.json", b"second")

    assert place.read("a/b.json") == b"first"
    assert (place.names("a"), place.names("nowhere")) == (["b.json"], [])
    assert place.below("a") == ["a/b.json"]
    place.remove("a/b.json")
    place.remove("a/b.json")
    assert place.names("a") == []
    with pytest.raises(FileNotFoundError):
        place.read("a/b.json")


def test_of_writers_in_one_instant_one_wins(place: Place) -> None:
    """And the document is the winner's, whole."""
    log, ready = Log(place, "flights"), threading.Barrier(6)
    before, won = log.newest(), list[int]()

    def write(number: int) -> None:
        ready.wait()
        if log.append(before, before.model_copy(update={"did": f"writer {number}"})):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1
    assert log.newest().did == f"writer {won[0]}"
    assert log.numbers() == [1]


def test_rows_come_back_and_compaction_keeps_them(place: Place) -> None:
    """Files of a day become one; files that nobody names any more are gone after cleaning."""
    log = Log(place, "flights")
    for first in (0, 3):
        rows, before = days(3, first), log.newest()
        files = write_days(place, "flights", "decisions", rows, rows["at"])
        assert log.append(before, before.model_copy(update={"files": (*before.files, *files)}))

    made = compact(log, START, nowhere)
    removed = clean(log, keep=1)

    assert (made.before, made.after, removed) == (6, 3, 6)
    found = scan(place, log.newest().table("decisions"))
    assert found is not None
    assert sorted(found.collect()["record_offset"].to_list()) == [0, 1, 2, 3, 4, 5]
    assert log.numbers() == [3]
    with pytest.raises(LakeFault, match="there is no such commit"):
        log.read(1)


def test_what_is_damaged_is_said_and_not_read(place: Place) -> None:
    """A document that is none, and a file that is shorter than its commit says."""
    log = Log(place, "flights")
    rows = days(1)
    (file,) = write_days(place, "flights", "decisions", rows, rows["at"])
    place.remove(file.path)
    assert place.create(file.path, b"short")

    with pytest.raises(LakeFault, match=r"5 bytes"):
        scan(place, [file])
    assert place.create("flights/commits/000000001.json", b'{"number": "x"')
    with pytest.raises(LakeFault, match="damaged"):
        log.newest()


def test_the_end_of_a_file_is_read_without_the_rest(place: Place) -> None:
    """What is gone, or of another size than its commit says, is said."""
    assert place.create("a/b.parquet", b"0123456789")

    assert place.end("a/b.parquet", 10, 4) == b"6789"
    assert place.end("a/b.parquet", 10, 64) == b"0123456789"
    with pytest.raises(LakeFault, match="10 bytes; the commit that made it says 11"):
        place.end("a/b.parquet", 11, 4)
    with pytest.raises(LakeFault, match=r"a/b\.gone: (No such file|there is no such object)"):
        place.end("a/b.gone", 10, 4)
    assert place.url("flights/decisions") == f"{_url(place)}/flights/decisions"


def _url(place: Place) -> str:
    return place.name if "://" in place.name else Path(place.name).as_uri()


def test_a_store_that_writes_over_objects_is_refused() -> None:
    """Before anything is collected."""
    with pytest.raises(LakeFault, match="cannot refuse to write over an object"):
        open_place(Lake.model_validate({"url": "http://example.org/lake"}))


def test_an_empty_lake_has_an_empty_commit(place: Place) -> None:
    """Nothing was collected, and that can be asked."""
    found = Log(place, "flights").newest()

    assert isinstance(found, Commit)
    assert (found.number, found.files, found.offsets) == (0, (), {})
    assert scan(place, []) is None
