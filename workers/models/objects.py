"""Models in an object store, by fsspec.

    s3://bucket/models/flight-delay/1/…                       a bundle, its manifest written last
    s3://bucket/models/flight-delay/aliases/000000012.json    what serves; the highest number counts

Each change writes the next number with an exclusive create, so that of two writers in the same
instant one is refused and tries again on top of the other. Who reads sees whole documents; none is
ever changed or removed, so they may lie under a retention lock. This holds where the store refuses
to write over an object:

- `s3`: PutObject with If-None-Match, s3fs 2024.10 or newer. AWS has it since August 2024; whether
  another server has it is tried before each change, and without it nothing is changed.
- `gs`: ifGenerationMatch=0 (gcsfs). `abfs`, `az`: If-None-Match (adlfs).
- `memory`: among the threads that share one store object.
- Others (`http`, `sftp`, …): fsspec looks first and writes then, which can lose a change. They are
  read, never written.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from workers.errors import ModelError, StoreUnwell
from workers.models.aliases import MAX_DOCUMENT, Aliases, Make, parse
from workers.models.bundle import MANIFEST
from workers.models.deadline import Deadline
from workers.models.shelf import exists_already, manifest_last

EXCLUSIVE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})
"""Protocols that can refuse to write over an object in one step."""
MAX_TRIES = 100
"""Times that a change begins anew because another writer was first."""
_REVISION = re.compile(r"(\d{9})\.json")
T = TypeVar("T")


class _Stored(Aliases):
    """A document that no other writer has written as well."""

    written: str


class Objects:
    """One file system of fsspec; every call has an end, every error is one of ours."""

    def __init__(
        self, system: Any, place: str, *, timeout: float, transfer: float, secrets: tuple[str, ...]
    ) -> None:
        self.system = system
        self.place = place
        self._transfer = transfer
        self._secrets = secrets
        self._deadline = Deadline(timeout, place)

    def ask(self, call: Callable[[], T], *, transfer: bool = False) -> T:
        """What the call returns; only FileNotFoundError and FileExistsError pass.

        Raises:
            StoreUnwell: anything else, or no answer in time.
        """
        try:
            return self._deadline.run(call, self._transfer if transfer else None)
        except (FileNotFoundError, FileExistsError, ModelError):
            raise
        except NotImplementedError as error:
            raise ModelError(f"{self.place}: this kind of store cannot do that") from error
        except Exception as error:
            raise StoreUnwell(f"{self.place}: {self._reason(error)}") from error

    def read(self, path: str, limit: int) -> bytes:
        """The bytes of an object.

        Raises:
            FileNotFoundError: there is none.
            ModelError: it is larger than `limit` bytes, or no object.
        """
        info = self.ask(lambda: self.system.info(path))
        size = info.get("size")
        if info.get("type") != "file":
            raise ModelError(f"{path}: not a plain file")
        if size is not None and size > limit:
            raise ModelError(f"{path}: {size} bytes, more than the {limit} declared")
        if size == 0:
            return b""
        # No further than what was declared, whatever the object is meanwhile.
        end = limit + 1 if size is None else size
        return bytes(self.ask(lambda: self.system.cat_file(path, start=0, end=end), transfer=True))

    def create(self, path: str, content: bytes) -> bool:
        """Write an object that must not be there; False where another one is.

        The same bytes are ours: an answer that was lost on its way is asked for again.
        """
        try:
            self.ask(lambda: self.system.pipe_file(path, content, mode="create"), transfer=True)
        except FileExistsError:
            return self.read(path, max(len(content), MAX_DOCUMENT)) == content
        return True

    def _reason(self, error: Exception) -> str:
        text = (str(error).splitlines() or [""])[0][:300]
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return f"{type(error).__name__}: {text}"


class ObjectFiles:
    """The files of a version."""

    def __init__(self, objects: Objects, folder: str) -> None:
        self._objects = objects
        self._folder = folder

    def read(self, file: str, limit: int) -> bytes:
        """The bytes of a file, its size looked at first."""
        try:
            return self._objects.read(f"{self._folder}/{file}", limit)
        except FileNotFoundError as error:
            raise ModelError(f"{self.place(file)}: there is no such file") from error

    def place(self, file: str) -> str:
        """The object's path."""
        return f"{self._folder}/{file}"


