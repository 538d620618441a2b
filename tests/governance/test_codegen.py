"""Pydantic classes for subscribers, made from a schema."""

from __future__ import annotations

import datetime
import decimal
import importlib.util
import io
import json
import subprocess
import sys
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any

import fastavro
import pydantic
import pytest

from tests.conftest import ROOT
from tests.governance.shapes import SHAPES, checkout
from tests.governance.test_documents import workers
from workers.contracts.catalogue import Registered
from workers.contracts.directory import read_directory
from workers.contracts.framing import frame
from workers.contracts.schema import parse
from workers.governance.documents.codegen import python_module

__all__ = ["checkout"]
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, datetime.UTC)
EVENT: dict[str, Any] = {
    "id": uuid.UUID(int=5),
    "class": "first",
    "_hidden": 7,
    "copy": False,
    "orderTotal": decimal.Decimal("12.34"),
    "md5": b"abcd",
    "date": datetime.date(2026, 1, 2),
    "datetime": NOW,
    "local": datetime.datetime(2026, 1, 2, 3, 4),  # noqa: DTZ001  a local timestamp has no zone
    "at": datetime.time(1, 2, 3),
    "odd": "text",
    "kind": "count",
    "other": {"lat": 1.5, "name": None},
    "last": None,
    "places": [{"lat": 2.5, "name": "here"}],
    "tags": {"a": "_x", "b": None},
    "ratio": 0.5,
    "raw": b"\x00\xff",
    "far": {"z": 9},
}


def module(path: Path, document: dict[str, Any]) -> ModuleType:
    """The module of a schema, written to a file and imported."""
    schema = parse(json.dumps(document), where="a test")
    path.write_text(python_module(Registered("shapes-value", 1, 7, schema)))
    name = f"generated_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def shapes(tmp_path: Path) -> ModuleType:
    """The module of every shape."""
    return module(tmp_path / "shapes.py", SHAPES)


def encoded(document: dict[str, Any], event: dict[str, Any]) -> bytes:
    """A record's value under schema id 7."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(document), event)
    return frame(7) + out.getvalue()


def test_every_shape_goes_through_the_classes_unharmed(shapes: ModuleType) -> None:
    """Bytes to dict to model to dict to the same bytes, each value of its own type."""
    value = encoded(SHAPES, EVENT)

    event = shapes.read(value, json.dumps(SHAPES))

    assert event.model_dump() == EVENT
    assert encoded(SHAPES, event.model_dump()) == value
    assert event.datetime.tzinfo is not None
    assert event.local.tzinfo is None
    assert (event.class_, event.hidden_, event.copy_) == ("first", 7, False)
    assert event.kind is shapes.Kind.count_
    assert type(event.other) is shapes.Place
    assert type(event.far) is shapes.AwayPlace
    assert shapes.schema_id(value) == 7


def test_defaults_are_those_of_the_schema(shapes: ModuleType) -> None:
    """Where Python can say them; bytes and logical values are left to `read`."""
    fields = shapes.EveryShape.model_fields

    defaults = {
        name: field.get_default(call_default_factory=True) for name, field in fields.items()
    }
    assert defaults["class_"] == 'it\'s "so"'
    assert (defaults["md5"], defaults["last"], defaults["other"]) == (None, "x", 0)
    assert (defaults["places"], defaults["tags"], defaults["copy_"]) == ([], {}, True)
    assert defaults["kind"] is shapes.Kind["None_"]
    assert fields["raw"].is_required()
    assert fields["id"].description == 'An "id"'
    assert shapes.EveryShape.__doc__ == 'Says """all" of it, with a \\.'


def test_an_event_is_checked_and_does_not_change(shapes: ModuleType) -> None:
    """A timestamp without a zone is refused where the schema has one."""
    naive = {**EVENT, "datetime": NOW.replace(tzinfo=None)}

    with pytest.raises(pydantic.ValidationError, match="timezone"):
        shapes.EveryShape.model_validate(naive)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        shapes.EveryShape.model_validate(EVENT).ratio = 1.0


def test_events_of_other_versions_are_read(tmp_path: Path) -> None:
    """A field that is new to us is left out, one that the writer had not gets its default, and a
    symbol that is new to us becomes the enum's default.
    """
    old = json.loads((ROOT / "schemas/flights-value/v1.avsc").read_text())
    kind = {"type": "enum", "name": "Kind", "symbols": ["A", "B"], "default": "A"}
    ours = {**old, "fields": [{"name": "kind", "type": kind}, old["fields"][3]]}
    new = {"name": "new", "type": "long"}
    theirs = {
        **old,
        "fields": [{"name": "kind", "type": {**kind, "symbols": ["A", "B", "C"]}}, new],
    }
    made = module(tmp_path / "ours.py", ours)

    event = made.read(encoded(theirs, {"kind": "C", "new": 1}), json.dumps(theirs))

    assert event.model_dump() == {"kind": "A", "tailnum": None}


def test_unframed_bytes_are_refused(shapes: ModuleType) -> None:
    """They would be read as something else."""
    for value in (b"", b"\x00\x00\x00", b'{"json": 1}'):
        with pytest.raises(ValueError, match="not framed"):
            shapes.schema_id(value)


@pytest.mark.slow
def test_generated_code_passes_ruff_and_mypy(tmp_path: Path) -> None:
    """Our own settings, without the exemptions that a generated file carries for long lines."""
    file = tmp_path / "shapes.py"
    module(file, SHAPES)
    tools = Path(sys.executable).parent

    for command in (
        ("ruff", "check", "--ignore", "TID251"),
        ("ruff", "format", "--check"),
        ("mypy", "--strict"),
    ):
        own = ["--config-file" if command[0] == "mypy" else "--config", ROOT / "pyproject.toml"]
        done = subprocess.run(
            [tools / command[0], *command[1:], *own, file],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_codegen_writes_the_newest_version_or_the_one_that_is_named(checkout: Path) -> None:
    """To standard output, or to a file."""
    arguments = ("contracts", "codegen", "shapes-value", "--topology", checkout / "topology.yaml")

    newest = workers(*arguments)
    workers(*arguments, "--version", "1", "--output", checkout / "one.py")

    assert newest.exit_code == 0
    versions = read_directory(checkout / "schemas").catalogue.versions("shapes-value")
    assert newest.stdout == python_module(versions[2])
    assert (checkout / "one.py").read_text() == python_module(versions[1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing-value",), "there are flights-value"),
        (("flights-value", "--version", "9"), "has no version 9; it has 1"),
    ],
)
def test_codegen_names_what_there_is(arguments: tuple[str, ...], said: str) -> None:
    """Exit code 2."""
    done = workers("contracts", "codegen", *arguments, "--topology", ROOT / "topology.yaml")

    assert (done.exit_code, said in done.stderr) == (2, True)
