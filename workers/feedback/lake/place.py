"""Where files lie: a directory or an object store. Files are made whole, once, and never changed.

`create` refuses a name that is taken, in one step: of two writers in the same instant one is told.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
import weakref
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from workers.errors import Halt, ModelError
from workers.models.objects import EXCLUSIVE, Objects
from workers.models.opening import LOCAL, open_objects
from workers.topology import Lake

MAX_DOCUMENT = 256 * 1024**2


class LakeFault(Halt):
    """The lake cannot be used, or a file of it is not what its document says."""


class Place(Protocol):
    """Names are paths below the place, with slashes."""

    @property
    def name(self) -> str:
        """For messages; no credentials."""
        ...

    def create(self, path: str, content: bytes) -> bool:
        """Write a file that must not be there; False where another one is."""
        ...

    def read(self, path: str) -> bytes:
        """The bytes of a file.

        Raises:
            FileNotFoundError: there is none.
        """
        ...

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted; empty where there is no such folder."""
        ...

    def below(self, folder: str) -> list[str]:
        """Paths of all files below a folder."""
        ...

    def remove(self, path: str) -> None:
        """Take a file away; nothing where it is gone."""
        ...

    def local(self, path: str, size: int) -> Path:
        """A file of this machine with those bytes, `size` of them."""
        ...

    def end(self, path: str, size: int, count: int) -> bytes:
        """The last `count` bytes, or all, of a file of `size` bytes.

        Raises:
            LakeFault: it is gone, or has another size.
        """
        ...

    def url(self, path: str) -> str:
        """Where programs beside this one find it; no credentials."""
        ...


class Folder:
    """A directory of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def name(self) -> str:
        """The directory."""
        return str(self._root)

    def create(self, path: str, content: bytes) -> bool:
        """Written beside its place, then linked to it: whole or not at all, over nothing."""
        target = self._root / path
        made = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with made.open("wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
            os.link(made, target)
            _sync(target.parent)
        except FileExistsError:
            return False
        except OSError as error:
            raise LakeFault(f"{target}: cannot be written: {error.strerror}") from error
        finally:
            made.unlink(missing_ok=True)
        return True

    def read(self, path: str) -> bytes:
        """The bytes of a file."""
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise LakeFault(f"{self._root / path}: {error.strerror}") from error

    def names(self, folder: str) -> list[str]:
        """Without those that are being made."""
        place = self._root / folder
        if not place.is_dir():
            return []
        return sorted(f.name for f in place.iterdir() if f.is_file() and f.name[0] != ".")

    def below(self, folder: str) -> list[str]:
        """Those that are being made, or were when a process ended, too."""
        return sorted(
            str(f.relative_to(self._root)) for f in (self._root / folder).rglob("*") if f.is_file()
        )

    def remove(self, path: str) -> None:
        """Take a file away."""
        (self._root / path).unlink(missing_ok=True)

    def local(self, path: str, size: int) -> Path:
        """The file itself."""
        found = self._root / path
        try:
            seen = found.stat().st_size
        except OSError as error:
            raise LakeFault(f"{found}: {error.strerror}") from error
        if seen != size:
            raise LakeFault(f"{found}: {seen} bytes; the commit that made it says {size}")
        return found

    def end(self, path: str, size: int, count: int) -> bytes:
        """Read from behind."""
        with self.local(path, size).open("rb") as opened:
            opened.seek(max(size - count, 0))
            return opened.read()

    def url(self, path: str) -> str:
        """As file://."""
        return (self._root / path).absolute().as_uri()


class Bucket:
    """A path of an object store; files that are scanned are copied to this machine once."""

    def __init__(self, objects: Objects, root: str) -> None:
        self._objects = objects
        self._root = root.rstrip("/")
        self._copies: Path | None = None

    @property
    def name(self) -> str:
        """The url."""
        return self._objects.place

    def create(self, path: str, content: bytes) -> bool:
        """The store refuses to write over an object."""
        return self._objects.create(f"{self._root}/{path}", content)

    def read(self, path: str) -> bytes:
        """The bytes of an object."""
        return self._objects.read(f"{self._root}/{path}", MAX_DOCUMENT)

    def names(self, folder: str) -> list[str]:
        """As the store lists them."""
        system = self._objects.system
        try:
            found = self._objects.ask(lambda: system.ls(f"{self._root}/{folder}", detail=False))
        except FileNotFoundError:
            return []
        return sorted(each.rsplit("/", 1)[-1] for each in found)

    def below(self, folder: str) -> list[str]:
        """As the store lists them."""
        system, top = self._objects.system, f"{self._root}/{folder}"
        try:
            found = self._objects.ask(lambda: system.find(top))
        except FileNotFoundError:
            return []
        return sorted(each[each.index(self._root) + len(self._root) + 1 :] for each in found)

    def remove(self, path: str) -> None:
        """Take an object away."""
        try:
            self._objects.ask(lambda: self._objects.system.rm_file(f"{self._root}/{path}"))
        except FileNotFoundError:
            return

    def local(self, path: str, size: int) -> Path:
        """A copy; files never change, so one is enough."""
        if self._copies is None:
            self._copies = Path(tempfile.mkdtemp(prefix="lake-"))
            # Gone with this place, at the latest with the process.
            weakref.finalize(self, shutil.rmtree, self._copies, ignore_errors=True)
        copy = self._copies / path
        if not copy.exists():
            content = self._objects.read(f"{self._root}/{path}", size)
            if len(content) != size:
                raise LakeFault(f"{path}: {len(content)} bytes; the commit says {size}")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
        return copy

    def end(self, path: str, size: int, count: int) -> bytes:
        """A range of the object, and no copy."""
        system, where, start = self._objects.system, f"{self._root}/{path}", max(size - count, 0)
        try:
            seen = self._objects.ask(lambda: system.info(where)).get("size")
            if seen == size:
                return bytes(
                    self._objects.ask(lambda: system.cat_file(where, start=start, end=size))
                )
        except FileNotFoundError as error:
            raise LakeFault(f"{path}: there is no such object") from error
        raise LakeFault(f"{path}: {seen} bytes; the commit that made it says {size}")

    def url(self, path: str) -> str:
        """Below the lake's own url."""
        return f"{self._objects.place.rstrip('/')}/{path}"


def open_place(lake: Lake) -> Place:
    """The place of a topology's lake; nothing is asked of it yet.

    Raises:
        LakeFault: the store cannot refuse to write over an object: no commit can do without.
    """
    if lake.directory is not None:
        return Folder(lake.directory)
    url = str(lake.url)
    scheme = urlsplit(url).scheme
    if scheme in LOCAL:
        return Folder(Path(urlsplit(url).path))
    if scheme not in EXCLUSIVE:
        raise LakeFault(
            f"{url}: this kind of store cannot refuse to write over an object, so that two "
            "collectors could lose what the other has; those that can: "
            f"{', '.join(sorted(EXCLUSIVE))}"
        )
    try:
        return Bucket(*open_objects(lake, url))
    except ModelError as error:
        raise LakeFault(f"feedback.lake: {error}") from error


def _sync(folder: Path) -> None:
    """So that the name is on the disk as well as the bytes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
