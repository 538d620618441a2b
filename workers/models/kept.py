"""What a worker has proven last, kept in a directory, so that it starts while its store is down.

The directory is a store itself (`workers models list` reads it): its aliases stand for the versions
that were proven last under them, its bypass is the one seen last. What comes from it is proven
again, as everything that is loaded.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from workers.errors import ModelError, StoreUnwell
from workers.models.aliases import Alias, Aliases
from workers.models.bundle import MANIFEST
from workers.models.shelf import Shelf
from workers.models.store import Fetched, Store

KEEP = 5
"""Versions of a model, besides those that aliases stand for."""


class KeptStore(Store):
    """A store with a directory beside it; `tell` is given what could not be kept."""

    def __init__(self, shelf: Shelf | Path, folder: Path, tell: Callable[[str], None]) -> None:
        super().__init__(shelf)
        self._folder = folder
        self._kept = Store(folder)
        self._tell = tell
        self._seen: dict[str, Aliases] = {}

    def aliases(self, name: str) -> Aliases:
        """The model's document, its bypass and pauses kept."""
        found = super().aliases(name)
        said = {"bypass": found.bypass, "pauses": found.pauses}
        seen = self._seen.get(name)
        if seen is None or {"bypass": seen.bypass, "pauses": seen.pauses} != said:
            self._write(name, lambda before: before.model_copy(update=said))
        self._seen[name] = found
        return found

    def served(self, name: str, alias: Alias) -> str | None:
        """The version of an alias; while the store is down the one proven last."""
        try:
            return super().served(name, alias)
        except StoreUnwell:
            if (kept := self._kept.aliases(name).version(alias)) is None:
                raise
            return kept

    def fetch(self, name: str, version: str) -> Fetched:
        """A version; while the store is down the one that is kept."""
        try:
            return super().fetch(name, version)
        except StoreUnwell:
            if version not in self._kept.versions(name):
                raise
            return self._kept.fetch(name, version)

    def recall(self, name: str) -> Aliases | None:
        """What was seen last, before this process."""
        return self._kept.aliases(name)

    def proven(self, fetched: Fetched, alias: Alias | None) -> None:
        """Keep a version, as the one of the alias; older ones go."""
        name, version = fetched.bundle.manifest.name, fetched.bundle.manifest.version
        try:
            self._keep(name, version, fetched)
        except (ModelError, OSError) as error:
            self._tell(f"{self._folder}: model {name} version {version} is not kept: {error}")
            return
        if alias is not None:
            self._write(name, lambda before: before.model_copy(update={alias: version}))

    def _keep(self, name: str, version: str, fetched: Fetched) -> None:
        target = self._folder / name / version
        if self._is(name, version, fetched):
            (target / MANIFEST).touch()
            return
        shutil.rmtree(target, ignore_errors=True)
        self._kept.put(fetched)
        self._prune(name)

    def _is(self, name: str, version: str, fetched: Fetched) -> bool:
        try:
            return self._kept.fetch(name, version).contents == fetched.contents
        except ModelError:
            return False

    def _prune(self, name: str) -> None:
        versions = [self._folder / name / version for version in self._kept.versions(name)]
        newest = sorted(versions, key=lambda place: -(place / MANIFEST).stat().st_mtime)
        document = self._kept.aliases(name)
        named = {document.champion, document.challenger, document.previous}
        for old in newest[KEEP:]:
            if old.name not in named:
                shutil.rmtree(old, ignore_errors=True)

    def _write(self, name: str, make: Callable[[Aliases], Aliases]) -> None:
        try:
            (self._folder / name).mkdir(parents=True, exist_ok=True)
            self._kept.replace(name, make)
        except (ModelError, OSError) as error:
            self._tell(f"{self._folder}: what serves {name} is not kept: {error}")
