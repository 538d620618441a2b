"""Where the bytes of a bundle come from; `bundle` says what is checked of them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Protocol

from workers.errors import ModelError, StoreUnwell


class Files(Protocol):
    """The files of one version, wherever they lie."""

    def read(self, file: str, limit: int) -> bytes:
        """The bytes of a file; `limit` is looked at before they are read.

        Raises:
            ModelError: there is no such file, or it is larger than `limit` bytes.
            StoreUnwell: nobody can say now.
        """
        ...

    def place(self, file: str) -> str:
        """Where the file is, for messages."""
        ...


class LocalFiles:
    """The files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, file: str, limit: int) -> bytes:
        """The bytes of a plain file; O_NONBLOCK, so that a FIFO cannot hold us."""
        path = self._folder / file
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise cause(error)(f"{path}: {error.strerror}") from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ModelError(f"{path}: not a plain file")
            if status.st_size > limit:
                raise ModelError(f"{path}: {status.st_size} bytes, more than the {limit} declared")
            with os.fdopen(descriptor, "rb", closefd=False) as opened:
                return opened.read(limit + 1)
        except OSError as error:
            raise cause(error)(f"{path}: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def place(self, file: str) -> str:
        """The file's path."""
        return str(self._folder / file)


class Copied:
    """Files that keep what was read of them: what was checked is what is copied."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.contents: dict[str, bytes] = {}

    def read(self, file: str, limit: int) -> bytes:
        """The bytes, kept."""
        content = self._files.read(file, limit)
        self.contents[file] = content
        return content

    def place(self, file: str) -> str:
        """Where the file is, for messages."""
        return self._files.place(file)


def cause(error: OSError) -> type[ModelError]:
    """A file that is not there is a fault of the bundle; a disk that fails is the store's."""
    known = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENXIO)
    return ModelError if error.errno in known else StoreUnwell
