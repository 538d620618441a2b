"""A bundle: one folder with a model version and everything needed to serve it.

`models/<name>/<version>/manifest.json` names the other files with size and SHA-256. They are read
once, into memory; what was checked is what is loaded, whatever happens to the files meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from workers.errors import ModelError
from workers.models.files import Files, LocalFiles
from workers.models.manifest import (
    MAX_FILE,
    Band,
    Calibration,
    ContractRef,
    Decisions,
    Feature,
    FeatureType,
    FileEntry,
    Isotonic,
    Licence,
    Manifest,
    Name,
    Part,
    Platt,
    Reasons,
    Training,
)
from workers.models.reference import Reference

__all__ = [
    "MANIFEST",
    "MAX_FILE",
    "MAX_MANIFEST",
    "Band",
    "Bundle",
    "Calibration",
    "ContractRef",
    "Decisions",
    "Feature",
    "FeatureType",
    "FileEntry",
    "Golden",
    "GoldenRow",
    "Isotonic",
    "Licence",
    "Manifest",
    "Name",
    "Platt",
    "Reasons",
    "Training",
    "check_files",
    "describe_file",
    "faults_of",
    "read_bundle",
]

MANIFEST = "manifest.json"
MAX_MANIFEST = 4_000_000


class GoldenRow(Part):
    """A datum of the bundle's contract, and what the model must say of it."""

    datum: str = Field(description="bare Avro datum, base64")
    score: float
    decision: Name


class Golden(Part):
    """golden.json."""

    rows: Annotated[tuple[GoldenRow, ...], Field(min_length=1, max_length=10_000)]


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files of a bundle, each as its manifest says."""

    manifest: Manifest
    booster: str
    golden: Golden
    reference: Reference | None = None


def read_bundle(root: Path, name: str, version: str) -> Bundle:
    """Read `root/name/version`.

    Raises:
        ModelError: a file is missing, no plain file, malformed, or not the bytes of the manifest.
    """
    return check_files(LocalFiles(root / name / version), name, version)


def check_files(files: Files, name: str, version: str) -> Bundle:
    """The bundle that these files are.

    Raises:
        ModelError: a file is missing, too large, malformed, or not the bytes of the manifest.
    """
    place = files.place(MANIFEST)
    content = files.read(MANIFEST, MAX_MANIFEST)
    try:
        manifest = Manifest.model_validate_json(content)
        json.loads(content, object_pairs_hook=_each_once)
    except ValidationError as error:
        raise ModelError(f"{place}: {faults_of(error)}") from error
    except ValueError as error:
        raise ModelError(f"{place}: {error}") from error
    if (manifest.name, manifest.version) != (name, version):
        raise ModelError(
            f"{place}: is {manifest.name} version {manifest.version}, not {name} version {version}"
        )
    booster = _verified(files, manifest.booster)
    golden = _verified(files, manifest.golden)
    try:
        rows = Golden.model_validate_json(golden)
        return Bundle(manifest, booster.decode(), rows, _reference(files, manifest))
    except UnicodeDecodeError as error:
        raise ModelError(f"{files.place(manifest.booster.file)}: not text: {error}") from error
    except ValidationError as error:
        raise ModelError(f"{files.place(manifest.golden.file)}: {faults_of(error)}") from error


def _each_once(pairs: Sequence[tuple[str, object]]) -> None:
    """Of two, one reader takes the first and another the last: what was reviewed may not serve."""
    keys = [key for key, _ in pairs]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValueError(f"{twice[0][:40]!r} is there twice")


def _reference(files: Files, manifest: Manifest) -> Reference | None:
    entry = manifest.reference
    if entry is None:
        return None
    place = files.place(entry.file)
    if entry.bytes > MAX_MANIFEST:
        raise ModelError(f"{place}: {entry.bytes} bytes, more than {MAX_MANIFEST}")
    content = _verified(files, entry)
    try:
        return Reference.model_validate_json(content)
    except ValidationError as error:
        raise ModelError(f"{place}: {faults_of(error)}") from error


def describe_file(path: Path) -> FileEntry:
    """The manifest's entry of a file."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return FileEntry(file=path.name, sha256=digest, bytes=len(content))


def faults_of(error: ValidationError) -> str:
    """Every fault with its field, in one line."""
    lines = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return "; ".join(lines)


def _verified(files: Files, entry: FileEntry) -> bytes:
    place = files.place(entry.file)
    content = files.read(entry.file, entry.bytes)
    if len(content) != entry.bytes:
        raise ModelError(f"{place}: {len(content)} bytes, the manifest says {entry.bytes}")
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise ModelError(f"{place}: its SHA-256 is not the manifest's; build the bundle again")
    return content
