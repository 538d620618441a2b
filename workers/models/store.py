"""A store of bundles and, for each model, one document that says which version serves.

The rules are here and hold for every kind of store: versions never change, the document is replaced
whole and no change is lost. Where bytes lie and how is in `local`, `objects` and `registry`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from workers.errors import ModelError
from workers.models.aliases import (
    MAX_HISTORY,
    Alias,
    Aliases,
    Bypass,
    CanaryShare,
    Change,
    Make,
    WorkerPause,
)
from workers.models.bundle import Bundle, check_files
from workers.models.files import Copied
from workers.models.local import ALIASES, LocalShelf
from workers.models.shelf import Shelf, exists_already

__all__ = ["ALIASES", "Alias", "Aliases", "Bypass", "CanaryShare", "Change", "Fetched", "Store"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A bundle that passed the checks of its files, and the very bytes that did, by file name."""

    bundle: Bundle
    contents: dict[str, bytes]


class Store:
    """Models and what serves."""

    def __init__(self, shelf: Shelf | Path) -> None:
        """On a shelf; a path is a directory."""
        self._shelf: Shelf = LocalShelf(shelf) if isinstance(shelf, Path) else shelf

    @property
    def root(self) -> Path:
        """The directory of a store that is one.

        Raises:
            ModelError: it is none.
        """
        if isinstance(self._shelf, LocalShelf):
            return self._shelf.root
        raise ModelError(f"{self.place} is not a directory")

    @property
    def place(self) -> str:
        """Where this is, for messages."""
        return self._shelf.place

    def close(self) -> None:
        """End what is under way."""
        self._shelf.close()

    def names(self) -> tuple[str, ...]:
        """Models that have a version."""
        return tuple(sorted(self._shelf.names()))

    def versions(self, name: str) -> tuple[str, ...]:
        """Versions of a model; numbers by value, before names."""
        return tuple(sorted(self._shelf.versions(_named(name)), key=_by_value))

    def aliases(self, name: str) -> Aliases:
        """The model's document; an empty one where there is none.

        Raises:
            ModelError: it cannot be read.
        """
        return self._shelf.aliases(_named(name))

    def bundle(self, name: str, version: str) -> Bundle:
        """A version, its files checked.

        Raises:
            ModelError: a file is missing, malformed, or not the bytes of the manifest.
        """
        return check_files(self._shelf.files(_named(name), _named(version)), name, version)

    def fetch(self, name: str, version: str) -> Fetched:
        """A version with the bytes of its files, checked.

        Raises:
            ModelError: a file is missing, malformed, or not the bytes of the manifest.
        """
        files = Copied(self._shelf.files(_named(name), _named(version)))
        return Fetched(check_files(files, name, version), files.contents)

    def served(self, name: str, alias: Alias) -> str | None:
        """The version that an alias stands for.

        Raises:
            ModelError: the document cannot be read.
        """
        return self.aliases(name).version(alias)

    def recall(self, name: str) -> Aliases | None:
        """What was seen last, before this process; None where nothing is kept."""
        return None

    def proven(self, fetched: Fetched, alias: Alias | None) -> None:
        """A worker has proven this version, and serves it by this alias."""

    def put(self, fetched: Fetched) -> None:
        """Add a version, byte for byte; it is visible whole or not at all.

        Raises:
            ModelError: there is such a version, or it cannot be written.
        """
        manifest = fetched.bundle.manifest
        self.hold_free(manifest.name, manifest.version)
        self._shelf.put(manifest.name, manifest.version, fetched.contents)

    def hold_free(self, name: str, version: str) -> None:
        """Is there room for a version?

        Raises:
            ModelError: there is such a version: it never changes.
        """
        if version in self.versions(name):
            raise exists_already(f"{self.place}: model {name} version {version}")

    def change(self, name: str, change: Change, make: Make) -> Aliases:
        """Replace the document by what `make` makes of it; no change of another writer is lost.

        Raises:
            ModelError: there is no such model, `make` refuses, or it cannot be written.
        """
        if not self.versions(name):
            raise ModelError(
                f"no model {name}; {self.place} has {', '.join(self.names()) or 'none'}"
            )

        def next_one(before: Aliases) -> Aliases:
            history = (*before.history, change)[-MAX_HISTORY:]
            update = {"revision": before.revision + 1, "history": history}
            return make(before).model_copy(update=update)

        return self.replace(name, next_one)

    def replace(self, name: str, make: Make) -> Aliases:
        """Replace the document as it is, without revision and history.

        Raises:
            ModelError: `make` refuses, or it cannot be written.
        """
        return self._shelf.change(_named(name), make)

    def promote(
        self, name: str, version: str, change: Change, alias: Alias = "champion"
    ) -> Aliases:
        """Let an alias stand for a version; the champion before becomes `previous`.

        A challenger that becomes champion is challenger no more, and its canary is over.

        Raises:
            ModelError: there is no such version, or the document cannot be changed.
        """
        if version not in self.versions(name):
            known = ", ".join(self.versions(name)) or "none"
            raise ModelError(f"model {name} has no version {version}; it has {known}")

        def make(before: Aliases) -> Aliases:
            update: dict[str, object] = {alias: version}
            if alias == "champion" and before.champion != version:
                update["previous"] = before.champion
            if alias == "champion" and before.challenger == version:
                update["challenger"] = None
            if alias == "challenger" or before.challenger == version:
                # It was another model that a share was meant for.
                update["canary"] = None
            return before.model_copy(update=update)

        return self.change(name, change, make)

    def rollback(self, name: str, change: Change) -> Aliases:
        """Champion and previous change places; a canary is over.

        Raises:
            ModelError: there is no previous version, or the document cannot be changed.
        """

        def make(before: Aliases) -> Aliases:
            if before.previous is None:
                raise ModelError(f"model {name} has no previous version to go back to")
            swapped = {
                "champion": before.previous,
                "previous": before.champion,
                "canary": None,
            }
            return before.model_copy(update=swapped)

        return self.change(name, change, make)

    def canary(self, name: str, share: float, change: Change) -> Aliases:
        """Let the challenger decide for a share of the keys, 0 to 1; 0 ends it.

        Raises:
            ModelError: there is no challenger, or the document cannot be changed.
        """
        if not 0 <= share <= 1:
            raise ModelError(f"a share is from 0 to 1, not {share}")

        def make(before: Aliases) -> Aliases:
            if share and before.challenger is None:
                raise ModelError(
                    f"model {name} has no challenger; `workers models promote {name} VERSION "
                    "--to challenger` makes one"
                )
            who, why = change.who, change.why
            on = CanaryShare(share=share, since=change.when, who=who, why=why) if share else None
            return before.model_copy(update={"canary": on})

        return self.change(name, change, make)

    def bypass(self, name: str, change: Change) -> Aliases:
        """Decide without the model from now on."""
        on = Bypass(since=change.when, who=change.who, why=change.why)
        return self.change(name, change, lambda before: before.model_copy(update={"bypass": on}))

    def resume(self, name: str, change: Change) -> Aliases:
        """Decide with the model again."""
        return self.change(name, change, lambda before: before.model_copy(update={"bypass": None}))

    def pause(self, name: str, worker: str, partitions: Iterable[int], change: Change) -> Aliases:
        """A worker of this model reads no more of these partitions; of none, where none is named.

        What was paused before stays so.
        """
        wanted = frozenset(partitions)

        def make(before: Aliases) -> Aliases:
            now = before.pauses.get(worker)
            both = wanted.union(now.partitions) if wanted and now is not None else wanted
            everything = not wanted or (now is not None and not now.partitions)
            on = WorkerPause(
                partitions=() if everything else tuple(sorted(both)),
                since=change.when,
                who=change.who,
                why=change.why,
            )
            return before.model_copy(update={"pauses": {**before.pauses, worker: on}})

        return self.change(name, change, make)

    def unpause(self, name: str, worker: str, partitions: Iterable[int], change: Change) -> Aliases:
        """It reads these partitions again; all of them, where none is named.

        Raises:
            ModelError: it is not paused, or is as a whole and only a part is named.
        """
        wanted = frozenset(partitions)

        def make(before: Aliases) -> Aliases:
            now = before.pauses.get(worker)
            if now is None:
                raise ModelError(f"worker {worker} is not paused")
            if wanted and not now.partitions:
                raise ModelError(
                    f"worker {worker} is paused as a whole: resume it, then pause what is to stay"
                )
            left = tuple(sorted(frozenset(now.partitions) - wanted)) if wanted else ()
            others = {name: on for name, on in before.pauses.items() if name != worker}
            if left:
                others[worker] = now.model_copy(update={"partitions": left})
            return before.model_copy(update={"pauses": others})

        return self.change(name, change, make)


def _by_value(version: str) -> tuple[bool, int, str]:
    return not version.isdigit(), int(version) if version.isdigit() else 0, version


def _named(name: str) -> str:
    """A model or a version: it becomes part of paths.

    Raises:
        ModelError: it has what paths are made of.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"{name!r} is no name: letters, digits, dot, hyphen and underscore, 64 at most"
        )
    return name
