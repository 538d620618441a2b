"""An S3 server and s3fs, both real, and processes that use them."""

from __future__ import annotations

import subprocess
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from workers.testing.environments import environment
from workers.testing.kafka import free_port

ROOT = Path(__file__).parents[1]
PACKAGES = ["fsspec==2026.9.0", "s3fs==2026.9.0", "moto[server]==5.2.5"]
"""In an environment of their own: botocore holds back python-dateutil."""
READY = """
import sys, urllib.request
for path, method in (("/moto-api/", "GET"), ("/bucket", "PUT")):
    urllib.request.urlopen(urllib.request.Request(sys.argv[1] + path, method=method), timeout=5)
"""


@dataclass(frozen=True, slots=True)
class S3Server:
    """A server at `endpoint` with one bucket, and an interpreter that has s3fs and what we have."""

    python: Path
    endpoint: str

    def together(self, commands: Sequence[Sequence[str]]) -> list[bytes]:
        """What processes print that run at the same time; all of them end well."""
        begun = [
            subprocess.Popen(
                [str(self.python), "-m", *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=ROOT,
            )
            for command in commands
        ]
        ended = [process.communicate(timeout=200) for process in begun]
        faults = [err.decode()[-2000:] for _, err in ended]
        assert [process.returncode for process in begun] == [0] * len(commands), faults
        return [out for out, _ in ended]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """The server, until the end of the block."""
    python = environment("s3-2026.9.0", PACKAGES)
    folder = next((python.parents[1] / "lib").glob("python*")) / "site-packages"
    (folder / "ours.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
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
            yield S3Server(python, url)
        finally:
            process.kill()
