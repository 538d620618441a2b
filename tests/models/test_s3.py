"""An S3 server and s3fs, both real: processes that change what serves at the same time."""

from __future__ import annotations

import json
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.models.s3 import CHANGES
from workers.testing.environments import environment
from workers.testing.kafka import free_port

WRITERS = 3
PACKAGES = ["fsspec==2026.9.0", "s3fs==2026.9.0", "moto[server]==5.2.5"]
"""In an environment of their own: botocore holds back python-dateutil."""
READY = """
import sys, urllib.request
for path, method in (("/moto-api/", "GET"), ("/bucket", "PUT")):
    urllib.request.urlopen(urllib.request.Request(sys.argv[1] + path, method=method), timeout=5)
"""


@pytest.fixture(scope="module")
def python() -> Path:
    """An interpreter that has them, and behind them what we have."""
    found = environment("s3-2026.9.0", PACKAGES)
    folder = next((found.parents[1] / "lib").glob("python*")) / "site-packages"
    (folder / "ours.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    return found


@pytest.fixture(scope="module")
def endpoint(python: Path) -> Iterator[str]:
    """The server, with one bucket."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(python), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            asked = [str(python), "-c", READY, url]
            begun = time.monotonic()
            while subprocess.run(asked, check=False, capture_output=True).returncode != 0:
                assert process.poll() is None, "the S3 server ended"
                assert time.monotonic() - begun < 120, "the S3 server does not answer"
            yield url
        finally:
            process.kill()


def together(python: Path, endpoint: str, tasks: list[str]) -> list[bytes]:
    """What processes print that run at the same time; all of them end well."""
    command = [str(python), "-m", "tests.models.s3", "s3://bucket/models", endpoint]
    begun = [
        subprocess.Popen([*command, task], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
        for task in tasks
    ]
    ended = [process.communicate(timeout=200) for process in begun]
    faults = [err.decode()[-2000:] for _, err in ended]
    assert [process.returncode for process in begun] == [0] * len(tasks), faults
    return [out for out, _ in ended]


@pytest.mark.slow
def test_processes_that_change_a_bucket_at_once_lose_nothing(python: Path, endpoint: str) -> None:
    """If-None-Match decides who is first; the document has every change of all of them."""
    for tasks in (["fill"], ["write"] * WRITERS):
        assert together(python, endpoint, tasks) == [b""] * len(tasks)

    document = json.loads(together(python, endpoint, ["read"])[0])
    assert document["revision"] == len(document["history"]) == 1 + WRITERS * CHANGES
    assert (document["champion"], document["previous"]) == ("2", "1")
