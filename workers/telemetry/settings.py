"""Where telemetry goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """A collector that takes OTLP over HTTP. What has no address is not sent.

    `headers` may hold a secret; without any, `OTEL_EXPORTER_OTLP_HEADERS` counts, and likewise for
    timeout, compression and certificates. `ratio` is the part of the batches that are traced.
    """

    metrics: str | None = None
    traces: str | None = None
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    interval: float = 15.0
    ratio: float = 0.01


@dataclass(frozen=True, slots=True)
class Identity:
    """Who tells: the worker, which of its processes, and the build of this software."""

    worker: str
    instance: str
    build: str
