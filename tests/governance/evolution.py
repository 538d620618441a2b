"""Random schemas, the changes people make to them, and random records of them."""

from __future__ import annotations

import copy
import json
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from workers.contracts.schema import Schema, parse
from workers.errors import ContractError
from workers.governance.compatibility.shape import NO_DEFAULT, Shape, shape_of

Json = Any
PRIMITIVES = ("boolean", "int", "long", "float", "double", "bytes", "string")
LOGICAL = {
    "int": ("date", "time-millis"),
    "long": (
        "timestamp-millis",
        "timestamp-micros",
        "time-micros",
        "local-timestamp-millis",
        "local-timestamp-micros",
    ),
    "string": ("uuid",),
}
TEXTS = ("", "a", "é", "漢字", "x" * 70)


class Maker:
    """Makes the document of one schema; names of types and fields do not repeat."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.number = 0
        self.named: list[str] = []

    def name(self, prefix: str) -> str:
        self.number += 1
        return f"{prefix}{self.number}"

    def record(self, depth: int, name: str | None = None) -> Json:
        name = name or self.name("R")
        fields = [self.field(depth) for _ in range(self.rng.randint(1, 3))]
        self.named.append(name)
        return {"type": "record", "name": name, "fields": fields}

    def field(self, depth: int) -> Json:
        return {"name": self.name("f"), "type": self.kind(depth)}

    def kind(self, depth: int) -> Json:
        shapes: list[Callable[[], Json]] = [
            lambda: self.rng.choice(PRIMITIVES),
            self.logical,
            self.named_leaf,
        ]
        if depth:
            shapes += [
                lambda: {"type": "array", "items": self.kind(depth - 1)},
                lambda: {"type": "map", "values": self.kind(depth - 1)},
                lambda: self.record(depth - 1),
                self.optional,
                lambda: self.union(depth - 1),
            ]
        return self.rng.choice(shapes)()

    def logical(self) -> Json:
        base = self.rng.choice(("int", "long", "string", "bytes", "fixed"))
        if base == "bytes":
            return {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
        if base == "fixed":
            decimal = {"logicalType": "decimal", "precision": 6, "scale": 2}
            return {"type": "fixed", "name": self.name("D"), "size": 4, **decimal}
        return {"type": base, "logicalType": self.rng.choice(LOGICAL[base])}

    def named_leaf(self) -> Json:
        if self.named and self.rng.random() < 0.4:
            return self.rng.choice(self.named)
        if self.rng.random() < 0.3:
            name = self.name("X")
            self.named.append(name)
            return {"type": "fixed", "name": name, "size": self.rng.randint(1, 3)}
        name = self.name("E")
        self.named.append(name)
        made = {"type": "enum", "name": name, "symbols": ["A", "B", "C"][: self.rng.randint(1, 3)]}
        return made | ({"default": "A"} if self.rng.random() < 0.5 else {})

    def optional(self) -> Json:
        pair = ["null", self.plain()]
        return pair if self.rng.random() < 0.8 else pair[::-1]

    def plain(self) -> Json:
        return self.rng.choice((self.rng.choice(PRIMITIVES), self.logical(), self.named_leaf()))

    def union(self, depth: int) -> Json:
        branches = self.rng.sample(("null", *PRIMITIVES), self.rng.randint(1, 3))
        return branches + ([self.record(depth)] if self.rng.random() < 0.4 else [])


def random_document(rng: random.Random) -> Json:
    """A record schema of up to three levels."""
    made = Maker(rng).record(2, "Top")
    return {**made, "namespace": "org.example"}


def parsed(document: Json) -> Schema | None:
    """The schema; None where it is one that we refuse."""
    try:
        return parse(json.dumps(document), where="random")
    except ContractError:
        return None


def objects(document: Json) -> Iterator[dict[str, Any]]:
    """Every object of a document: types and fields."""
    if isinstance(document, dict):
        yield document
    for below in document.values() if isinstance(document, dict) else document:
        if isinstance(below, dict | list):
            yield from objects(below)


def _fields(document: Json) -> list[dict[str, Any]]:
    return [entry for entry in objects(document) if "name" in entry and not _defines(entry)]


def _defines(entry: dict[str, Any]) -> bool:
    return entry.get("type") in ("record", "enum", "fixed")


def _of_kind(document: Json, *kinds: str) -> list[dict[str, Any]]:
    return [entry for entry in objects(document) if entry.get("type") in kinds]


def add_field(rng: random.Random, document: Json) -> None:
    record = rng.choice(_of_kind(document, "record"))
    maker = Maker(rng)
    maker.number = 100
    entry = maker.field(1)
    choice = rng.random()
    standing = parsed({"type": "record", "name": "S", "fields": [copy.deepcopy(entry)]})
    if choice < 0.5 and standing is not None:
        entry["default"] = default_of(rng, shape_of(standing).fields[0].shape)
    elif choice < 0.65:
        entry["default"] = rng.choice((None, 1, "x", 2**40, [], {}, True, "\u0100", 1.5))
    elif choice < 0.75:
        entry |= {"type": ["null", "string"], "default": None}
    record["fields"].insert(rng.randint(0, len(record["fields"])), entry)


def remove_field(rng: random.Random, document: Json) -> None:
    record = rng.choice(_of_kind(document, "record"))
    record["fields"].pop(rng.randrange(len(record["fields"])))


def rename_field(rng: random.Random, document: Json) -> None:
    entry = rng.choice(_fields(document))
    if rng.random() < 0.6:
        entry["aliases"] = [entry["name"]]
    entry["name"] = "renamed"


def take_an_alias(rng: random.Random, document: Json) -> None:
    fields = _fields(document)
    rng.choice(fields)["aliases"] = [rng.choice(fields)["name"]]


def change_type(rng: random.Random, document: Json) -> None:
    entry = rng.choice(_fields(document))
    promoted = {"int": "long", "long": "double", "float": "double", "string": "bytes"}
    if isinstance(entry["type"], str) and entry["type"] in promoted and rng.random() < 0.6:
        entry["type"] = promoted[entry["type"]]
    else:
        entry["type"] = rng.choice(PRIMITIVES)


def change_items(rng: random.Random, document: Json) -> None:
    entry = rng.choice(_of_kind(document, "array", "map"))
    entry["items" if entry["type"] == "array" else "values"] = rng.choice(PRIMITIVES)


def make_optional(rng: random.Random, document: Json) -> None:
    entry = rng.choice([e for e in _fields(document) if not isinstance(e["type"], list)])
    entry["type"] = ["null", entry["type"]]


def make_required(rng: random.Random, document: Json) -> None:
    entry = rng.choice([e for e in _fields(document) if isinstance(e["type"], list)])
    entry["type"] = rng.choice(entry["type"])


def change_union(rng: random.Random, document: Json) -> None:
    unions = [e["type"] for e in _fields(document) if isinstance(e["type"], list)]
    # fastavro cannot write text to a union with a date: it takes it for one.
    union = rng.choice([branches for branches in unions if "logicalType" not in str(branches)])
    if rng.random() < 0.5 and len(union) > 1:
        union.pop(rng.randrange(len(union)))
    else:
        union.insert(rng.randint(0, len(union)), rng.choice(PRIMITIVES))


def change_enum(rng: random.Random, document: Json) -> None:
    enum = rng.choice(_of_kind(document, "enum"))
    match rng.randrange(4):
        case 0:
            enum["symbols"].append("NEW")
        case 1 if len(enum["symbols"]) > 1:
            enum["symbols"].pop()
        case 2:
            enum["default"] = enum["symbols"][0]
        case _:
            rng.shuffle(enum["symbols"])


def change_logical(rng: random.Random, document: Json) -> None:
    entry = rng.choice([e for e in objects(document) if "logicalType" in e])
    match rng.randrange(4):
        case 0:
            del entry["logicalType"]
        case 1 if "scale" in entry:
            entry["scale"] += 1
        case 2 if "precision" in entry:
            entry["precision"] += 1
        case _:
            entry["logicalType"] = rng.choice(LOGICAL.get(entry["type"], ("decimal",)))


def reorder(rng: random.Random, document: Json) -> None:
    rng.shuffle(rng.choice(_of_kind(document, "record"))["fields"])


def rename_type(rng: random.Random, document: Json) -> None:
    entry = rng.choice(_of_kind(document, "record", "enum", "fixed"))
    old = entry["name"]
    alias = rng.choice((None, old, f"org.example.{old}", f"elsewhere.{old}"))
    entry |= {"aliases": [alias]} if alias else {}
    entry["name"] = "Renamed"
    _rename_uses(document, old)


def _rename_uses(document: Json, old: str) -> None:
    for below in document.items() if isinstance(document, dict) else enumerate(document):
        key, value = below
        if value == old and key not in ("name", "aliases"):
            document[key] = "Renamed"
        elif isinstance(value, dict | list) and key not in ("aliases", "symbols", "default"):
            _rename_uses(value, old)


def change_namespace(rng: random.Random, document: Json) -> None:
    document["namespace"] = "org.elsewhere"


def change_size(rng: random.Random, document: Json) -> None:
    rng.choice(_of_kind(document, "fixed"))["size"] += 1


CHANGES: tuple[Callable[[random.Random, Json], None], ...] = (
    add_field,
    add_field,
    remove_field,
    rename_field,
    take_an_alias,
    change_type,
    change_type,
    change_items,
    make_optional,
    make_required,
    change_union,
    change_enum,
    change_logical,
    reorder,
    rename_type,
    change_namespace,
    change_size,
)


def evolved(rng: random.Random, document: Json) -> Json:
    """The schema with one change or two."""
    made = copy.deepcopy(document)
    wanted = rng.choice((1, 1, 2))
    for change in rng.sample(CHANGES, len(CHANGES)):
        try:
            change(rng, made)
        except (IndexError, ValueError):
            continue  # there is nothing to change in that way
        wanted -= 1
        if not wanted:
            break
    return made


def default_of(rng: random.Random, shape: Shape) -> Json:
    """A valid default, as JSON: of any branch of a union."""
    match shape.kind:
        case "record":
            return {field.name: default_of(rng, field.shape) for field in shape.fields}
        case "union":
            return default_of(rng, rng.choice(shape.parts))
        case "array":
            return [default_of(rng, shape.parts[0]) for _ in range(rng.randint(0, 2))]
        case "map":
            return {"k": default_of(rng, shape.parts[0])}
        case _:
            value = value_of(rng, shape)
            return value.decode("latin-1") if isinstance(value, bytes) else value


def value_of(rng: random.Random, shape: Shape) -> Any:
    """A value as fastavro writes it; logical types in physical values."""
    match shape.kind:
        case "record":
            return {field.name: value_of(rng, field.shape) for field in shape.fields}
        case "union":
            return value_of(rng, rng.choice(shape.parts))
        case "array":
            return [value_of(rng, shape.parts[0]) for _ in range(rng.randint(0, 3))]
        case "map":
            return {f"k{n}": value_of(rng, shape.parts[0]) for n in range(rng.randint(0, 2))}
        case _:
            return _scalar(rng, shape)


def _scalar(rng: random.Random, shape: Shape) -> Any:
    if shape.logical is not None:
        return _of_logical(rng, shape)
    values: dict[str, Callable[[], Any]] = {
        "null": lambda: None,
        "boolean": lambda: rng.random() < 0.5,
        "int": lambda: rng.choice((0, -1, 2**31 - 1, -(2**31))),
        "long": lambda: rng.choice((0, 64, 2**31, 2**63 - 1, -(2**63))),
        "float": lambda: rng.choice((0.0, 1.5, -2.25)),
        "double": lambda: rng.choice((0.0, 1.5, 1e300)),
        "string": lambda: rng.choice(TEXTS),
        "bytes": lambda: rng.choice((b"", b"a", b"\xff\xfe")),
        "fixed": lambda: rng.randbytes(shape.size),
        "enum": lambda: rng.choice(shape.symbols),
    }
    return values[shape.kind]()


def _of_logical(rng: random.Random, shape: Shape) -> Any:
    logical = shape.logical
    assert logical is not None
    if logical.name == "uuid":
        return str(uuid.UUID(int=rng.getrandbits(128), version=4))
    if logical.name == "decimal":
        number = rng.choice((0, 1, -1, 10**logical.precision - 1))
        size = shape.size or (number.bit_length() // 8 + 1)
        return number.to_bytes(size, "big", signed=True)
    return rng.randrange(20_000)


def with_bytes(shape: Shape, value: Any) -> Any:
    """A decoded value in which defaults of bytes and fixed, which fastavro leaves text, are bytes.

    Fields of a record that a default leaves out are filled in.
    """
    match shape.kind:
        case "record" if isinstance(value, dict):
            return {
                field.name: with_bytes(field.shape, value.get(field.name, field.default))
                for field in shape.fields
                if value.get(field.name, field.default) is not NO_DEFAULT
            }
        case "array" | "map" | "union":
            return _parts_with_bytes(shape, value)
        case "bytes" | "fixed" if isinstance(value, str):
            return value.encode("latin-1")
        case _:
            return value


def _parts_with_bytes(shape: Shape, value: Any) -> Any:
    if shape.kind == "array":
        return [with_bytes(shape.parts[0], item) for item in value]
    if shape.kind == "map":
        return {key: with_bytes(shape.parts[0], item) for key, item in value.items()}
    kinds = {part.kind: part for part in shape.parts}
    wanted = "array" if isinstance(value, list) else ""
    if isinstance(value, dict):
        wanted = "record" if "record" in kinds else "map"
    if isinstance(value, str) and not kinds.keys() & {"string", "enum"}:
        wanted = "bytes" if "bytes" in kinds else "fixed"
    return with_bytes(kinds[wanted], value) if wanted in kinds else value
