"""What cannot be mirrored is said; what others do to a Delta table harms no lake."""

from __future__ import annotations

import datetime
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.transaction import AddAction
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from tests.feedback.deltas import by_deltalake, delta_loop, folder, mirrored, more, same
from tests.feedback.lakes import log_of
from workers.feedback.collect import nowhere
from workers.feedback.lake.commits import Log
from workers.feedback.lake.delta.mirror import mirror, storage_options
from workers.feedback.lake.place import LakeFault
from workers.topology import Feedback, Lake


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ({"x": 1}, {"x": "a"}, r"column `x` is long in the Delta table and string in flights/"),
        ({"x": [1]}, {"x": [1.5]}, r"column `x` is \{.*long.* and \{.*double"),
        ({}, {"x": datetime.time(12)}, r"column `x` of .* is time64\[ns\], for which Delta has no"),
        ({}, {"x": [None]}, r"column `x` of .* is large_list<.*null>, for which Delta has no"),
        ({}, {"Day": 1}, r"column `Day` of .* has the name of the partition"),
        ({"x": 1}, {"X": 1}, r"column `X` of .* differs from `x` in nothing but case"),
    ],
    ids=["type", "type within", "no such type", "no type within", "partition", "case"],
)
def test_what_no_delta_table_can_hold_is_said(
    log: Log, loop: Feedback, first: dict[str, Any], then: dict[str, Any], said: str
) -> None:
    """With table, column and what to do; what was mirrored stays as it is."""
    more(log, 0, **first)
    mirrored(loop)
    before = by_deltalake(log)
    more(log, 6, **then)

    with pytest.raises(LakeFault, match=rf"flights/decisions: {said}") as caught:
        mirrored(loop)

    assert "at /" not in str(caught.value)
    assert_frame_equal(by_deltalake(log), before)


def test_two_types_in_the_first_files_are_said_too(log: Log, loop: Feedback) -> None:
    """Before there is a table."""
    more(log, 0, x=1)
    more(log, 6, x="a")

    with pytest.raises(LakeFault, match=r"column `x` is long in flights/.* and string in flights/"):
        mirrored(loop)

    assert not (folder(log) / "_delta_log").exists()


def _garbage(place: Path) -> None:
    (place / "_delta_log" / f"{1:020}.json").write_text('{"add":{"pa')


def _emptied(place: Path) -> None:
    (place / "_delta_log" / f"{0:020}.json").write_text("")


def _foreign(place: Path) -> None:
    shutil.rmtree(place / "_delta_log")
    write_deltalake(str(place), pl.DataFrame({"a": [1]}))


def _appended(place: Path) -> None:
    table = DeltaTable(str(place))
    add = AddAction("day=2013-01-01/theirs.parquet", 1, {"day": "2013-01-01"}, 1, True, "{}")
    table.create_write_transaction([add], "append", table.schema(), ["day"])


def _deleted(place: Path) -> None:
    DeltaTable(str(place)).delete("record_offset = 0")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_garbage, r"Json error: .*remove its _delta_log"),
        (_emptied, r"No table metadata or protocol .*remove its _delta_log"),
        (_foreign, r"a Delta table that somebody else has made"),
        (_appended, r"somebody else has written .*theirs.parquet is no file of the lake"),
        (_deleted, r"somebody else has written .* is no file of the lake"),
    ],
)
def test_a_log_that_is_damaged_or_not_ours_is_said_and_can_be_made_anew(
    log: Log, loop: Feedback, damage: Callable[[Path], None], said: str
) -> None:
    """The lake does not need it: without it the table is made again."""
    more(log, 0)
    mirrored(loop)
    damage(folder(log))

    with pytest.raises(LakeFault, match=said):
        mirrored(loop)

    shutil.rmtree(folder(log) / "_delta_log")
    assert mirrored(loop)[0].version == 0
    same(log)


def test_what_a_stranger_took_out_is_put_back(log: Log, loop: Feedback) -> None:
    """Whole files that the log has lost."""
    more(log, 0)
    mirrored(loop)
    DeltaTable(str(folder(log))).delete("day = '2013-01-01'")
    assert by_deltalake(log).height == 4

    made = mirrored(loop)[0]

    assert made.added == 1
    same(log)


