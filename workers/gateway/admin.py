"""Verbs of operators: on a listener of their own, by role, each in the audit before it is done."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field

from workers.errors import Halt
from workers.gateway.audit import Audit
from workers.gateway.callers import Callers, Known
from workers.gateway.decisionlog import DecisionLog
from workers.gateway.problems import Kind, Problem
from workers.gateway.reads import bare_app, caller_of, plain
from workers.models.store import Aliases, Change, Store
from workers.topology.gateway import Role

Why = Annotated[str, Field(min_length=1, max_length=1000)]
Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    why: Why


class Promotion(_Asked):
    """Let an alias stand for a version."""

    version: Version
    to: Annotated[str, Field(pattern="^(champion|challenger)$")] = "champion"


class Share(_Asked):
    """Let the challenger decide for a share of the keys; 0 ends it."""

    share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Reason(_Asked):
    """Why something is done."""


class Prove(Protocol):
    """Holds a version to every worker that serves the model."""

    def __call__(self, name: str, version: str, /) -> object:
        """Raises a Halt where it does not fit."""


@dataclass(frozen=True, slots=True)
class Operations:
    """What the verbs need."""

    store: Store
    prove: Prove
    log: DecisionLog
    audit: Audit
    callers: Callers


def admin_app(parts: Operations) -> FastAPI:
    """The application of the admin listener."""
    app = bare_app(lambda: app.openapi())
    app.add_exception_handler(RequestValidationError, _invalid)
    path = "/v1/admin/models/{model}"

    @app.post(f"{path}/promote")
    async def promote(request: Request, model: Version, asked: Promotion) -> Response:
        def act(change: Change) -> Aliases:
            parts.prove(model, asked.version)
            to: Any = asked.to
            return parts.store.promote(model, asked.version, change, to)

        did = f"promote {asked.version} to {asked.to}"
        return await _changed(parts, request, Role.PROMOTE, (model, did, asked.why), act)

    @app.post(f"{path}/rollback")
    async def rollback(request: Request, model: Version, asked: Reason) -> Response:
        act = partial(parts.store.rollback, model)
        return await _changed(parts, request, Role.PROMOTE, (model, "rollback", asked.why), act)

    @app.post(f"{path}/canary")
    async def canary(request: Request, model: Version, asked: Share) -> Response:
        act = partial(parts.store.canary, model, asked.share)
        did = f"canary {asked.share:g}"
        return await _changed(parts, request, Role.PROMOTE, (model, did, asked.why), act)

    @app.post(f"{path}/bypass")
    async def bypass(request: Request, model: Version, asked: Reason) -> Response:
        act = partial(parts.store.bypass, model)
        return await _changed(parts, request, Role.BYPASS, (model, "bypass", asked.why), act)

    @app.post(f"{path}/resume")
    async def resume(request: Request, model: Version, asked: Reason) -> Response:
        act = partial(parts.store.resume, model)
        return await _changed(parts, request, Role.BYPASS, (model, "resume", asked.why), act)

    @app.post("/v1/admin/log/replay")
    async def replay(request: Request, asked: Reason) -> Response:
        caller = await _allowed(parts, request, Role.REPLAY, ("log", "replay", asked.why))
        parts.log.replay_now()
        parts.audit.note(who=caller.name, did="replay", of="log", result="asked for")
        return plain({"down": parts.log.down, "replayed": parts.log.replayed}, 202)

    return app


async def _allowed(
    parts: Operations, request: Request, role: Role, what: tuple[str, str, str]
) -> Known:
    """The caller, who may; the audit says so, or that it may not."""
    of, did, why = what
    client = request.client.host if request.client else None
    try:
        caller = await caller_of(parts.callers, request)
    except Problem as problem:
        parts.audit.note(who=None, did=did, of=of, why=why, result=str(problem), client=client)
        raise
    try:
        caller.must_be(role)
    except Problem as problem:
        parts.audit.note(
            who=caller.name, did=did, of=of, why=why, result=str(problem), client=client
        )
        raise
    parts.audit.note(who=caller.name, did=did, of=of, why=why, result="begun", client=client)
    return caller


async def _changed(
    parts: Operations,
    request: Request,
    role: Role,
    what: tuple[str, str, str],
    act: Callable[[Change], Aliases],
) -> Response:
    caller = await _allowed(parts, request, role, what)
    of, did, why = what
    now = datetime.datetime.now(datetime.UTC)
    change = Change(when=now, who=caller.name, why=why, did=did)
    try:
        # A version is proven in a child process; decisions go on meanwhile.
        made = await asyncio.get_running_loop().run_in_executor(None, act, change)
    except Halt as halt:
        parts.audit.note(who=caller.name, did=did, of=of, result=str(halt))
        raise Problem(Kind.CONFLICT, str(halt)) from None
    parts.audit.note(who=caller.name, did=did, of=of, result="done", revision=made.revision)
    return plain(made.model_dump(mode="json", exclude={"history"}))


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for it
    faults = "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
    )
    problem = Problem(Kind.INVALID, faults)
    return Response(problem.body(), problem.status, media_type="application/problem+json")
