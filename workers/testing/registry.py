"""A real schema registry for tests: Apicurio, which speaks Confluent's API.

In order: the one named by SCHEMA_REGISTRY_URL; else a process from Maven's archive, which needs
Java 17 and mvn and downloads 142 MB once. It keeps its schemas in memory: a restart empties it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from workers.testing.downloads import COMPLETE, kept
from workers.testing.kafka import free_port

VERSION = "2.6.13.Final"
READY_SECONDS = 90.0
API = "/apis/ccompat/v7"
_ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


class NoRegistry(RuntimeError):  # noqa: N818  what there is, not an error of ours
    """No way to a schema registry is open here; says what is missing."""


class RealRegistry:
    """A registry that somebody else runs, at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def stop(self) -> None:
        """It is not ours."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.stop()


class LocalRegistry(RealRegistry):
    """Apicurio in a Java process of ours, on a free port of 127.0.0.1, its schemas in memory.

    Raises:
        NoRegistry: Java or Maven is missing, the archive cannot be had, or it did not get ready.
    """

    def __init__(self, heap: str = "384m") -> None:
        self._home = _installed()
        self._heap = heap
        self._port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="registry-"))
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(f"http://127.0.0.1:{self._port}{API}")
        self.start()

    def start(self) -> None:
        """Start the process, empty, on the same port, and wait until it answers."""
        with (self._folder / "registry.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "java", f"-Xmx{self._heap}", "-XX:TieredStopAtLevel=1",
                    "-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self._port}",
                    "-jar", str(self._home / f"apicurio-registry-app-{VERSION}-runner.jar"),
                ],
                stdout=log, stderr=log, cwd=self._folder,
            )  # fmt: skip
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                text = (self._folder / "registry.log").read_text()[-2000:]
                self.stop()
                raise NoRegistry(f"the registry was not ready in {READY_SECONDS:g} s: {text}")
            threading.Event().wait(0.1)

    def kill(self) -> None:
        """End the process as a power cut would; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End the process and remove its files."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/subjects", timeout=2, trust_env=False).is_success
        except httpx2.HTTPError:
            return False


def real_registry() -> RealRegistry:
    """A registry by the first way that is open.

    Raises:
        NoRegistry: none is; says what is missing.
    """
    if url := os.environ.get("SCHEMA_REGISTRY_URL"):
        return RealRegistry(url)
    return LocalRegistry()


def _installed() -> Path:
    with kept(f"apicurio-{VERSION}") as home:
        if not (home / COMPLETE).exists():
            _fetch(home)
            (home / COMPLETE).touch()
    return home


def _fetch(home: Path) -> None:
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if missing:
        raise NoRegistry(
            "no schema registry: SCHEMA_REGISTRY_URL is not set, and "
            f"{' and '.join(missing)} is not installed (Java 17 and Maven would do)"
        )
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = ["mvn", "-q", "-B", _PLUGIN, f"-Dartifact={_ARTIFACT}"]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={folder}"], cwd=folder, capture_output=True, check=False
        )
        if done.returncode != 0:
            raise NoRegistry(f"Maven could not fetch Apicurio: {done.stdout[-2000:].decode()}")
        for archive in Path(folder).glob("*.tar.gz"):
            with tarfile.open(archive) as opened:
                opened.extractall(home, filter="data")
