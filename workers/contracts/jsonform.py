"""One event of JSON as a datum: the form that Avro 1.12 calls "JSON Encoding", and what we add.

As Avro says: a record is an object, an array a list, a map an object; an enum is its symbol; bytes
and fixed are text of the code points 0 to 255; a logical type is written as what it stands on, so
a timestamp is an integer; a union's value is null or an object with one member, named by the type.

Added, because people write JSON by hand: a field that has a default may be left out; a value of a
union of null and one type may be written without the type's name; `NaN`, `Infinity` and
`-Infinity` are written as text; `5.0` is the integer 5, as JSON Schema has it, up to 2^53. Nothing
else is guessed: `"5"` is no number.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from workers.contracts.schema import Schema
from workers.contracts.strict import INT_RANGE, UUID, logical_range

Json = Any
Write = Callable[[Json, bytearray], None]
LONG_RANGE = (-(2**63), 2**63 - 1)
EXACT = 2**53
"""Integers that a double holds exactly."""
NAMED = frozenset({"record", "error", "enum", "fixed"})
WORDS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_ABSENT = object()
_UUID = re.compile(UUID)
_FLOATS = {"float": struct.Struct("<f"), "double": struct.Struct("<d")}


@dataclass(frozen=True, slots=True)
class FieldFault:
    """What is wrong with a field; `path` is a JSON pointer. Neither text holds a value."""

    path: str
    detail: str
    remedy: str


class Misfit(Exception):  # noqa: N818  what the event is
    """The event is not one of the contract; `faults` has an entry for each top-level field."""

    def __init__(self, faults: tuple[FieldFault, ...]) -> None:
        super().__init__("; ".join(f"{fault.path}: {fault.detail}" for fault in faults))
        self.faults = faults


class _Fault(Exception):  # noqa: N818  carried up to become a FieldFault
    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.detail, self.remedy = detail, remedy
        self.path: list[str] = []

    def below(self, name: str | int) -> _Fault:
        self.path.insert(0, str(name).replace("~", "~0").replace("/", "~1"))
        return self

    @property
    def said(self) -> FieldFault:
        return FieldFault("".join(f"/{part}" for part in self.path), self.detail, self.remedy)


class JsonForm:
    """Writes JSON events of one contract version as bare datums."""

    def __init__(self, schema: Schema) -> None:
        """Compile a schema; its defaults are held to its types on the way.

        Raises:
            ValueError: a default is no value of its field.
        """
        self.schema = schema
        self._fields = _Compiler().fields(schema.document, "")
        self._known = frozenset(self._fields)

    def datum(self, event: Json) -> bytes:
        """The event's bytes.

        Raises:
            Misfit: it is none of the contract; names every field.
        """
        if type(event) is not dict:
            fault = _Fault(f"an event is an object, not {_kind(event)}", "send an object")
            raise Misfit((fault.said,))
        out, faults = bytearray(), []
        for name, (write, default) in self._fields.items():
            value = event.get(name, _ABSENT)
            try:
                if value is not _ABSENT:
                    write(value, out)
                elif default is None:
                    faults.append(_missing(name).said)
                else:
                    out += default
            except _Fault as fault:
                faults.append(fault.below(name).said)
        if not event.keys() <= self._known:
            faults += [_unknown(name, self._known).said for name in event.keys() - self._known]
        if faults:
            raise Misfit(tuple(faults))
        return bytes(out)


def put_long(number: int, out: bytearray) -> None:
    """Zig-zag, then seven bits a byte (Avro 1.12, "Binary Encoding")."""
    number = (number << 1) ^ (number >> 63)
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


class _Compiler:
    """Makes a writer of each type; names are resolved as they come."""

    def __init__(self) -> None:
        self._named: dict[str, Write] = {}
        self._tags: dict[str, str] = {}

    def fields(
        self, record: Mapping[str, Json], namespace: str
    ) -> dict[str, tuple[Write, bytes | None]]:
        space = full_name(record, namespace).rpartition(".")[0]
        found: dict[str, tuple[Write, bytes | None]] = {}
        for entry in record["fields"]:
            write = self.writer(entry["type"], space)
            default = None
            if "default" in entry:
                default = self._default(entry, space)
            found[entry["name"]] = (write, default)
        return found

    def _default(self, entry: Mapping[str, Json], space: str) -> bytes:
        """A union's default is of one of its branches, without a name."""
        kind, out = entry["type"], bytearray()
        branches = kind if isinstance(kind, list) else [kind]
        for number, branch in enumerate(branches):
            out.clear()
            if isinstance(kind, list):
                put_long(number, out)
            try:
                self.writer(branch, space)(entry["default"], out)
            except _Fault:
                continue
            return bytes(out)
        raise ValueError(f"the default of field {entry['name']} is no value of it")

    def writer(self, schema: Json, space: str) -> Write:  # noqa: PLR0911  a line a kind
        if isinstance(schema, list):
            return self._union(schema, space)
        if isinstance(schema, str):
            return self._reference(schema, space)
        kind = schema["type"]
        if isinstance(kind, dict | list):
            return self.writer(kind, space)
        if kind in NAMED:
            return self._define(schema, space)
        if kind == "array":
            return _array(self.writer(schema["items"], space))
        if kind == "map":
            return _map(self.writer(schema["values"], space))
        return _primitive(kind, schema.get("logicalType")) or self._reference(kind, space)

    def _reference(self, name: str, space: str) -> Write:
        found = _primitive(name, None)
        if found is not None:
            return found
        known = self._named.get(name) if "." in name else self._named.get(f"{space}.{name}")
        return known or self._named[name]

    def _define(self, schema: Mapping[str, Json], space: str) -> Write:
        name = full_name(schema, space)
        made: Write
        if schema["type"] == "enum":
            made = _enum(schema["symbols"])
        elif schema["type"] == "fixed":
            made = _bytes(schema["size"])
        else:
            made = _record(self.fields(schema, space))
        self._named[name] = made
        return made

    def _union(self, branches: list[Json], space: str) -> Write:
        writers = [self.writer(branch, space) for branch in branches]
        names = [branch_name(branch, space, self._named) for branch in branches]
        by_name = dict(zip(names, enumerate(writers), strict=True))
        others = [name for name in names if name != "null"]
        bare = by_name[others[0]] if len(names) == 2 and len(others) == 1 else None
        null = names.index("null") if "null" in names else None

        def write(value: Json, out: bytearray) -> None:
            if value is None:
                if null is None:
                    raise _Fault("may not be null", f"give a value: {', '.join(others)}")
                out.append(null << 1)
                return
            if type(value) is dict and len(value) == 1:
                (name,) = value
                if name in by_name and name != "null":
                    number, chosen = by_name[name]
                    put_long(number, out)
                    _below(chosen, value[name], name, out)
                    return
            if bare is None:
                form = f'{{"{others[0]}": …}}'
                raise _Fault("does not say which type it is", f"write {form}: {', '.join(others)}")
            out.append(bare[0] << 1)
            bare[1](value, out)

        return write


