"""A gateway under test: in a thread of this process, on a free port."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

from workers.stream.clock import Clock
from workers.topology import Topology

START_SECONDS = 60.0


class GatewayDriver:
    """Runs a gateway; what it raises is raised here. As a context manager it drains at the end."""

    def __init__(self, topology: Topology, clock: Clock | None = None) -> None:
        """Nothing runs before `start`."""
        # Imported here: the gateway is an extra.
        from workers.gateway.run import GatewayState

        self._topology = topology
        self._clock = clock
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.state: GatewayState | None = None
        self.url = ""
        self.admin_url = ""
        self.health_url = ""

    def start(self) -> Self:
        """Begin, and wait until it answers.

        Raises:
            TimeoutError: it does not.
        """
        self._thread.start()
        if not self._ready.wait(START_SECONDS):
            raise TimeoutError(f"the gateway is not ready after {START_SECONDS:g} s")
        self._check()
        return self

    def _run(self) -> None:
        import uvloop

        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main())
        except BaseException as error:  # noqa: BLE001  carried over to the test
            self._error = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        from workers.gateway.run import GatewayState, run
        from workers.wiring.gateway import build_gateway

        self.state = GatewayState(asyncio.get_running_loop())
        parts, places = await build_gateway(self._topology, clock=self._clock)
        gateway = self._topology.gateway
        host = "127.0.0.1" if gateway is None else gateway.host
        if gateway is None or gateway.socket is None:
            self.url = f"http://{host}:{places.public.getsockname()[1]}"
        if places.admin is not None:
            self.admin_url = f"http://{host}:{places.admin.getsockname()[1]}"
        if parts.observed.port is not None:
            self.health_url = f"http://{host}:{parts.observed.port}"
        await run(parts, self.state, self._ready.set)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def stop(self, seconds: float = 30.0) -> None:
        """Drain, as SIGTERM does.

        Raises:
            TimeoutError: it goes on.
        """
        if self.state is not None and self._thread.is_alive():
            self.state.stop()
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise TimeoutError(f"the gateway still runs after {seconds:g} s")
        self._check()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.stop()
