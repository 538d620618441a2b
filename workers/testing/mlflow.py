"""A real MLflow server for tests: tracking, model registry and artifacts in one process.

It runs in an environment of its own, which is made once below the user's cache directory (some
600 MB, from the package index): MLflow's packages would hold back ours.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from workers.testing.environments import environment
from workers.testing.kafka import free_port

VERSION = "3.17.2"
READY_SECONDS = 240.0
"""Importing MLflow takes half a minute on a busy machine, making its tables another."""


class NoMlflow(RuntimeError):  # noqa: N818  what there is, not an error of ours
    """The server did not get ready; has the end of its log."""


class RealMlflow:
    """A server on a free port of 127.0.0.1, with SQLite and artifacts in a temporary folder.

    Raises:
        NoEnvironment: its packages cannot be installed.
        NoMlflow: it did not get ready.
    """

    def __init__(self) -> None:
        # Theirs, with MLflow's own client.
        self.python = environment(f"mlflow-{VERSION}", [f"mlflow=={VERSION}"])
        self._folder = Path(tempfile.mkdtemp(prefix="mlflow-"))
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        """Start the server on the same port and files, and wait until it answers."""
        quiet = {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self.python), "-m", "mlflow", "server", "--workers", "1",
                    "--host", "127.0.0.1", "--port", str(self._port),
                    "--backend-store-uri", f"sqlite:///{self._folder}/registry.db",
                    "--artifacts-destination", str(self._folder / "artifacts"),
                ],
                stdout=log, stderr=log, cwd=self._folder, env={**os.environ, **quiet},
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                text = (self._folder / "server.log").read_text()[-2000:]
                self.stop()
                raise NoMlflow(f"the server was not ready in {READY_SECONDS:g} s: {text}")
            threading.Event().wait(0.2)

    def pause(self) -> None:
        """Let it accept connections and answer nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it answer again."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the process and the one that it has begun, and remove its files."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        # Its session is its own: the group is the server and its child.
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/health", timeout=2, trust_env=False).is_success
        except httpx2.HTTPError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.stop()
