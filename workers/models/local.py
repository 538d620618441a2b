"""Models below one directory.

    models/flight-delay/1/…             a bundle
    models/flight-delay/aliases.json    what serves

The document is replaced whole (write, fsync, rename), so a reader sees the old one or the new one;
writers of one host take turns (flock). Over NFS flock holds from version 4 on. A version is made
beside its place and moved there.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from workers.errors import ModelError
from workers.models.aliases import MAX_DOCUMENT, Aliases, Make, parse
from workers.models.bundle import MANIFEST
from workers.models.files import LocalFiles
from workers.models.shelf import exists_already, manifest_last

ALIASES = "aliases.json"


class LocalShelf:
    """A directory with a folder a model, and in it a folder a version."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def place(self) -> str:
        """The directory."""
        return str(self.root)

    def names(self) -> set[str]:
        """Models that have a version."""
        return {found.parent.parent.name for found in self._manifests("*")}

    def versions(self, name: str) -> set[str]:
        """Versions of a model."""
        return {found.parent.name for found in self._manifests(name)}

    def files(self, name: str, version: str) -> LocalFiles:
        """The files of a version."""
        return LocalFiles(self.root / name / version)

    def aliases(self, name: str) -> Aliases:
        """The model's document; an empty one where there is none."""
        files = LocalFiles(self.root / name)
        try:
            content = files.read(ALIASES, MAX_DOCUMENT)
        except ModelError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return Aliases()
            raise
        return parse(content, files.place(ALIASES), Aliases)

    def change(self, name: str, make: Make) -> Aliases:
        """Replace the document by what `make` makes of it."""
        folder = self.root / name
        try:
            with _alone(folder):
                made = make(self.aliases(name))
                _replace(folder / ALIASES, made.model_dump_json(indent=1).encode() + b"\n")
        except OSError as error:
            raise ModelError(f"{folder / ALIASES}: cannot be written: {error.strerror}") from error
        return made

    def put(self, name: str, version: str, contents: Mapping[str, bytes]) -> None:
        """Add a version by a rename."""
        target = self.root / name / version
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".put-") as made:
                staged = Path(made) / "bundle"
                staged.mkdir()
                for file, content in manifest_last(contents):
                    _write(staged / file, content)
                # Refused by the system where the target has files already.
                staged.rename(target)
        except OSError as error:
            if target.exists():
                raise exists_already(str(target)) from error
            raise ModelError(f"{target}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Nothing is open."""

    def _manifests(self, name: str) -> Iterator[Path]:
        return self.root.glob(f"{name}/*/{MANIFEST}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One writer at a time on this host; the lock goes with the process that holds it."""
    with (folder / f".{ALIASES}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _replace(file: Path, content: bytes) -> None:
    descriptor, made = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    os.close(descriptor)
    _write(Path(made), content)
    Path(made).chmod(0o644)
    Path(made).replace(file)


def _write(file: Path, content: bytes) -> None:
    with file.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
