"""One store of each kind, and how to do to it what only its own people can."""

from __future__ import annotations

import datetime
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fsspec.implementations.memory import MemoryFileSystem

from tests.conftest import ROOT
from workers.models.bundle import MANIFEST, Manifest
from workers.models.local import ALIASES, LocalShelf
from workers.models.mlflow import SERVING_TAG, VERSION_TAG, MlflowShelf
from workers.models.mlflow_http import MlflowHttp
from workers.models.objects import Objects, ObjectShelf
from workers.models.opening import open_store
from workers.models.shelf import Shelf
from workers.models.store import Change, Fetched, Store
from workers.topology import MlflowPlace, ModelsPlace

DEMO = "flight-delay"


class Interrupted(Exception):  # noqa: N818  what happens, to no fault of the store
    """The push ended here."""


class Kind(Protocol):
    """A kind of store."""

    @property
    def models(self) -> dict[str, Any]:
        """The topology's `models`."""
        ...

    def open(self) -> Store:
        """The same store, as another process opens it."""
        ...

    def interrupting(self) -> Shelf:
        """The same, where writing a manifest is interrupted."""
        ...

    def overwrite(self, name: str, version: str, file: str, content: bytes) -> None:
        """Write over a file behind the store's back."""
        ...

    def break_document(self, name: str) -> None:
        """Damage what says what serves."""
        ...


@dataclass(frozen=True)
class Directory:
    """A folder."""

    root: Path

    @property
    def models(self) -> dict[str, Any]:
        """Its path."""
        return {"directory": str(self.root)}

    def open(self) -> Store:
        """Opened anew."""
        return open_store(ModelsPlace.model_validate(self.models))

    def interrupting(self) -> Shelf:
        """A file before the manifest has no folder to be in."""

        class Shelf(LocalShelf):
            def put(self, name: str, version: str, contents: Mapping[str, bytes]) -> None:
                super().put(name, version, {**contents, "no/folder": b""})

        return Shelf(self.root)

    def overwrite(self, name: str, version: str, file: str, content: bytes) -> None:
        """Write the file."""
        (self.root / name / version / file).write_bytes(content)

    def break_document(self, name: str) -> None:
        """Cut it."""
        (self.root / name / ALIASES).write_text('{"format": 1, "rev')


@dataclass(frozen=True)
class Memory:
    """Objects of this process."""

    url: str

    @property
    def models(self) -> dict[str, Any]:
        """Its url."""
        return {"url": self.url}

    def open(self) -> Store:
        """Opened anew."""
        return open_store(ModelsPlace.model_validate(self.models))

    def interrupting(self) -> Shelf:
        """Writing a manifest fails."""

        class System(MemoryFileSystem):  # type: ignore[misc]
            def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:
                if path.endswith(MANIFEST):
                    raise Interrupted
                super().pipe_file(path, value, mode=mode)

        system = System(skip_instance_cache=True)
        objects = Objects(system, self.url, timeout=10, transfer=10, secrets=())
        return ObjectShelf(objects, self._path, writes=True)

    def overwrite(self, name: str, version: str, file: str, content: bytes) -> None:
        """Write the object."""
        MemoryFileSystem().pipe_file(f"{self._path}/{name}/{version}/{file}", content)

    def break_document(self, name: str) -> None:
        """The newest one is cut."""
        MemoryFileSystem().pipe_file(f"{self._path}/{name}/aliases/000000999.json", b'{"format')

    @property
    def _path(self) -> str:
        return self.url.removeprefix("memory:/")


@dataclass(frozen=True)
class Registry:
    """A registry of MLflow."""

    url: str
    timeout: str = "10s"
    broken: list[str] = field(default_factory=list)

    @property
    def models(self) -> dict[str, Any]:
        """Its url."""
        place = {"mlflow": {"url": self.url}}
        return {**place, "timeout": self.timeout, "transfer_timeout": self.timeout}

    def open(self) -> Store:
        """Opened anew."""
        return open_store(ModelsPlace.model_validate(self.models))

    def interrupting(self) -> Shelf:
        """Uploading a manifest fails."""

        class Http(MlflowHttp):
            def upload(self, path: str, content: bytes) -> None:
                if path.endswith(MANIFEST):
                    raise Interrupted
                super().upload(path, content)

        place = MlflowPlace.model_validate({"url": self.url})
        return MlflowShelf(Http(place, timeout=10, transfer=10), "enrichment-workers")

    def http(self) -> MlflowHttp:
        """Its endpoints."""
        place = MlflowPlace.model_validate({"url": self.url})
        return MlflowHttp(place, timeout=10, transfer=10)

    def overwrite(self, name: str, version: str, file: str, content: bytes) -> None:
        """Upload the artifact again."""
        http = self.http()
        source = next(v.source for v in http.versions(name) if v.tag(VERSION_TAG) == version)
        http.upload(f"{source.removeprefix('mlflow-artifacts:/')}/{file}", content)

    def break_document(self, name: str) -> None:
        """Cut the tag."""
        self.broken.append(name)
        self.http().set_tag(name, SERVING_TAG, '{"format')

    def clear(self) -> None:
        """Others list the models of this server too."""
        for name in self.broken:
            self.http().unregister(name)


def shipped(name: str, version: str) -> Fetched:
    """The demo's model under another name and version, its bytes otherwise the same."""
    fetched = Store(ROOT / "models").fetch(DEMO, "1")
    document = json.loads(fetched.contents[MANIFEST]) | {"name": name, "version": version}
    content = (json.dumps(document, indent=2) + "\n").encode()
    manifest = Manifest.model_validate_json(content)
    bundle = type(fetched.bundle)(manifest, fetched.bundle.booster, fetched.bundle.golden)
    return Fetched(bundle, {**fetched.contents, MANIFEST: content})


def digests(fetched: Fetched) -> dict[str, str]:
    """SHA-256 of the files by name."""
    return {file: hashlib.sha256(c).hexdigest() for file, c in fetched.contents.items()}


def fresh() -> str:
    """A model's name that nobody used before: the registry may be shared."""
    return f"model-{uuid.uuid4().hex[:12]}"


def why(did: str = "promote") -> Change:
    """Somebody, for a reason, always at the same time."""
    when = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return Change(when=when, who="me", why="a test", did=did)
