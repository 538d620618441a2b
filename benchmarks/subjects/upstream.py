"""The system behind the proxy: takes a JSON body and answers.

`python -m benchmarks.subjects.upstream` prints its port. `GET /counts` tells how many requests
there were since it was last asked: with a decision, by the cause of none, and "" without either.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

SEEN = Counter[str]()


async def taken(request: Request) -> JSONResponse:
    """A booking."""
    status = request.headers.get("x-enrichment-status", "")
    SEEN[request.headers["x-enrichment-cause"] if status == "none" else status] += 1
    body = await request.json()
    return JSONResponse({"taken": body["flight_id"]})


async def counts(_: Request) -> JSONResponse:
    """What was seen, and forgotten with that."""
    seen = dict(SEEN)
    SEEN.clear()
    return JSONResponse(seen)


def main() -> None:
    """Listen, print the port, serve."""
    app = Starlette(
        routes=[
            Route("/counts", counts),
            Route("/{rest:path}", taken, methods=["POST"]),
        ]
    )
    opened = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(opened.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", ws="none")
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(uvicorn.Server(config).serve([opened]))


if __name__ == "__main__":
    main()
