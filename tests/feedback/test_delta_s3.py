"""Delta tables on an S3 server: If-None-Match decides which of two mirrors is first."""

from __future__ import annotations

import json
import uuid
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, QueryBuilder

from tests.feedback.s3 import AT_ONCE, OPTIONS
from tests.s3server import S3Server

pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> str:
    """A lake of each test's own."""
    return f"lake-{uuid.uuid4().hex}"


def done(s3: S3Server, folder: str, *tasks: str) -> list[Any]:
    """What became of tasks that a process did one after the other."""
    (out,) = s3.together([["tests.feedback.s3", s3.endpoint, folder, *tasks]])
    found: list[Any] = json.loads(out)
    return found


def table(s3: S3Server, folder: str) -> DeltaTable:
    """The Delta table, opened by another process than its writer's."""
    options = {
        "aws_access_key_id": OPTIONS["key"],
        "aws_secret_access_key": OPTIONS["secret"],
        "aws_endpoint_url": s3.endpoint,
        "aws_allow_http": "true",
    }
    return DeltaTable(f"s3://bucket/{folder}/flights/decisions", storage_options=options)


def read(s3: S3Server, folder: str) -> pl.DataFrame:
    """Its rows."""
    query = "select * from t order by record_offset"
    return pl.DataFrame(QueryBuilder().register("t", table(s3, folder)).execute(query))


def test_rows_are_those_of_the_lake(s3: S3Server, folder: str) -> None:
    """First; then with more and a new column, compacted and cleaned."""
    _, (first,), rows = done(s3, folder, "fill", "mirror", "rows")

    assert (first["version"], first["commit"], first["added"]) == (0, 1, 3)
    assert read(s3, folder)["decision_id"].to_list() == rows
    _, _, (made,), removed, rows = done(s3, folder, "fill", "compact", "mirror", "clean", "rows")
    assert (made["commit"], made["added"], made["removed"], made["columns"]) == (3, 3, 3, ["later"])
    assert removed == 6
    seen = read(s3, folder)
    assert seen["decision_id"].to_list() == rows
    assert seen["later"].to_list() == [None] * 3 + [1.5] * 3
    assert seen["day"].n_unique() == 3


def test_a_store_that_does_not_answer_is_said_without_secrets(s3: S3Server, folder: str) -> None:
    """With the table's place and what went wrong, in one line."""
    _, said = done(s3, folder, "fill", "mirror where nobody answers")

    assert said.startswith(f"s3://bucket/{folder}/flights/decisions: ")
    assert "http://***:9/" in said
    assert "Connection refused" in said
    assert "The lake is as it was" in said
    assert "127.0.0.1" not in said
    assert said.isprintable()


def test_of_mirrors_at_once_each_entry_is_of_one(s3: S3Server, folder: str) -> None:
    """The others are refused by the store, look anew and find it done."""
    _, first, _, then = done(s3, folder, "fill", "mirror at once", "fill", "mirror at once")

    assert [[each["commit"] for each in made] for made in first] == [[1]] * AT_ONCE
    assert [[each["commit"] for each in made] for made in then] == [[2]] * AT_ONCE
    assert read(s3, folder).height == 6
    # The table, the new column, the files.
    assert table(s3, folder).version() == 2
    assert table(s3, folder).transaction_version("enrichment-workers") == 2
