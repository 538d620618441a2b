"""References: named types that another subject defines, put in where they are first used.

A registry stores a schema and, beside it, the subjects and versions that define the types it names
(Confluent "Schema references"). Decoders want one document that stands alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from workers.errors import ContractError

MAX_REFERENCES = 100


class Referring(Protocol):
    """A type by name, and where it is defined."""

    @property
    def name(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def version(self) -> int: ...


class Referred(Protocol):
    """What a defining version refers to itself."""

    @property
    def references(self) -> Iterable[Referring]: ...


Find = Callable[[str, int], tuple[str, Referred] | None]
"""Text and references of a subject's version; None where there is none."""


def with_references(text: str, references: Iterable[Referring], find: Find, *, where: str) -> str:
    """The schema with every referred type defined at its first use.

    Raises:
        ContractError: a reference leads nowhere, in a circle, or through too many others.
    """
    definitions: dict[str, Any] = {}
    _collect(references, find, definitions, where, ())
    return json.dumps(_Inliner(definitions).put(_loaded(text, where), ""))


def _collect(
    references: Iterable[Referring],
    find: Find,
    definitions: dict[str, Any],
    where: str,
    path: tuple[tuple[str, int], ...],
) -> None:
    for reference in references:
        place = (reference.subject, reference.version)
        shown = f"{where}: reference {reference.name} to {place[0]} version {place[1]}"
        if place in path:
            raise ContractError(f"{shown}: it leads back to itself")
        if reference.name in definitions:
            continue
        if len(definitions) >= MAX_REFERENCES:
            raise ContractError(f"{shown}: more than {MAX_REFERENCES} references")
        found = find(*place)
        if found is None:
            raise ContractError(f"{shown}: there is no such version")
        definition, below = found
        _collect(below.references, find, definitions, where, (*path, place))
        definitions[reference.name] = _loaded(definition, shown)


def _loaded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ContractError(f"{where}: not a JSON document: {error}") from error


class _Inliner:
    """Replaces the first mention of each referred name by its definition."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self._waiting = dict(definitions)

    def put(self, schema: Any, namespace: str) -> Any:
        if isinstance(schema, str):
            return self._named(schema, namespace)
        if isinstance(schema, list):
            return [self.put(branch, namespace) for branch in schema]
        if not isinstance(schema, dict):
            return schema
        inner = _namespace(schema, namespace)
        made = dict(schema)
        for key in ("type", "items", "values"):
            if key in made and not (
                key == "type" and isinstance(made[key], str) and _defines(made)
            ):
                made[key] = self.put(made[key], inner)
        if isinstance(made.get("fields"), list):
            made["fields"] = [self.put(entry, inner) for entry in made["fields"]]
        return made

    def _named(self, name: str, namespace: str) -> Any:
        for candidate in (name, f"{namespace}.{name}") if "." not in name else (name,):
            if candidate in self._waiting:
                definition = self._waiting.pop(candidate)
                # A definition without a namespace of its own must not take its place's.
                if isinstance(definition, dict) and "." not in str(definition.get("name", ".")):
                    definition = {"namespace": "", **definition}
                return self.put(definition, "")
        return name


def _defines(schema: dict[str, Any]) -> bool:
    return schema.get("type") in ("record", "error", "enum", "fixed")


def _namespace(schema: dict[str, Any], outer: str) -> str:
    if not _defines(schema):
        return outer
    name = str(schema.get("name", ""))
    if "." in name:
        return name.rpartition(".")[0]
    return str(schema.get("namespace", outer))
