"""The OpenAPI 3.1 document: every worker's events and decisions as its contracts have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from workers import __version__
from workers.contracts.jsonschema import answer_schema, event_schema
from workers.contracts.schema import Schema
from workers.gateway.events import AVRO_TYPE, JSON_TYPE
from workers.gateway.problems import ABOUT, MEDIA_TYPE, URN, Kind

Json = dict[str, Any]
TIMEOUT = r"(?!0+(?:\.0+)?[ms])([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s|m)"
"""Of X-Request-Timeout."""
DECIDE = (
    Kind.NOT_JSON, Kind.UNAUTHENTICATED, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.IN_FLIGHT,
    Kind.TOO_LARGE, Kind.MEDIA, Kind.INVALID, Kind.RATE, Kind.OVERLOADED,
)  # fmt: skip
READ = (Kind.BAD_HEADER, Kind.UNAUTHENTICATED, Kind.FORBIDDEN, Kind.NOT_FOUND)


class Described:
    """A worker as the document has it."""

    def __init__(
        self,
        name: str,
        event: Schema,
        block: Schema,
        names: Iterable[str],
        *,
        versions: Iterable[int],
        examples: Mapping[str, Any],
    ) -> None:
        """`versions` of the contract that JSON may be of; `examples` are events by name."""
        self.name = name
        self.event = event
        self.block = block
        self.names = tuple(names)
        self.versions = tuple(versions)
        self.examples = dict(examples)

    @property
    def stem(self) -> str:
        """For names of components."""
        words = self.name.replace(".", "-").replace("_", "-").split("-")
        return "".join(word[:1].upper() + word[1:] for word in words)


def document(workers: Iterable[Described], *, keys: bool) -> Json:
    """The document; `keys`: are Idempotency-Keys kept?"""
    paths: Json = {}
    schemas: Json = {"Problem": _PROBLEM}
    for worker in workers:
        schemas |= _schemas(worker)
        paths[f"/v1/decisions/{worker.name}"] = {"post": _decide(worker, keys=keys)}
    paths["/v1/decisions/{decision_id}"] = {"get": _look_up()}
    paths["/v1/models"] = {"get": _models()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Decision gateway",
            "version": __version__,
            "description": "The decisions of the stream, asked for in a request. Events are JSON "
            "as Avro 1.12 writes it, or framed Avro.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {_name(kind): _response(kind) for kind in {*DECIDE, *READ}},
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
        "security": [{"key": []}, {"token": []}, {}],
    }


def _schemas(worker: Described) -> Json:
    stem, block = worker.stem, answer_schema(worker.block)
    event = event_schema(worker.event)
    decided: Json = {
        "type": "object",
        "required": ["status", "degraded", "cause", *worker.names],
        "properties": {
            "status": {"const": "decided", "type": "string"},
            "degraded": {"type": "boolean", "description": "Decided without the model."},
            "cause": {
                "anyOf": [{"type": "string"}, {"type": "null"}],
                "description": "Why: over_budget, model_failed or bypassed.",
            },
            **{name: _ref(f"{stem}Block") for name in worker.names},
        },
    }
    rejected = {
        "type": "object",
        "required": ["status", "problem"],
        "properties": {
            "status": {"const": "rejected", "type": "string"},
            "problem": _ref("Problem"),
        },
    }
    # What a caller may not see is left out of its blocks.
    block = {key: value for key, value in block.items() if key != "required"}
    return {
        f"{stem}Event": event,
        f"{stem}Block": block,
        f"{stem}Decided": decided,
        f"{stem}Rejected": rejected,
        f"{stem}Outcomes": {
            "type": "object",
            "required": ["outcomes"],
            "properties": {
                "outcomes": {
                    "type": "array",
                    "items": {"anyOf": [_ref(f"{stem}Decided"), _ref(f"{stem}Rejected")]},
                }
            },
        },
    }


def _decide(worker: Described, *, keys: bool) -> Json:
    event = _ref(f"{worker.stem}Event")
    many = {"type": "array", "items": event}
    examples = {name: {"value": value} for name, value in worker.examples.items()}
    if worker.examples:
        examples["many"] = {"value": list(worker.examples.values())[:2]}
    answers = {"anyOf": [_ref(f"{worker.stem}{kind}") for kind in ("Decided", "Outcomes")]}
    return {
        "operationId": f"decide_{worker.name.replace('-', '_').replace('.', '_')}",
        "summary": f"Decide events of {worker.name}",
        "parameters": [
            _parameter("query", "reasons", {"type": "boolean"}, "Compute reasons."),
            _parameter(
                "query",
                "version",
                {"type": "string", "enum": [str(number) for number in worker.versions]},
                "Contract version of JSON events; default: the newest.",
            ),
            _parameter(
                "header",
                "X-Request-Timeout",
                {"type": "string", "pattern": f"^{TIMEOUT}$", "examples": ["50ms", "2s"]},
                "Until when a decision is needed, as in 50ms or 2s; what cannot be scored by then "
                "gets the declared fallback.",
            ),
            *(
                [
                    _parameter(
                        "header",
                        "Idempotency-Key",
                        {"type": "string", "pattern": "^[!-~]{1,255}$"},
                        "The same key and request get the same answer.",
                    )
                ]
                if keys
                else []
            ),
        ],
        "requestBody": {
            "required": True,
            "content": {
                JSON_TYPE: {"schema": {"anyOf": [event, many]}, "examples": examples},
                AVRO_TYPE: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": {
            "200": {
                "description": "An outcome, or one for each event of a list.",
                "content": {JSON_TYPE: {"schema": answers}},
            },
            **_problems(DECIDE),
        },
    }


def _look_up() -> Json:
    return {
        "operationId": "get_decision",
        "summary": "One of the newest decisions, by its id",
        "parameters": [
            {
                "name": "decision_id",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "minLength": 1},
            }
        ],
        "responses": {
            "200": _plain("The block.", {"decision": {"type": "object"}}),
            **_problems(READ),
        },
    }


def _models() -> Json:
    workers = {"type": "array", "items": {"type": "object"}}
    return {
        "operationId": "get_models",
        "summary": "What decides now",
        "responses": {
            "200": _plain("Workers with the models of their blocks.", {"workers": workers}),
            **_problems((Kind.BAD_HEADER, Kind.UNAUTHENTICATED, Kind.FORBIDDEN)),
        },
    }


def _plain(description: str, properties: Json) -> Json:
    schema = {"type": "object", "required": list(properties), "properties": properties}
    return {"description": description, "content": {JSON_TYPE: {"schema": schema}}}


def _problems(kinds: Iterable[Kind]) -> Json:
    return {
        str(ABOUT[kind].status): {"$ref": f"#/components/responses/{_name(kind)}"} for kind in kinds
    }


def _response(kind: Kind) -> Json:
    about = ABOUT[kind]
    shown: Json = {"type": f"{URN}{kind}", "title": about.title, "status": about.status}
    if kind is Kind.INVALID:
        shown["detail"] = "fields that do not fit"
        shown["errors"] = [
            {
                "pointer": "#/departure_delay",
                "detail": "is text, not an integer",
                "remedy": "write an integer: it is int",
            }
        ]
    content = {"schema": _ref("Problem"), "example": shown}
    return {"description": about.title, "content": {MEDIA_TYPE.decode(): content}}


def _name(kind: Kind) -> str:
    return "".join(word.title() for word in kind.value.split("-"))


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _parameter(where: str, name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": where, "schema": schema, "description": description}


_PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "enum": [f"{URN}{kind}" for kind in Kind]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Of a rejected event: docs/errors.md."},
        "verdict": {"type": "string"},
        "remedy": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail", "remedy"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer to the field."},
                    "detail": {"type": "string"},
                    "remedy": {"type": "string"},
                },
            },
        },
    },
}
