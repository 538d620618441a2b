"""Golden examples: events that a version's readers can be tested with.

`schemas/<subject>/examples/v<N>-<name>.json` holds one event of version N in Avro's JSON encoding
(Avro 1.12, "JSON Encoding": a value of a union that is not null is an object of its type's name).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro

from workers.contracts.catalogue import Registered
from workers.contracts.schema import Schema
from workers.contracts.strict import Malformed, check
from workers.errors import ContractError

FOLDER = "examples"


@dataclass(frozen=True, slots=True)
class Example:
    """One event: `event` as Python has it, `datum` its bytes without framing."""

    name: str
    event: dict[str, Any]
    datum: bytes


def example_files(folder: Path, version: int) -> list[Path]:
    """The files of a version's examples, sorted; `folder` is the subject's."""
    return sorted((folder / FOLDER).glob(f"v{version}-*.json"))


def read_examples(folder: Path, entry: Registered) -> list[Example]:
    """Every example of a version.

    Raises:
        ContractError: one is not what the schema says; names the file.
    """
    return [read_example(file, entry) for file in example_files(folder, entry.version)]


def read_example(file: Path, entry: Registered) -> Example:
    """Read one example and hold it to its schema: read, written, read again, it stays the same.

    Raises:
        ContractError: it is no event of the version; names the file.
    """
    try:
        document = json.loads(file.read_text())
        # The reader takes one document a line.
        lines = io.StringIO(json.dumps(document))
        [event] = fastavro.json_reader(lines, entry.schema.parsed)
        datum = encode(event, entry.schema)
        check(entry.schema.root, datum)
        again = fastavro.schemaless_reader(io.BytesIO(datum), entry.schema.parsed, None)
        written = io.StringIO()
        fastavro.json_writer(written, entry.schema.parsed, [again])
    except Malformed as error:
        raise ContractError(f"{file}: not {entry}: {error}") from error
    except Exception as error:  # fastavro raises many unrelated types on events that do not fit
        raise ContractError(f"{file}: not {entry}: {type(error).__name__}: {error}") from error
    if json.loads(written.getvalue()) != document:
        raise ContractError(
            f"{file}: not {entry}: it reads as another event than it says; write every field, and "
            "none that the schema does not have"
        )
    return Example(file.stem.partition("-")[2], dict(event), datum)


def encode(event: dict[str, Any], schema: Schema) -> bytes:
    """The bare datum of an event."""
    written = io.BytesIO()
    fastavro.schemaless_writer(written, schema.parsed, event)
    return written.getvalue()


def decode(datum: bytes, writer: Schema, reader: Schema) -> dict[str, Any]:
    """A datum of one version as another reads it.

    Raises:
        ContractError: it does not decode, or not to its end.
    """
    source = io.BytesIO(datum)
    try:
        event = fastavro.schemaless_reader(source, writer.parsed, reader.parsed)
    except Exception as error:  # fastavro raises many unrelated types
        raise ContractError(f"{type(error).__name__}: {error}") from error
    if source.tell() != len(datum):
        raise ContractError(f"{len(datum) - source.tell()} bytes are left over")
    return dict(event)
