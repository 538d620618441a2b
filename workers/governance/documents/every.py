"""Every document that is generated, and which of the committed ones are out of date."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from workers.contracts.directory import ContractDirectory
from workers.errors import TopologyError
from workers.governance.documents.asyncapi import asyncapi
from workers.governance.documents.index import index
from workers.governance.documents.odcs import odcs
from workers.governance.documents.page import page
from workers.governance.documents.topics import topics
from workers.topology import Topology, load

_HEAD = "# Written by `workers contracts docs` from topology.yaml and schemas/.\n"
_WITHOUT_DEFAULT = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def load_without_environment(path: Path) -> Topology:
    """The topology, the same wherever it is read, so that documents made of it are the same too.

    A variable has its default; one without default, as a password has none, its own name.

    Raises:
        TopologyError: the file cannot be used, or not without its environment.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        text = ""  # `load` says what is wrong with it
    names = {name: name for name in _WITHOUT_DEFAULT.findall(text)}
    try:
        return load(path, names)
    except TopologyError as error:
        if not names:
            raise
        raise TopologyError(
            f"{error}\n(documents are made without the environment: {', '.join(sorted(names))} "
            "stood for themselves; a variable that is no text needs a default)"
        ) from error


def documents(
    topology: Topology, directory: ContractDirectory, *, schemas: Path
) -> dict[Path, str]:
    """Every document by its path below the folder of documents.

    `schemas` is the contracts' directory as seen from that folder, for links.

    Raises:
        ContractError: a topic has no subject.yaml, or a golden event is no JSON.
    """
    found = topics(topology, directory)
    made = {Path("topics", f"{topic.name}.md"): page(topic, ".." / schemas) for topic in found}
    made[Path("topics", "README.md")] = index(topology, found)
    made[Path("asyncapi.yaml")] = _yaml(asyncapi(topology, found))
    for topic in found:
        made[Path("contracts", f"{topic.name}.odcs.yaml")] = _yaml(odcs(topology, topic))
    return made


def stale(root: Path, wanted: Mapping[Path, str]) -> list[str]:
    """What is wrong with the documents below `root`: missing, out of date, or of no topic."""
    found = [
        f"{root / path}: {'is out of date' if (root / path).is_file() else 'is missing'}"
        for path, text in wanted.items()
        if not (root / path).is_file() or (root / path).read_text() != text
    ]
    there = [*root.glob("topics/*.md"), *root.glob("contracts/*.odcs.yaml")]
    gone = [file for file in sorted(there) if file.relative_to(root) not in wanted]
    return [*found, *(f"{file}: belongs to no topic; delete it" for file in gone)]


def write(root: Path, wanted: Mapping[Path, str]) -> list[Path]:
    """Write what is missing or out of date; the files that were written."""
    written = []
    for path, text in wanted.items():
        file = root / path
        if not file.is_file() or file.read_text() != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            written.append(file)
    return written


def _literal(value: Any) -> Any:
    """The document with text of several lines as YAML's `|` block."""
    if isinstance(value, dict):
        return {key: _literal(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_literal(below) for below in value]
    return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value


def _yaml(document: dict[str, Any]) -> str:
    yaml = YAML(typ="rt")
    # Lines are not broken: ruamel leaves a space at the end of one.
    yaml.width = 1_000_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    # What is said twice is written twice: an anchor helps no reader.
    yaml.representer.ignore_aliases = lambda _: True
    text = io.StringIO()
    yaml.dump(_literal(document), text)
    return _HEAD + text.getvalue()
