"""What a gateway's, or a proxy's, process answers about itself, beside the public port."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from workers.operate.health.pages import PROMETHEUS, TEXT, Metrics, Page, as_json
from workers.stream.clock import Clock


@dataclass(frozen=True, slots=True)
class Reason:
    """Why it is not as it should be; `blocks`: it is not ready. `worker` is empty for all."""

    code: str
    why: str
    blocks: bool
    worker: str = ""


NOT_FOUND = Page(404, TEXT, b"not found; there are /livez /readyz /metrics\n")
Reasons = Callable[[], Iterable[Reason]]


class Phase(StrEnum):
    """Where in its life a process is."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


_PHASES = {
    Phase.STARTING: [Reason("starting", "topics are being read", blocks=True)],
    Phase.SERVING: [],
    Phase.DRAINING: [Reason("draining", "it was told to end", blocks=True)],
}


class DoorPages:
    """`/livez`, `/readyz` and `/metrics`. The loop's thread beats; the server's thread asks."""

    def __init__(self, patience: float, clock: Clock, reasons: Reasons, metrics: Metrics) -> None:
        """Not alive where nothing beats for `patience` seconds."""
        self._patience = patience
        self._clock = clock
        self._reasons = reasons
        self._beaten = clock.monotonic()
        self.phase = Phase.STARTING
        self._paths: Mapping[str, Callable[[], Page]] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": lambda: Page(200, PROMETHEUS, metrics()),
        }

    def beat(self) -> None:
        """The event loop has its turn."""
        self._beaten = self._clock.monotonic()

    def sample(self) -> None:
        """Nothing is kept."""

    def __call__(self, path: str) -> Page:
        """The answer to a path."""
        page = self._paths.get(path)
        return NOT_FOUND if page is None else page()

    def _livez(self) -> Page:
        silent = self._clock.monotonic() - self._beaten
        alive = silent < self._patience
        why = "" if alive else f"the event loop has not had its turn for {silent:.0f} s"
        return as_json(200 if alive else 503, {"alive": alive, "why": why})

    def _readyz(self) -> Page:
        found = [*_PHASES[self.phase], *self._reasons()]
        ready = not any(reason.blocks for reason in found)
        body = {"ready": ready, "reasons": [asdict(reason) for reason in found]}
        return as_json(200 if ready else 503, body)
