"""Events of flights.enriched-value version 2.

Written by `workers contracts codegen flights.enriched-value`: do not edit.
"""

from __future__ import annotations

import enum as _enum
import functools as _functools
import io as _io
import json as _json
from typing import Any as _Any

import fastavro as _fastavro
import pydantic as _pydantic

__all__ = [
    "Enrichment",
    "FlightEnriched",
    "Origin",
    "Reason",
    "read",
    "schema_id",
]

SCHEMA = (
    '{"type": "record", "name": "FlightEnriched", "namespace": "org.example.flights", "fields": '
    '[{"name": "flight_id", "type": "string"}, {"name": "carrier", "type": "string"}, {"name": '
    '"flight", "type": "int"}, {"name": "tailnum", "type": ["null", "string"], "default": null}, '
    '{"name": "origin", "type": {"type": "enum", "name": "Origin", "symbols": ["EWR", "JFK", '
    '"LGA"]}}, {"name": "dest", "type": "string"}, {"name": "scheduled_departure", "type": '
    '{"type": "long", "logicalType": "timestamp-millis"}}, {"name": "departure_delay", "type": '
    '"int"}, {"name": "distance", "type": "int"}, {"name": "temperature", "type": ["null", '
    '"double"], "default": null}, {"name": "humidity", "type": ["null", "double"], "default": '
    'null}, {"name": "wind_speed", "type": ["null", "double"], "default": null}, {"name": '
    '"precipitation", "type": ["null", "double"], "default": null}, {"name": "pressure", "type": '
    '["null", "double"], "default": null}, {"name": "visibility", "type": ["null", "double"], '
    '"default": null}, {"name": "seats", "type": ["null", "int"], "default": null}, {"name": '
    '"enrichment", "type": {"type": "record", "name": "Enrichment", "namespace": "workers.v1", '
    '"fields": [{"name": "decision_id", "type": "string"}, {"name": "model", "type": "string"}, '
    '{"name": "model_version", "type": "string"}, {"name": "score", "type": ["null", "double"], '
    '"default": null}, {"name": "decision", "type": "string"}, {"name": "fallback", "type": '
    '"boolean", "default": false}, {"name": "fallback_reason", "type": ["null", "string"], '
    '"default": null}, {"name": "reasons", "type": {"type": "array", "items": {"type": "record", '
    '"name": "Reason", "fields": [{"name": "code", "type": "string"}, {"name": "contribution", '
    '"type": "double"}]}}, "default": []}, {"name": "scored_at", "type": {"type": "long", '
    '"logicalType": "timestamp-millis"}}, {"name": "arm", "type": "string", "default": '
    '"champion"}, {"name": "rule", "type": ["null", "string"], "default": null}]}}]}'
)

_CONFIG = _pydantic.ConfigDict(frozen=True, serialize_by_alias=True, use_attribute_docstrings=True)


class Origin(_enum.StrEnum):
    EWR = "EWR"
    JFK = "JFK"
    LGA = "LGA"


class Reason(_pydantic.BaseModel):
    """One contribution to the score."""

    model_config = _CONFIG

    code: str
    """Reason code of the bundle."""
    contribution: float
    """Share of the raw score, in log-odds for a binary model."""


class Enrichment(_pydantic.BaseModel):
    """What the model said of one event, and how it came to say so."""

    model_config = _CONFIG

    decision_id: str
    """worker:topic:partition:offset of the input record. The same record always gets the same id,
    so a subscriber can drop a duplicate by it.
    """
    model: str
    """Name of the model that the worker serves."""
    model_version: str
    """Version of the bundle that was loaded when the event was scored."""
    score: float | None = None
    """The model's output in the bundle's score range; null where the decision is a fallback."""
    decision: str
    """The bundle's decision band that holds the score, or its declared fallback decision."""
    fallback: bool = False
    """True where the decision was made without the model."""
    fallback_reason: str | None = None
    """Why it was made without the model: a stable code, such as model_failed; null otherwise."""
    reasons: list[Reason] = _pydantic.Field(default_factory=list)
    """Strongest contributions first; empty where none were asked for."""
    scored_at: _pydantic.AwareDatetime
    """When the batch that held the event was scored, UTC."""
    arm: str = "champion"
    """The alias whose version decided: champion, or challenger where a canary takes this event's
    key.
    """
    rule: str | None = None
    """The declared rule that made the decision or changed it; null where the model's, or the
    fallback, stands.
    """


class FlightEnriched(_pydantic.BaseModel):
    """org.example.flights.Flight and what the model said of it. Derived; do not edit."""

    model_config = _CONFIG

    flight_id: str
    """Scheduled departure, carrier, number and origin; unique."""
    carrier: str
    """Two-character airline code."""
    flight: int
    """Flight number."""
    tailnum: str | None = None
    """Registration of the aircraft."""
    origin: Origin
    """Airport of departure."""
    dest: str
    """Airport of arrival, FAA code."""
    scheduled_departure: _pydantic.AwareDatetime
    """UTC."""
    departure_delay: int
    """Minutes after schedule; negative is early."""
    distance: int
    """Miles between the airports."""
    temperature: float | None = None
    """Fahrenheit, at the origin in the hour of departure."""
    humidity: float | None = None
    """Relative, per cent."""
    wind_speed: float | None = None
    """Miles an hour."""
    precipitation: float | None = None
    """Inches in the hour."""
    pressure: float | None = None
    """Sea level, millibar."""
    visibility: float | None = None
    """Miles."""
    seats: int | None = None
    """Seats of the aircraft."""
    enrichment: Enrichment
    """What the model said of one event, and how it came to say so."""


def schema_id(value: bytes) -> int:
    """The schema id of a record's value: a registry, or subject.yaml, has its schema.

    Raises:
        ValueError: the value is not framed: one zero byte, then the id as four bytes.
    """
    if len(value) < 5 or value[0] != 0:
        raise ValueError("not framed: a zero byte and four bytes of schema id come first")
    return int.from_bytes(value[1:5], "big")


def read(value: bytes, written: str) -> FlightEnriched:
    """The event in a record's value; `written` is the text of the schema that `schema_id` names.

    Fields that a later version added are left out, those it has not get their defaults.
    """
    datum = _io.BytesIO(value[5:])
    return FlightEnriched.model_validate(
        _fastavro.schemaless_reader(datum, _parsed(written), _parsed(SCHEMA))
    )


@_functools.cache
def _parsed(text: str) -> _Any:
    return _fastavro.parse_schema(_json.loads(text))
