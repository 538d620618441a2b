"""An S3 server and s3fs, both real: processes that change what serves at the same time."""

from __future__ import annotations

import json

import pytest

from tests.models.s3 import CHANGES
from tests.s3server import S3Server

WRITERS = 3


def together(s3: S3Server, tasks: list[str]) -> list[bytes]:
    """What processes print that run at the same time."""
    command = ["tests.models.s3", "s3://bucket/models", s3.endpoint]
    return s3.together([[*command, task] for task in tasks])


@pytest.mark.slow
def test_processes_that_change_a_bucket_at_once_lose_nothing(s3: S3Server) -> None:
    """If-None-Match decides who is first; the document has every change of all of them."""
    for tasks in (["fill"], ["write"] * WRITERS):
        assert together(s3, tasks) == [b""] * len(tasks)

    document = json.loads(together(s3, ["read"])[0])
    assert document["revision"] == len(document["history"]) == 1 + WRITERS * CHANGES
    assert (document["champion"], document["previous"]) == ("2", "1")
