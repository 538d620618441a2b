"""The system behind the proxy, a process of its own: says what it was sent, in many ways."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import socket
from typing import Any

import uvicorn
from starlette.requests import Request

ANSWERS = {
    "/teapot": (418, [(b"x-own", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")], b"no"),
    "/zipped": (200, [(b"content-encoding", b"gzip")], gzip.compress(b"as it is", mtime=0)),
    "/moved": (302, [(b"location", b"/elsewhere")], b""),
    "/nothing": (204, [], b""),
    "/connection": (200, [(b"keep-alive", b"timeout=1"), (b"x-enrichment-own", b"mine")], b"ok"),
}
"""Status, headers, body."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers by path; `/echo` tells the request."""
    if scope["type"] != "http":
        return
    request = Request(scope, receive)
    if scope["path"] in ANSWERS:
        await request.body()
        status, headers, body = ANSWERS[scope["path"]]
    elif scope["path"] in STREAMS:
        await STREAMS[scope["path"]](request, send)
        return
    else:
        status, headers, body = 200, [(b"content-type", b"application/json")], await _told(request)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


SEEN = bytearray()
"""Of the last upload."""
GO = asyncio.Event()


async def _upload(request: Request, send: Any) -> None:
    """Takes an upload; `/seen` tells how much of it has come."""
    SEEN.clear()
    async for part in request.stream():
        SEEN.extend(part)
    await _seen(request, send)


async def _seen(_: Request, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": bytes(SEEN)})


async def _drip(_: Request, send: Any) -> None:
    """An answer whose second part waits for `/go`."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"one", "more_body": True})
    await GO.wait()
    GO.clear()
    await send({"type": "http.response.body", "body": b"two"})


async def _go(request: Request, send: Any) -> None:
    GO.set()
    await _seen(request, send)


STREAMS = {"/upload": _upload, "/seen": _seen, "/drip": _drip, "/go": _go}


async def _told(request: Request) -> bytes:
    body = await request.body()
    told = {
        "method": request.method,
        "path": request.scope["raw_path"].decode(),
        "query": request.scope["query_string"].decode(),
        "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in request.headers.raw],
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    return json.dumps(told).encode()


def main() -> None:
    """Listen, print the port, serve."""
    opened = socket.create_server(("127.0.0.1", 0))
    print(opened.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none")
    asyncio.run(uvicorn.Server(config).serve([opened]))


if __name__ == "__main__":
    main()
