"""What may be read beside decisions: one of them by its id, what serves, how it stands."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from workers.gateway.callers import Callers, Known
from workers.gateway.decisionlog import DecisionLog
from workers.gateway.decisions import Desk, known
from workers.gateway.gauges import reasons
from workers.gateway.http import answer_of, headers_of
from workers.gateway.lookup import Lookup
from workers.gateway.problems import MEDIA_TYPE, Kind, Problem

Handler = Callable[[Request], Awaitable[Response]]
_KINDS = {404: Kind.NOT_FOUND, 405: Kind.METHOD}


def public_app(
    desks: Mapping[str, Desk],
    callers: Callers,
    lookup: Lookup,
    log: DecisionLog,
    document: Callable[[], dict[str, Any]],
) -> FastAPI:
    """The application of the public listener, without the decisions themselves."""
    app = bare_app(document)

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        caller = await caller_of(callers, request)
        allowed = [desk for desk in desks.values() if _may(caller, desk.name)]
        return plain({"workers": [_serving(desk) for desk in allowed]})

    @app.get("/v1/decisions/{decision_id:path}")
    async def decision(request: Request, decision_id: str) -> Response:
        caller = await caller_of(callers, request)
        return plain(_found(desks, caller, lookup, decision_id))

    @app.get("/livez")
    async def alive() -> Response:
        return plain({"status": "alive"})

    @app.get("/readyz")
    async def ready() -> Response:
        unready = any(reason.blocks for reason in reasons(desks.values(), log))
        return plain({"status": "unready" if unready else "ready"}, 503 if unready else 200)

    return app


def bare_app(document: Callable[[], dict[str, Any]]) -> FastAPI:
    """An application whose errors are problems and whose OpenAPI document is given."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/openapi.json")
    async def openapi() -> Response:
        return plain(document())

    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _other)
    return app


async def caller_of(callers: Callers, request: Request) -> Known:
    """Who asks.

    Raises:
        Problem: that is not known.
    """
    return await known(callers, headers_of(request.scope), request.scope)


def plain(document: Any, status: int = 200) -> Response:
    """A document as an answer."""
    return Response(json.dumps(document), status, media_type="application/json")


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101  registered for it
    answer = answer_of(error)
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, answer.status, headers, media_type=MEDIA_TYPE.decode())


async def _other(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for it
    problem = Problem(_KINDS.get(error.status_code, Kind.BUG), "not here, or not by this method")
    answer = await _problem(request, problem)
    if (allow := (error.headers or {}).get("allow")) is not None:
        answer.headers["allow"] = allow
    return answer


def _may(caller: Known, worker: str) -> bool:
    return "*" in caller.workers or worker in caller.workers


def _found(
    desks: Mapping[str, Desk], caller: Known, lookup: Lookup, decision_id: str
) -> dict[str, Any]:
    desk = desks.get(decision_id.partition(":")[0])
    if desk is None:
        raise Problem(Kind.NOT_FOUND, "an id begins with a worker that is served here")
    caller.may_ask(desk.name)
    record = lookup.find(desk.service.decisions_topic, decision_id)
    if record is None:
        raise Problem(
            Kind.NOT_FOUND, "none of the newest decisions: older ones are in the decisions topic"
        )
    block: dict[str, Any] = desk.service.renderer.read(record)
    if caller.returns is not None:
        block = {name: value for name, value in block.items() if name in caller.returns}
    return {"decision": block}


def _serving(desk: Desk) -> dict[str, Any]:
    """What decides for a worker now, block by block."""
    blocks = {}
    for name, serving in zip(
        desk.service.enricher.policy.blocks, desk.service.enricher.servings, strict=True
    ):
        manifest, canary = serving.model.manifest, serving.canary
        blocks[name] = {
            "model": manifest.name,
            "version": manifest.version,
            "contract": {
                "subject": manifest.contract.subject, "version": manifest.contract.version,
            },
            "decisions": [band.decision for band in manifest.decisions.bands],
            "fallback": manifest.decisions.fallback,
            "bypassed": serving.bypass is not None,
            "canary": None
            if canary is None
            else {"version": canary.model.manifest.version, "share": canary.share},
        }  # fmt: skip
    return {"worker": desk.name, "stopped": desk.engine.stopped is not None, "blocks": blocks}
