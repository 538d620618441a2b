"""How a worker stands to its input, and how its decisions leave it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Mode(StrEnum):
    """Whose the input is: the pipeline's, or a system's that must not notice the worker."""

    PIPELINE = "pipeline"
    SIDECAR = "sidecar"


class Shape(StrEnum):
    """Where the blocks are: behind the event's fields, or in headers of the record as it was."""

    DERIVED = "derived"
    HEADERS = "headers"


class WholeBlock(StrEnum):
    """How a block is written into one header."""

    JSON = "json"
    AVRO = "avro"


def with_input_subject(data: dict[Any, Any]) -> dict[Any, Any]:
    """A worker as it is written; with `shape: headers` its output has the input's contract."""
    source, output = data.get("input"), data.get("output")
    if not isinstance(source, dict) or not isinstance(output, dict):
        return dict(data)
    if output.get("shape") != Shape.HEADERS or not isinstance(source.get("topic"), str):
        return dict(data)
    subject = source.get("subject", f"{source['topic']}-value")
    return {**data, "output": {"subject": subject, **output}}
