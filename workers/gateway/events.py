"""From a request's body to framed Avro: what the path is given, whatever the events came as."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from workers.contracts.framing import PREFIX
from workers.contracts.jsonform import FieldFault, JsonForm, Misfit
from workers.gateway.problems import Kind, Problem

JSON_TYPE = "application/json"
AVRO_TYPE = "application/avro"
AVRO_TYPES = frozenset({AVRO_TYPE, "application/vnd.apache.avro", "avro/binary"})
LENGTH = 4


class Shape(StrEnum):
    """One event, or a list of them."""

    ONE = "one"
    MANY = "many"


@dataclass(frozen=True, slots=True)
class Events:
    """What a request asks: a framed value for each event, or the problem of one that has none."""

    shape: Shape
    values: list[bytes | Problem]
    keys: list[bytes | None]


@dataclass(frozen=True, slots=True)
class Reading:
    """How events of one worker are read: the contract version of JSON, and what may be in it."""

    form: JsonForm
    frame: bytes
    key: str | None


class _Twice(Exception):  # noqa: N818  what the JSON has
    pass


def read_json(body: bytes, reading: Reading, most: int, accepts: Collection[str] | None) -> Events:
    """Events of JSON: an object, or a list of objects. What is wrong with one harms no other.

    Raises:
        Problem: the body is no JSON, has a name twice, or too many events.
    """
    document = _parsed(body)
    events = document if isinstance(document, list) else [document]
    if len(events) > most:
        raise Problem(Kind.TOO_LARGE, f"{len(events)} events, more than {most}: send several lists")
    values, keys = list[bytes | Problem](), list[bytes | None]()
    for event in events:
        value = _value(event, reading, accepts)
        values.append(value)
        keys.append(None if isinstance(value, Problem) else _key(event, reading.key))
    return Events(Shape.MANY if isinstance(document, list) else Shape.ONE, values, keys)


def _value(event: Any, reading: Reading, accepts: Collection[str] | None) -> bytes | Problem:
    if accepts is not None and isinstance(event, dict):
        faults = [
            FieldFault(f"/{name}", "is no field that this caller may send", "leave it out")
            for name in event
            if name not in accepts
        ]
        if faults:
            return Problem(Kind.FORBIDDEN, "fields that this caller may not send", errors=faults)
    try:
        return reading.frame + reading.form.datum(event)
    except Misfit as misfit:
        return Problem(Kind.INVALID, "fields that do not fit", errors=misfit.faults)


def _key(event: Any, field: str | None) -> bytes | None:
    found = None if field is None else event.get(field)
    if isinstance(found, dict) and len(found) == 1:
        (found,) = found.values()
    return key_bytes(found)


def key_bytes(found: Any) -> bytes | None:
    """A field's value as a record's key: its text, as UTF-8."""
    if isinstance(found, bool) or not isinstance(found, str | int):
        return None
    return str(found).encode()


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body, object_pairs_hook=_unique, parse_constant=_constant)
    except _Twice as twice:
        raise Problem(Kind.NOT_JSON, str(twice)) from None
    except json.JSONDecodeError as error:
        # The message alone: the document is the caller's.
        raise Problem(Kind.NOT_JSON, f"at byte {error.pos}: {error.msg}") from None
    except RecursionError:
        raise Problem(Kind.NOT_JSON, "nested too deeply") from None
    except ValueError as error:
        what = "not UTF-8" if isinstance(error, UnicodeDecodeError) else "a number of many digits"
        raise Problem(Kind.NOT_JSON, what) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Twice("a name twice in an object: which one is meant, readers answer differently")
    return found


def _constant(name: str) -> Any:
    raise _Twice(f"{name} is not JSON: write it as text")


KeysOf = Callable[[list[bytes]], list[bytes | None]]
"""Keys of framed events."""


def read_avro(body: bytes, parameters: str, keys_of: KeysOf, most: int) -> Events:
    """One framed event; with `events=many` several, each after its length in four bytes.

    Raises:
        Problem: the lengths do not add up, or there are too many.
    """
    if "events=many" not in parameters.replace(" ", "").lower():
        values, shape = [body], Shape.ONE
    else:
        values, shape = _several(body, most), Shape.MANY
    for value in values:
        if len(value) < PREFIX or value[0] != 0:
            raise Problem(
                Kind.NOT_AVRO,
                "an event begins with 0x00 and the schema's id, four bytes big-endian",
            )
    return Events(shape, [*values], keys_of(values))


def _several(body: bytes, most: int) -> list[bytes]:
    values, at = list[bytes](), 0
    while at < len(body):
        length = int.from_bytes(body[at : at + LENGTH], "big")
        at += LENGTH
        if at + length > len(body):
            raise Problem(Kind.NOT_AVRO, f"event {len(values)}: the body ends inside it")
        values.append(body[at : at + length])
        at += length
        if len(values) > most:
            raise Problem(Kind.TOO_LARGE, f"more than {most} events: send several lists")
    return values
