"""What a store of models must be able to do; `store` has the rules that hold for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from workers.errors import ModelError
from workers.models.aliases import Aliases, Make
from workers.models.bundle import MANIFEST
from workers.models.files import Files


class Shelf(Protocol):
    """A place of bundles and documents. Every call ends within the times that are declared.

    Each raises `StoreUnwell` where the place does not answer, or not with an answer.
    """

    @property
    def place(self) -> str:
        """Where this is, for messages; no credentials."""
        ...

    def names(self) -> set[str]:
        """Models that have a version."""
        ...

    def versions(self, name: str) -> set[str]:
        """Versions of a model."""
        ...

    def files(self, name: str, version: str) -> Files:
        """The files of a version; whether they are there shows when they are read."""
        ...

    def aliases(self, name: str) -> Aliases:
        """The model's document; an empty one where there is none.

        Raises:
            ModelError: there is one, and it is malformed.
        """
        ...

    def change(self, name: str, make: Make) -> Aliases:
        """Replace the document by what `make` makes of it; no change of another writer is lost.

        Raises:
            ModelError: `make` refuses, or it cannot be written.
        """
        ...

    def put(self, name: str, version: str, contents: Mapping[str, bytes]) -> None:
        """Add a version, whole or not at all.

        Raises:
            ModelError: there is such a version already, or it cannot be written.
        """
        ...

    def close(self) -> None:
        """End what is under way; later calls raise `StoreUnwell`."""
        ...


def manifest_last(contents: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """Files in the order to write them: a version is there when its manifest is."""
    return sorted(contents.items(), key=lambda item: item[0] == MANIFEST)


def exists_already(place: str) -> ModelError:
    """Versions are immutable."""
    return ModelError(f"{place} exists: a version never changes; choose another")
