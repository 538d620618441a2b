"""Requests for anything but decisions, counted by what was answered."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from workers.gateway.counts import Requests
from workers.gateway.http import App, Receive, Scope, Send
from workers.telemetry.attributes import HTTP_ROUTE

_ROUTES = frozenset(HTTP_ROUTE.values)
_BY_ID = "/v1/decisions/"


class Counted:
    """An application whose requests are counted."""

    def __init__(self, inner: App, requests: Requests) -> None:
        self._inner = inner
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        clock, status = asyncio.get_running_loop().time, 0
        began = clock()

        async def seen(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._inner(scope, receive, seen)
        finally:
            route = _route(scope["path"])
            self._requests.note(scope["method"], route, status, "", clock() - began)


def _route(path: str) -> str:
    if path.startswith(_BY_ID) and path != _BY_ID:
        return "/v1/decisions/{id}"
    return path if path in _ROUTES and "{" not in path else ""
