"""Apache `avro`'s own checker, asked about two schemas: a second opinion beside `resolution`."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

from workers.errors import ContractError
from workers.governance.compatibility.defaults import Incompatibility
from workers.governance.compatibility.shape import Shape

_NO_NAMESPACE = "without.namespace"


def by_apache(reader: Shape, writer: Shape) -> list[Incompatibility]:
    """What Apache `avro`'s checker has against reading the writer's records.

    Raises:
        ContractError: Apache `avro` is not installed.
    """
    avro = _avro()
    schemas = []
    for shape in (reader, writer):
        try:
            schemas.append(_parsed(shape))
        except avro.errors.AvroException as error:
            return [_refused(error)]
    result = avro.compatibility.ReaderWriterCompatibilityChecker().get_compatibility(*schemas)
    if result.compatibility is avro.compatibility.SchemaCompatibilityType.compatible:
        return []
    # Its messages and its kinds are a set and a list of their own: which go together is lost.
    kinds = ", ".join(sorted({kind.value for kind in result.incompatibilities}))
    breaks = f"Apache avro's checker objects: {'; '.join(sorted(result.messages))} ({kinds})"
    return [Incompatibility(rule="apache-avro-objects", where="", breaks=breaks)]


def refused_by_apache(shape: Shape) -> list[Incompatibility]:
    """What Apache `avro`'s parser has against a schema that ours let through: names, unions.

    Raises:
        ContractError: Apache `avro` is not installed.
    """
    try:
        _parsed(shape)
    except _avro().errors.AvroException as error:
        return [_refused(error)]
    return []


def _avro() -> SimpleNamespace:
    try:
        # An extra: workers that read and write have no need of it.
        from avro import compatibility, errors, schema
    except ImportError as error:
        raise ContractError(
            "comparing schemas needs Apache Avro's checker: install enrichment-workers[contracts]"
        ) from error
    return SimpleNamespace(compatibility=compatibility, errors=errors, schema=schema)


def _parsed(shape: Shape) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _avro().schema.make_avsc_object(_document(shape, set()))


def _refused(error: BaseException) -> Incompatibility:
    # Its errors are wrapped once for every level of the schema: the innermost says what it is.
    inner = error
    while inner.__context__ is not None:
        inner = inner.__context__
    return Incompatibility(
        rule="not-avro",
        where="",
        breaks=f"Apache Avro refuses the schema: {str(inner)[:200]}",
        remedy="Avro 1.12, Names and Complex Types, says what a schema may be",
    )


def _document(shape: Shape, defined: set[str]) -> Any:
    """The schema for Apache `avro`: full names, no logical types, which it does not compare."""
    if shape.kind == "union":
        return [_document(part, defined) for part in shape.parts]
    if shape.kind in ("array", "map"):
        label = "items" if shape.kind == "array" else "values"
        return {"type": shape.kind, label: _document(shape.parts[0], defined)}
    if not shape.name:
        return shape.kind
    name = _full(shape.name)
    if name in defined:
        return name
    defined.add(name)
    made: dict[str, Any] = {"type": shape.kind, "name": name.rpartition(".")[2]}
    made |= {"namespace": name.rpartition(".")[0], "aliases": [_full(a) for a in shape.aliases]}
    return made | _body(shape, defined)


def _body(shape: Shape, defined: set[str]) -> dict[str, Any]:
    if shape.kind == "fixed":
        return {"size": shape.size}
    if shape.kind == "enum":
        default = {} if shape.symbol_default is None else {"default": shape.symbol_default}
        return {"symbols": list(shape.symbols)} | default
    fields = []
    for field in shape.fields:
        entry = {"name": field.name, "type": _document(field.shape, defined)}
        entry |= {"aliases": list(field.aliases)} if field.aliases else {}
        fields.append(entry | ({"default": field.default} if field.has_default else {}))
    return {"fields": fields}


def _full(name: str) -> str:
    return name if "." in name else f"{_NO_NAMESPACE}.{name}"