class ObjectShelf:
    """Models below a path of an object store."""

    def __init__(self, objects: Objects, root: str, *, writes: bool) -> None:
        """`writes`: does the store refuse to write over an object in one step?"""
        self._objects = objects
        self._root = root.rstrip("/")
        self._writes = writes
        self._turn = threading.Lock()

    @property
    def place(self) -> str:
        """The url, without options."""
        return self._objects.place

    def names(self) -> set[str]:
        """Models that have a version."""
        return {path.split("/")[-3] for path in self._manifests("*")}

    def versions(self, name: str) -> set[str]:
        """Versions of a model."""
        return {path.split("/")[-2] for path in self._manifests(name)}

    def files(self, name: str, version: str) -> ObjectFiles:
        """The files of a version."""
        return ObjectFiles(self._objects, f"{self._root}/{name}/{version}")

    def aliases(self, name: str) -> Aliases:
        """The document of the highest number; an empty one where there is none."""
        newest = self._newest(name)
        return Aliases() if newest is None else self._document(name, newest)

    def change(self, name: str, make: Make) -> Aliases:
        """Write the next number; begin anew where another writer was first."""
        self._may_write()
        with self._turn:
            self._begin(name)
            for _ in range(MAX_TRIES):
                newest = self._newest(name) or 0
                before = self._document(name, newest)
                self._refuses_overwriting(self._path(name, newest))
                made = make(before)
                if self._objects.create(self._path(name, newest + 1), _stored(made)):
                    return made
        raise StoreUnwell(f"{self.place}/{name}: other writers were first, {MAX_TRIES} times")

    def put(self, name: str, version: str, contents: Mapping[str, bytes]) -> None:
        """Add a version; files of an interrupted try are kept where they are the same."""
        self._may_write()
        for file, content in manifest_last(contents):
            path = f"{self._root}/{name}/{version}/{file}"
            if not self._objects.create(path, content):
                if file == MANIFEST:
                    raise exists_already(path)
                raise ModelError(
                    f"{path} exists and is another file: what an interrupted push of something "
                    "else has left; remove it, or choose another version"
                )

    def close(self) -> None:
        """Sessions end with the process."""

    def _begin(self, name: str) -> None:
        """Number 0 is the empty document: there is always one to hold the store to."""
        if self._newest(name) is None:
            self._objects.create(self._path(name, 0), _stored(Aliases()))

    def _newest(self, name: str) -> int | None:
        try:
            found = self._objects.ask(
                lambda: self._objects.system.ls(f"{self._root}/{name}/aliases", detail=False)
            )
        except FileNotFoundError:
            return None
        numbers = (_REVISION.fullmatch(path.rsplit("/", 1)[-1]) for path in found)
        return max((int(match[1]) for match in numbers if match), default=None)

    def _document(self, name: str, number: int) -> Aliases:
        path = self._path(name, number)
        try:
            found = parse(self._objects.read(path, MAX_DOCUMENT), path, _Stored)
        except FileNotFoundError as error:
            # It was listed.
            raise StoreUnwell(f"{path}: was there a moment ago") from error
        return Aliases.model_validate(found.model_dump(exclude={"written"}))

    def _refuses_overwriting(self, path: str) -> None:
        """Write an object over itself, which must fail.

        Raises:
            ModelError: it did not.
        """
        content = self._objects.read(path, MAX_DOCUMENT)
        system = self._objects.system
        try:
            self._objects.ask(lambda: system.pipe_file(path, content, mode="create"))
        except FileExistsError:
            return
        raise ModelError(
            f"{self.place}: the store writes over objects that it was told to create (S3 servers: "
            "If-None-Match), so that a change could be lost; nothing was changed"
        )

    def _may_write(self) -> None:
        if not self._writes:
            raise ModelError(
                f"{self.place}: this kind of store is only read, as it cannot refuse to write over "
                f"an object; those that are written are {', '.join(sorted(EXCLUSIVE))}, and folders"
            )

    def _path(self, name: str, number: int) -> str:
        return f"{self._root}/{name}/aliases/{number:09d}.json"

    def _manifests(self, name: str) -> list[str]:
        pattern = f"{self._root}/{name}/*/{MANIFEST}"
        try:
            return list(self._objects.ask(lambda: self._objects.system.glob(pattern)))
        except FileNotFoundError:
            return []


def _stored(document: Aliases) -> bytes:
    made = _Stored(**document.model_dump(), written=uuid.uuid4().hex)
    return made.model_dump_json(indent=1).encode() + b"\n"
