"""`workers serve`: the gateway in this process."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from pathlib import Path

import uvloop

from workers.gateway.run import GatewayState, run
from workers.stream.logs import configure_logging
from workers.topology import load
from workers.wiring.gateway import Places, build_gateway


def serve(topology: Path) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        Halt: with the exit code to end with.
    """
    configure_logging()
    loaded = load(topology)
    # The scoring thread lets the event loop have its turn sooner than after 5 ms.
    sys.setswitchinterval(0.0005)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        state = GatewayState(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, state.stopping.set)
        parts, places = await build_gateway(loaded)
        # What is loaded now stays: the collector need not look at it again.
        gc.freeze()
        # Requests are freed by reference counting; the little that is not is looked for seldom, and
        # not so seldom that a look takes long.
        gc.set_threshold(10_000, 20, 100)
        await run(parts, state, lambda: _say(places))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _say(places: Places) -> None:
    for what, opened in (("public", places.public), ("admin", places.admin)):
        if opened is not None:
            print(f"{what} {_address(opened.getsockname())}", flush=True)  # noqa: T201  for people


def _address(name: object) -> str:
    return ":".join(map(str, name[:2])) if isinstance(name, tuple) else str(name)
