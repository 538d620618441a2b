"""A store of bundles and, for each model, one document that says which version serves.

    models/flight-delay/1/…             a bundle; versions never change
    models/flight-delay/aliases.json    champion, challenger, previous, bypass, and who changed it

The document is replaced whole (write, fsync, rename), so a reader sees the old one or the new one.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workers.errors import ModelError
from workers.models.bundle import Name

ALIASES = "aliases.json"
MAX_HISTORY = 1000
Alias = Literal["champion", "challenger", "previous"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Change(_Part):
    """Who did what, when and why."""

    when: datetime
    who: str
    why: str
    did: str


class Bypass(_Part):
    """Decisions are made without the model until somebody resumes it."""

    since: datetime
    who: str
    why: str


class CanaryShare(_Part):
    """The challenger decides for this share of the keys."""

    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
    since: datetime
    who: str
    why: str


class Aliases(_Part):
    """aliases.json. `revision` grows by one with each change."""

    format: Literal[1] = 1
    revision: int = 0
    champion: Name | None = None
    challenger: Name | None = None
    previous: Name | None = None
    bypass: Bypass | None = None
    canary: CanaryShare | None = None
    history: tuple[Change, ...] = ()

    def version(self, alias: Alias) -> str | None:
        """The version that an alias stands for."""
        found: str | None = getattr(self, alias)
        return found


class Store:
    """The models below one directory."""

    def __init__(self, root: Path) -> None:
        """`root` has a folder a model, and in it a folder a version."""
        self.root = root

    def names(self) -> tuple[str, ...]:
        """Models that have a version."""
        return tuple(sorted({place.parent.parent.name for place in self._manifests("*")}))

    def versions(self, name: str) -> tuple[str, ...]:
        """Versions of a model, as folders sort; numbers by value."""
        found = {place.parent.name for place in self._manifests(name)}
        return tuple(
            sorted(found, key=lambda v: (not v.isdigit(), int(v) if v.isdigit() else 0, v))
        )

    def aliases(self, name: str) -> Aliases:
        """The model's document; an empty one where there is none.

        Raises:
            ModelError: it cannot be read.
        """
        file = self.root / name / ALIASES
        try:
            return Aliases.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return Aliases()
        except (OSError, ValidationError) as error:
            raise ModelError(f"{file}: cannot be read: {error}") from error

    def change(self, name: str, change: Change, make: Callable[[Aliases], Aliases]) -> Aliases:
        """Replace the document by what `make` makes of it; one change at a time.

        Raises:
            ModelError: there is no such model, `make` refuses, or the file cannot be written.
        """
        if not self.versions(name):
            raise ModelError(
                f"no model {name}; {self.root} has {', '.join(self.names()) or 'none'}"
            )
        folder = self.root / name
        try:
            with _alone(folder):
                before = self.aliases(name)
                made = make(before).model_copy(
                    update={
                        "revision": before.revision + 1,
                        "history": (*before.history, change)[-MAX_HISTORY:],
                    }
                )
                _replace(folder / ALIASES, made.model_dump_json(indent=1).encode() + b"\n")
        except OSError as error:
            raise ModelError(f"{folder / ALIASES}: cannot be written: {error.strerror}") from error
        return made

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

    def _manifests(self, name: str) -> Iterator[Path]:
        return self.root.glob(f"{name}/*/manifest.json")


def _by_value(version: str) -> tuple[bool, int, str]:
    return not version.isdigit(), int(version) if version.isdigit() else 0, version


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One writer at a time on this host; the lock goes with the process that holds it."""
    with (folder / f".{ALIASES}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _replace(file: Path, content: bytes) -> None:
    descriptor, made = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    Path(made).chmod(0o644)
    Path(made).replace(file)
