"""Pydantic classes of a schema, as one module that needs nothing of ours.

Why not `dc-avro` (dataclasses-avroschema 0.71.1): what it writes imports that package, so every
subscriber would need it; a field whose name Python reserves gets an alias that pydantic ignores, so
the event cannot be read; `condecimal(...)` as a type does not pass mypy; and nothing tells
timestamps with a zone from local ones.
"""

from __future__ import annotations

import json
import keyword
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from workers.contracts.catalogue import Registered
from workers.governance.documents.pythontext import (
    allowed,
    class_names,
    docstring,
    free_names,
    literal,
    quoted,
)
from workers.governance.documents.shape import Field, Shape, shape_of

_TYPES = {
    "null": "None",
    "boolean": "bool",
    "int": "int",
    "long": "int",
    "float": "float",
    "double": "float",
    "bytes": "bytes",
    "fixed": "bytes",
    "string": "str",
    "decimal": "_decimal.Decimal",
    "uuid": "_uuid.UUID",
    "date": "_datetime.date",
    "time-millis": "_datetime.time",
    "time-micros": "_datetime.time",
    "timestamp-millis": "_pydantic.AwareDatetime",
    "timestamp-micros": "_pydantic.AwareDatetime",
    "local-timestamp-millis": "_pydantic.NaiveDatetime",
    "local-timestamp-micros": "_pydantic.NaiveDatetime",
}
# Imported under names that no field has: one that begins with _ is renamed.
_MODULES = ("datetime", "decimal", "enum", "uuid")
_TAKEN = frozenset({*keyword.kwlist, *dir(BaseModel), *_TYPES.values(), "list", "dict"})
_IMPORTS = """from __future__ import annotations

{}
from typing import Any as _Any

import fastavro as _fastavro
import pydantic as _pydantic
"""
_CONFIG = """
_CONFIG = _pydantic.ConfigDict(frozen=True, serialize_by_alias=True, use_attribute_docstrings=True)
"""

_READ = '''

def schema_id(value: bytes) -> int:
    """The schema id of a record's value: a registry, or subject.yaml, has its schema.

    Raises:
        ValueError: the value is not framed: one zero byte, then the id as four bytes.
    """
    if len(value) < 5 or value[0] != 0:
        raise ValueError("not framed: a zero byte and four bytes of schema id come first")
    return int.from_bytes(value[1:5], "big")


def read(value: bytes, written: str) -> {root}:
    """The event in a record's value; `written` is the text of the schema that `schema_id` names.

    Fields that a later version added are left out, those it has not get their defaults.
    """
    datum = _io.BytesIO(value[5:])
    return {root}.model_validate(
        _fastavro.schemaless_reader(datum, _parsed(written), _parsed(SCHEMA))
    )


@_functools.cache
def _parsed(text: str) -> _Any:
    return _fastavro.parse_schema(_json.loads(text))
'''


def python_module(version: Registered) -> str:
    """The module's text: classes in the order in which they need each other, and `read`."""
    root = shape_of(version.schema)
    return _Module(root).text(version)


class _Module:
    def __init__(self, root: Shape) -> None:
        self._root = root
        named = {shape.name: shape for shape in root.walk() if shape.kind in ("record", "enum")}
        self._shapes = tuple(named.values())
        self._classes = class_names(named)
        self._taken = _TAKEN | set(self._classes.values())

    def text(self, version: Registered) -> str:
        shapes = self._shapes
        classes = [self._enum(s) if s.kind == "enum" else self._record(s) for s in shapes]
        body = "\n\n".join(classes)
        exported = [*sorted(self._classes.values()), "read", "schema_id"]
        return allowed(
            f'"""Events of {version}.\n\nWritten by `workers contracts codegen '
            f'{version.subject}`: do not edit.\n"""\n\n{_imports(body)}\n__all__ = [\n'
            + "".join(f'    "{name}",\n' for name in exported)
            + f"]\n\nSCHEMA = {literal(json.dumps(_bare(dict(version.schema.document))))}\n"
            + f"{_CONFIG}\n\n{body}{_READ.replace('{root}', self._classes[self._root.name])}"
        )

    def _enum(self, shape: Shape) -> str:
        lines = [f"class {self._classes[shape.name]}(_enum.StrEnum):"]
        lines += [*docstring(shape.doc), ""] if shape.doc.strip() else []
        lines += [f"    {name} = {quoted(symbol)}" for symbol, name in _symbols(shape).items()]
        return "\n".join(lines) + "\n"

    def _record(self, shape: Shape) -> str:
        lines = [f"class {self._classes[shape.name]}(_pydantic.BaseModel):"]
        lines += [*docstring(shape.doc or shape.name), "", "    model_config = _CONFIG"]
        lines += [""] if shape.fields else []
        names = free_names((field.name for field in shape.fields), self._taken)
        for field in shape.fields:
            lines += self._field(field, names[field.name])
        return "\n".join(lines) + "\n"

    def _field(self, field: Field, name: str) -> Iterator[str]:
        default = self._default(field, () if name == field.name else (f'alias="{field.name}"',))
        yield f"    {name}: {self._type(field.shape)}{f' = {default}' if default else ''}"
        yield from docstring(field.doc)

    def _type(self, shape: Shape) -> str:
        match shape.kind:
            case "union":
                # A set of two branches may be one class: `bytes` and `fixed`.
                return " | ".join(dict.fromkeys(self._type(branch) for branch in _null_last(shape)))
            case "array":
                return f"list[{self._type(shape.inner[0])}]"
            case "map":
                return f"dict[str, {self._type(shape.inner[0])}]"
            case "record" | "enum":
                return self._classes[shape.name]
            case _:
                return _TYPES[shape.logical or shape.kind]

    def _default(self, field: Field, options: tuple[str, ...]) -> str:
        value = self._value(field) if field.has_default else ""
        if value in ("[]", "{}"):
            options = (f"default_factory={'list' if value == '[]' else 'dict'}", *options)
        elif value and options:
            options = (f"default={value}", *options)
        return f"_pydantic.Field({', '.join(options)})" if options else value

    def _value(self, field: Field) -> str:
        """Null, truth values, numbers, text, symbols and what is empty; `read` knows them all."""
        # A union's default is of its first branch.
        first = field.shape.inner[0] if field.shape.kind == "union" else field.shape
        if first.kind == "enum":
            return f"{self._classes[first.name]}.{_symbols(first)[field.default]}"
        if first.kind in ("array", "map"):
            return "" if field.default else repr(field.default)
        if first.logical or first.kind in ("record", "bytes", "fixed"):
            return ""
        return quoted(field.default) if first.kind == "string" else repr(field.default)


def _symbols(shape: Shape) -> dict[str, str]:
    return free_names(shape.symbols, {*keyword.kwlist, *dir(StrEnum), "mro"})


def _null_last(shape: Shape) -> list[Shape]:
    return sorted(shape.inner, key=lambda branch: branch.kind == "null")


def _imports(body: str) -> str:
    used = [name for name in _MODULES if f"_{name}." in body]
    names = sorted({*used, "functools", "io", "json"})
    return _IMPORTS.format("\n".join(f"import {name} as _{name}" for name in names))


def _bare(schema: Any) -> Any:
    """A schema without its docs, which stand in the classes."""
    if isinstance(schema, list):
        return [_bare(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    below = ("type", "items", "values", "fields")
    return {k: _bare(v) if k in below else v for k, v in schema.items() if k != "doc"}
