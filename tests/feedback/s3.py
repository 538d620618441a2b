"""A process for the test of Delta tables on an S3 server; runs where s3fs is installed.

`python -m tests.feedback.s3 ENDPOINT FOLDER TASK …` does one after the other, and prints what
became of them as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from threading import Barrier
from typing import Any

from tests.feedback.lakes import DAY, HOUR, START, decision, fill
from workers.feedback.collect import nowhere
from workers.feedback.lake.commits import Log
from workers.feedback.lake.compact import clean, compact
from workers.feedback.lake.delta.mirror import mirror
from workers.feedback.lake.files import scan
from workers.feedback.lake.place import LakeFault, open_place
from workers.topology import Lake

OPTIONS = {"key": "testing", "secret": "testing"}
AT_ONCE = 4


def main(endpoint: str, folder: str, *tasks: str) -> None:
    """Do them to the lake."""
    document: dict[str, Any] = {
        "url": f"s3://bucket/{folder}",
        "options": {**OPTIONS, "endpoint_url": endpoint},
    }
    lake = Lake.model_validate({**document, "delta": True})
    log = Log(open_place(lake), "flights")

    def mirrored(_: int = 0) -> list[dict[str, Any]]:
        return [asdict(each) for each in mirror(log, lake, nowhere)]

    def at_once() -> list[list[dict[str, Any]]]:
        ready = Barrier(AT_ONCE)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda n: (ready.wait(), mirrored(n))[1], range(AT_ONCE)))

    known: dict[str, Callable[[], Any]] = {
        "fill": lambda: _fill(log),
        "compact": lambda: asdict(compact(log, START, nowhere)),
        "mirror": mirrored,
        "mirror at once": at_once,
        "mirror where nobody answers": lambda: _refused(log, document),
        "clean": lambda: clean(log, keep=1),
        "rows": lambda: _rows(log),
    }
    print(json.dumps([known[task]() for task in tasks]))


def _fill(log: Log) -> None:
    """Three days, a decision each; from the second time on with a column more."""
    first = log.newest().rows("decisions")
    later = {"later": 1.5} if first else {}
    fill(log, [decision(first + n, START + n * DAY + HOUR, **later) for n in range(3)])


def _refused(log: Log, document: dict[str, Any]) -> str:
    """What is said of a closed port; the secret is a word that the library's text has."""
    options = {"key": "testing", "secret": "127.0.0.1", "endpoint_url": "http://127.0.0.1:9"}
    lake = Lake.model_validate({**document, "options": options, "transfer_timeout": "1s"})
    try:
        mirror(log, lake, nowhere)
    except LakeFault as fault:
        return str(fault)
    raise AssertionError("somebody answered")


def _rows(log: Log) -> list[str]:
    found = scan(log.place, log.newest().table("decisions"))
    assert found is not None
    return found.collect().sort("record_offset")["decision_id"].to_list()


if __name__ == "__main__":
    main(*sys.argv[1:])
