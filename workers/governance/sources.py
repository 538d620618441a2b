"""Contracts to compare with: a state of the repository, another directory, or the registry."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.directory import ContractDirectory, read_directory
from workers.contracts.lock import is_released
from workers.contracts.subject import Compatibility
from workers.errors import ContractError
from workers.governance.register import from_registry
from workers.topology import Topology

_GIT = "git:"
_TIMEOUT = 60


@dataclass(frozen=True, slots=True)
class Known:
    """Contracts as they are elsewhere. `released`: subject and version of those that may not
    change; None where all are. `modes` where the place tells them."""

    name: str
    catalogue: Catalogue
    released: frozenset[tuple[str, int]] | None = None
    modes: Mapping[str, Compatibility] = field(default_factory=dict)

    def is_released(self, entry: Registered) -> bool:
        """May this version never change?"""
        return self.released is None or (entry.subject, entry.version) in self.released


def known_contracts(against: str, topology: Topology, directory: Path) -> Known:
    """The contracts that `--against` names: `git:REF`, `registry`, or a directory.

    `git:REF` is the state of `directory` at that commit, branch or tag.

    Raises:
        ContractError: there is no such place, or its contracts are wrong.
    """
    if against == "registry":
        return Known("the registry", from_registry(topology))
    if against.startswith(_GIT):
        return from_git(against.removeprefix(_GIT), directory)
    return _known(against, read_directory(Path(against)))


def from_git(ref: str, directory: Path) -> Known:
    """The directory as it was at a commit, branch or tag; nothing is checked out.

    Raises:
        ContractError: no repository, no such ref, or the directory was not there.
    """
    place = directory.resolve()
    root = Path(_git(place, "rev-parse", "--show-toplevel").decode().strip()).resolve()
    inside = place.relative_to(root).as_posix()
    # `--end-of-options`: what a user gives is never an option.
    resolved = _git(
        root, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}", what=f"no {ref!r}"
    )
    commit = resolved.decode().strip().removeprefix("--end-of-options").strip()
    # From a checkout's root: a path that is given is then taken from there.
    archive = _git(
        root, "archive", "--format=tar", commit, "--", inside, what=f"{ref} has no {inside}"
    )
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        try:
            return _known(f"git {ref}", read_directory(Path(folder) / inside))
        except ContractError as error:
            text = str(error).replace(f"{folder}/", f"{ref}:")
            raise ContractError(f"--against git:{ref}: {text}") from error


def _git(place: Path, *arguments: str, what: str = "not in a git repository") -> bytes:
    program = shutil.which("git")
    if program is None:
        raise ContractError("--against git: the program git is not installed")
    done = subprocess.run(
        [program, "-C", str(place), *arguments], capture_output=True, timeout=_TIMEOUT, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise ContractError(f"--against git: {place}: {what} ({said.removeprefix('fatal: ')})")
    return done.stdout


def _known(name: str, directory: ContractDirectory) -> Known:
    dated = {
        (about.subject, number)
        for about in directory.files.values()
        for number, entry in about.versions.items()
        if about.subject is not None and entry.released is not None
    }
    locked = {(e.subject, e.version) for e in directory.catalogue if is_released(directory.lock, e)}
    modes = {a.subject: a.compatibility for a in directory.files.values() if a.subject is not None}
    return Known(name, directory.catalogue, frozenset(dated | locked), modes)
