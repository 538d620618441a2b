"""Versions on disk, so that a worker starts again while its registry is down.

One small JSON file a version, below a folder that stands for the registry's url and context. Files
are written whole or not at all, so that several processes may share them, and are held to their
SHA-256 when read. The cache helps; it is never needed: a full or read-only disk costs a warning.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workers.contracts.catalogue import Registered
from workers.contracts.schema import SchemaLimits, parse
from workers.errors import ContractError

FORMAT = 1
MAX_FILE = 4 * 1024**2


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: int
    subject: str
    version: int = Field(ge=1)
    id: int | None
    guid: str | None
    schema_text: str

    def registered(self, limits: SchemaLimits | None, where: str) -> Registered:
        guid = uuid.UUID(hex=self.guid).bytes if self.guid else None
        schema = parse(self.schema_text, where=where, limits=limits)
        return Registered(self.subject, self.version, self.id, schema, guid)


class DiskCache:
    """The versions of one registry and context. Nothing here raises; what went wrong is returned.

    `folder` is the place of this registry's files, see `cache_folder`.
    """

    def __init__(self, folder: Path, limits: SchemaLimits | None = None) -> None:
        self.folder = folder
        self._limits = limits

    def read(self, subject: str) -> tuple[list[Registered], list[str]]:
        """Versions of a subject, and a warning for each damaged file, which is ignored."""
        found: list[Registered] = []
        warnings: list[str] = []
        try:
            files = sorted(self.folder.glob(f"{_prefix(subject)}-*.json"))
        except OSError as error:
            return [], [f"{self.folder}: cannot be read: {error.strerror}"]
        for file in files:
            try:
                entry = _unwrapped(file).registered(self._limits, str(file))
            except (OSError, ValueError, ContractError, RecursionError) as error:
                warnings.append(f"{file}: ignored: {_reason(error)}")
                continue
            if entry.subject == subject:
                found.append(entry)
        return found, warnings

    def write(self, entries: Iterable[Registered]) -> str | None:
        """Keep versions; a warning where that failed."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for entry in entries:
                _replace(self.folder / _name(entry), _wrapped(entry))
        except OSError as error:
            return (
                f"{self.folder}: versions are not kept: {error.strerror}; the worker goes on, but "
                "cannot start while its registry is down"
            )
        return None


def cache_folder(place: Path, url: str, context: str) -> Path:
    """Where the files of a registry's context are, below `place`."""
    key = hashlib.sha256(f"{url.rstrip('/')}\n{context}".encode()).hexdigest()[:32]
    return place / key


def _prefix(subject: str) -> str:
    # Subjects may hold what file names may not.
    return hashlib.sha256(subject.encode()).hexdigest()[:32]


def _name(entry: Registered) -> str:
    return f"{_prefix(entry.subject)}-{entry.version}.json"


def _wrapped(entry: Registered) -> bytes:
    kept = _Kept(
        format=FORMAT,
        subject=entry.subject,
        version=entry.version,
        id=entry.id,
        guid=entry.guid.hex() if entry.guid else None,
        schema_text=entry.schema.text,
    ).model_dump()
    return json.dumps({"sha256": _digest(kept), "kept": kept}).encode()


def _unwrapped(file: Path) -> _Kept:
    with file.open("rb") as opened:
        content = opened.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise ValueError("it is too large")
    wrapper = json.loads(content)
    kept = wrapper.get("kept") if isinstance(wrapper, dict) else None
    if not isinstance(kept, dict) or wrapper.get("sha256") != _digest(kept):
        raise ValueError("its content is not what was written")
    found = _Kept.model_validate(kept)
    if found.format != FORMAT:
        raise ValueError(f"its format is {found.format}, ours {FORMAT}")
    return found


def _digest(kept: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _replace(file: Path, content: bytes) -> None:
    # mkstemp makes files that only their owner may read (0600).
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
        Path(name).replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "its content has another shape"
    if isinstance(error, OSError):
        return error.strerror or "cannot be read"
    return str(error)