def branch_name(branch: Json, space: str, known: Mapping[str, Any]) -> str:
    """What a union's value is named by: the type, or the full name of a record, enum or fixed."""
    if isinstance(branch, dict):
        kind = branch["type"]
        return full_name(branch, space) if kind in NAMED else branch_name(kind, space, known)
    name = str(branch)
    return f"{space}.{name}" if "." not in name and f"{space}.{name}" in known else name


def full_name(schema: Mapping[str, Json], namespace: str) -> str:
    """Namespace and name."""
    name = str(schema["name"])
    space = str(schema.get("namespace", namespace) or "")
    return name if "." in name or not space else f"{space}.{name}"


def _below(write: Write, value: Json, name: str | int, out: bytearray) -> None:
    try:
        write(value, out)
    except _Fault as fault:
        raise fault.below(name) from None


def _primitive(kind: str, logical: str | None) -> Write | None:
    if kind in ("int", "long"):
        return _integer(kind, logical)
    if kind in _FLOATS:
        return _number(kind)
    if kind == "string":
        return _text(uuid=logical == "uuid")
    if kind == "bytes":
        return _bytes(None)
    return {"null": _null, "boolean": _boolean}.get(kind)


def _null(value: Json, _: bytearray) -> None:
    if value is not None:
        raise _Fault(f"is {_kind(value)}, not null", "write null")


def _boolean(value: Json, out: bytearray) -> None:
    if type(value) is not bool:
        raise _Fault(f"is {_kind(value)}, not a boolean", "write true or false")
    out.append(value)


def _integer(kind: str, logical: str | None) -> Write:
    low, high = logical_range(logical) or (INT_RANGE if kind == "int" else LONG_RANGE)
    what = f"{kind} ({logical})" if logical else kind

    def write(value: Json, out: bytearray) -> None:
        if type(value) is float and value.is_integer() and -EXACT <= value <= EXACT:
            value = int(value)
        if type(value) is not int:
            raise _Fault(f"is {_kind(value)}, not an integer", f"write an integer: it is {what}")
        if not low <= value <= high:
            raise _Fault(f"is out of the range of {what}", f"write {low} to {high}")
        put_long(value, out)

    return write