def test_a_lake_that_was_made_anew_is_not_mixed_with_the_old_one(log: Log, loop: Feedback) -> None:
    """Its log is of later commits than there are."""
    for first in (0, 6):
        more(log, first)
    mirrored(loop)
    log.place.remove("flights/commits/000000002.json")

    with pytest.raises(LakeFault, match=r"mirrors commit 2, and the lake's newest is 1"):
        mirrored(loop)


def test_a_file_that_is_gone_or_shorter_is_not_mirrored(log: Log, loop: Feedback) -> None:
    """Readers would meet it."""
    more(log, 0)
    file = log.newest().table("decisions")[0]
    path = Path(log.place.name) / file.path
    whole = path.read_bytes()

    path.write_bytes(whole[:-1])
    with pytest.raises(LakeFault, match="bytes; the commit that made it says"):
        mirrored(loop)
    path.write_bytes(whole[:-8] + b"\0" * 8)
    with pytest.raises(LakeFault, match="damaged"):
        mirrored(loop)
    path.unlink()
    with pytest.raises(LakeFault, match="No such file"):
        mirrored(loop)

    path.write_bytes(whole)
    mirrored(loop)
    same(log)


def test_a_folder_with_a_space_is_found(tmp_path: Path) -> None:
    """A url of it is made, and % is refused: the library decodes it in some places only."""
    loop = delta_loop(tmp_path, "a lake")
    more(log_of(loop), 0)
    mirrored(loop)
    same(log_of(loop))

    odd = Lake(directory=tmp_path / "50%20lake", delta=True)
    with pytest.raises(LakeFault, match="below a path with a %"):
        mirror(log_of(loop), odd, nowhere)


def test_a_folder_that_cannot_be_written_is_said(log: Log, loop: Feedback) -> None:
    """A file is where the log should be."""
    more(log, 0)
    (folder(log) / "_delta_log").write_text("in the way")

    with pytest.raises(LakeFault, match="The lake is as it was"):
        mirrored(loop)


@pytest.mark.parametrize("url", ["gs://bucket/lake", "abfs://c@a/lake", "memory://lake"])
def test_other_stores_are_refused_when_the_topology_is_read(url: str) -> None:
    """Nobody has tried them."""
    assert not Lake.model_validate({"url": url}).delta
    with pytest.raises(ValidationError, match=r"`delta` is for a `directory`, .* s3://"):
        Lake.model_validate({"url": url, "delta": True})


def test_options_of_the_lake_become_those_of_the_library() -> None:
    """One that has no counterpart is refused: it may be how the store is reached."""
    options = {"key": "k", "secret": "s", "token": "t", "endpoint_url": "http://minio:9000"}
    lake = Lake.model_validate(
        {"url": "s3://bucket/lake", "options": options, "timeout": "500ms", "delta": True}
    )

    assert storage_options(lake) == {
        "aws_access_key_id": "k",
        "aws_secret_access_key": "s",
        "aws_session_token": "t",
        "aws_endpoint_url": "http://minio:9000",
        "aws_allow_http": "true",
        "aws_conditional_put": "etag",
        "timeout": "120000ms",
        "connect_timeout": "500ms",
        "retry_timeout": "120000ms",
    }
    plain = Lake.model_validate({"url": "s3://bucket/lake", "options": {"anon": True}})
    assert storage_options(plain)["aws_skip_signature"] == "true"
    assert "aws_allow_http" not in storage_options(plain)
    strange = Lake.model_validate({"url": "s3://bucket/lake", "options": {"profile": "me"}})
    with pytest.raises(LakeFault, match="instead of `profile` use AWS's own variables"):
        storage_options(strange)
    assert storage_options(Lake.model_validate({"url": "file:///tmp/lake"})) == {}


def test_without_the_extra_the_error_names_it(
    log: Log, loop: Feedback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is written."""
    more(log, 0)
    for name in ("tables", "changes", "columns"):
        monkeypatch.delitem(sys.modules, f"workers.feedback.lake.delta.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "deltalake", None)

    with pytest.raises(LakeFault, match=r"pip install 'enrichment-workers\[delta\]'"):
        mirrored(loop)

    assert not (folder(log) / "_delta_log").exists()
