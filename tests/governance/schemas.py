"""Small schemas, and directories of contracts made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workers.contracts.catalogue import Registered
from workers.contracts.schema import Schema, parse

Json = Any


def field(name: str, kind: Json, **more: Any) -> Json:
    """A field with a doc."""
    return {"name": name, "type": kind, "doc": "Said.", **more}


def record(*fields: Json, **more: Any) -> Json:
    """A record with a doc."""
    base = {"type": "record", "name": "Paid", "namespace": "org.example", "doc": "Said."}
    return {**base, "fields": list(fields), **more}


def schema(document: Json) -> Schema:
    """Parsed."""
    return parse(json.dumps(document), where="test")


def versions(*documents: Json, subject: str = "paid-value") -> list[Registered]:
    """Versions 1, 2 and so on of a subject."""
    return [
        Registered(subject, number, 100 + number, schema(document))
        for number, document in enumerate(documents, 1)
    ]


def write_subject(root: Path, topic: str, *documents: Json, **about: Any) -> Path:
    """A subject's folder with a file a version; returns the folder."""
    subject = f"{topic}-value"
    folder = root / subject
    folder.mkdir(parents=True, exist_ok=True)
    entries: Json = {}
    for number, document in enumerate(documents, 1):
        (folder / f"v{number}.avsc").write_text(json.dumps(document, indent=2) + "\n")
        entries[number] = {"id": len(topic) * 100 + number}
    text: Json = {"topic": topic, "owner": "a@example.org", "description": "Said.", "role": "input"}
    if entries:
        text |= {"subject": subject, "versions": entries}
    # JSON is YAML.
    (folder / "subject.yaml").write_text(json.dumps(text | about))
    return folder
