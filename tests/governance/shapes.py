"""A topology and contracts with every shape that a schema can have, in a folder of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
PLACE = {
    "type": "record",
    "name": "Place",
    "doc": "Where.",
    "fields": [
        {"name": "lat", "type": "double", "doc": "North | south."},
        {"name": "name", "type": ["null", "string"], "default": None},
    ],
}
SHAPES: dict[str, Any] = {
    "type": "record",
    "name": "every_shape",
    "namespace": "org.example",
    "doc": 'Says """all" of it, with a \\.',
    "fields": [
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}, "doc": 'An "id"'},
        {"name": "class", "type": "string", "default": 'it\'s "so"', "classification": "public"},
        {"name": "_hidden", "type": "int", "default": 3},
        {"name": "copy", "type": "boolean", "default": True},
        {"name": "orderTotal", "type": DECIMAL},
        {
            "name": "md5",
            "type": ["null", {"type": "fixed", "name": "Md5", "size": 4}],
            "default": None,
        },
        {"name": "date", "type": {"type": "int", "logicalType": "date"}},
        {"name": "datetime", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
        {"name": "at", "type": {"type": "int", "logicalType": "time-millis"}},
        {"name": "odd", "type": {"type": "string", "logicalType": "nonsense"}},
        {
            "name": "kind",
            "type": {
                "type": "enum",
                "name": "Kind",
                "doc": "A kind.",
                "symbols": ["A", "None", "count", "_x"],
                "default": "A",
            },
            "default": "None",
        },
        {"name": "other", "type": ["int", "string", PLACE], "default": 0},
        {"name": "last", "type": ["string", "null"], "default": "x"},
        {"name": "places", "type": {"type": "array", "items": "Place"}, "default": []},
        {"name": "tags", "type": {"type": "map", "values": ["null", "Kind"]}, "default": {}},
        {"name": "ratio", "type": "float"},
        {"name": "raw", "type": "bytes", "default": "\u00ff"},
        {
            "name": "far",
            "type": {
                "type": "record",
                "name": "Place",
                "namespace": "far.away",
                "fields": [{"name": "z", "type": "long"}],
            },
        },
    ],
}


SUBJECT = """\
subject: shapes-value
topic: shapes
role: input
owner: shapes@example.org
description: Every shape.
retention: compact
versions:
  1: {id: 7, released: 2026-01-02, change: First version., sunset: 2027-01-01}
  2: {id: 8, change: More of them.}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The repository's topology with one subject more, of two versions and with an example."""
    for name in ("schemas", "models"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "topology.yaml", tmp_path)
    folder = tmp_path / "schemas" / "shapes-value"
    (folder / "examples").mkdir(parents=True)
    (folder / "subject.yaml").write_text(SUBJECT)
    fewer = [field for field in SHAPES["fields"] if field["name"] != "ratio"]
    fewer[2] = {**fewer[2], "type": "long", "default": 4}
    (folder / "v1.avsc").write_text(json.dumps({**SHAPES, "fields": fewer}))
    (folder / "v2.avsc").write_text(json.dumps(SHAPES))
    (folder / "examples" / "v2-one.json").write_text('{"last": {"string": "golden"}}')
    return tmp_path