def _number(kind: str) -> Write:
    pack = _FLOATS[kind].pack
    endless = (float("inf"), float("-inf"))

    def write(value: Json, out: bytearray) -> None:
        if type(value) is str and value in WORDS:
            out += pack(WORDS[value])
            return
        if type(value) is not float and type(value) is not int:
            raise _Fault(f"is {_kind(value)}, not a number", "write a number")
        try:
            # A number of too many digits is read as an infinite one.
            packed = None if value in endless else pack(value)
        except (OverflowError, struct.error):
            packed = None
        if packed is None:
            raise _Fault(f"is too large for {kind}", f"write a number that fits into {kind}")
        out += packed

    return write


def _text(*, uuid: bool) -> Write:
    def write(value: Json, out: bytearray) -> None:
        if type(value) is not str:
            raise _Fault(f"is {_kind(value)}, not text", "write text")
        if uuid and not _UUID.fullmatch(value):
            raise _Fault("is no UUID", "write 32 hexadecimal digits in groups of 8-4-4-4-12")
        try:
            encoded = value.encode()
        except UnicodeEncodeError:
            raise _Fault("has half of a surrogate pair", "write whole characters") from None
        put_long(len(encoded), out)
        out += encoded

    return write


def _bytes(size: int | None) -> Write:
    def write(value: Json, out: bytearray) -> None:
        if type(value) is not str:
            raise _Fault(f"is {_kind(value)}, not text", "write a character a byte, U+0000-U+00FF")
        try:
            encoded = value.encode("latin-1")
        except UnicodeEncodeError:
            raise _Fault(
                "has a character over U+00FF", "write a character a byte, U+0000-U+00FF"
            ) from None
        if size is None:
            put_long(len(encoded), out)
        elif len(encoded) != size:
            raise _Fault(f"has {len(encoded)} bytes, not {size}", f"write {size} characters")
        out += encoded

    return write


def _enum(symbols: list[str]) -> Write:
    places = {symbol: place for place, symbol in enumerate(symbols)}
    shown = ", ".join(symbols[:20])

    def write(value: Json, out: bytearray) -> None:
        place = places.get(value) if type(value) is str else None
        if place is None:
            raise _Fault("is no symbol of the enum", f"write one of {shown}")
        put_long(place, out)

    return write


def _array(item: Write) -> Write:
    def write(value: Json, out: bytearray) -> None:
        if type(value) is not list:
            raise _Fault(f"is {_kind(value)}, not a list", "write a list")
        if value:
            put_long(len(value), out)
        for place, each in enumerate(value):
            _below(item, each, place, out)
        out.append(0)

    return write


def _map(item: Write) -> Write:
    text = _text(uuid=False)

    def write(value: Json, out: bytearray) -> None:
        if type(value) is not dict:
            raise _Fault(f"is {_kind(value)}, not an object", "write an object")
        if value:
            put_long(len(value), out)
        for key, each in value.items():
            _below(text, key, key, out)
            _below(item, each, key, out)
        out.append(0)

    return write


def _record(fields: dict[str, tuple[Write, bytes | None]]) -> Write:
    known = frozenset(fields)

    def write(value: Json, out: bytearray) -> None:
        if type(value) is not dict:
            raise _Fault(f"is {_kind(value)}, not an object", "write an object")
        for name, (below, default) in fields.items():
            given = value.get(name, _ABSENT)
            if given is not _ABSENT:
                _below(below, given, name, out)
            elif default is None:
                raise _missing(name)
            else:
                out += default
        if not value.keys() <= known:
            raise _unknown(next(iter(value.keys() - known)), known)

    return write


def _missing(name: str) -> _Fault:
    return _Fault("is missing", "give it a value: it has no default").below(name)


def _unknown(name: str, known: frozenset[str]) -> _Fault:
    close = get_close_matches(name[:100], known, n=1)
    remedy = f"did you mean {close[0]}?" if close else "leave it out"
    return _Fault("is no field of the contract", remedy).below(name)


_KINDS = {
    dict: "an object", list: "a list", str: "text", bool: "a boolean", int: "an integer",
    float: "a number", type(None): "null",
}  # fmt: skip


def _kind(value: Json) -> str:
    return _KINDS.get(type(value), type(value).__name__)
