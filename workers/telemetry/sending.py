"""A thread that sends, so that nobody else waits for a collector."""

from __future__ import annotations

import threading
from collections.abc import Callable

from workers.telemetry.events import Note, TelemetryEvent
from workers.telemetry.names import EXPORTS
from workers.telemetry.registry import Registry


class Sender:
    """Sends every so often, whatever the collector does.

    A call that hangs holds this thread and nothing else: what comes meanwhile is not queued beyond
    a bound, and a process that ends leaves the thread behind.
    """

    def __init__(
        self,
        signal: str,
        interval: float,
        send: Callable[[], bool | None],
        registry: Registry,
        note: Note,
    ) -> None:
        """`send` says whether the collector took it; None: there was nothing to send."""
        self._signal = signal
        self._interval = interval
        self._send = send
        self._registry = registry
        self._note = note
        self._well = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"otlp-{signal}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Send what is left, and end."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait so long for its end, and no longer."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self._once()
        self._once()

    def _once(self) -> None:
        try:
            # Whatever it does: hang, raise, or take an hour.
            taken = self._send()
        except Exception:  # noqa: BLE001  whatever a library raises, the next one may go
            taken = False
        if taken is None:
            return
        self._registry.add(EXPORTS, 1, self._signal, "sent" if taken else "failed")
        if taken != self._well:
            self._well = taken
            event = TelemetryEvent.RECOVERED if taken else TelemetryEvent.UNWELL
            self._note(event, {"signal": self._signal})
