"""Where telemetry goes, as the topology and OpenTelemetry's variables say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

INTERVAL = 15.0
RATIO = 0.01
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL = "http/protobuf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """A collector that takes OTLP over HTTP. What has no address is not sent.

    `headers` may hold a secret; without any, `OTEL_EXPORTER_OTLP_HEADERS` counts, and likewise for
    timeout, compression and certificates. `ratio` is the part of the batches that are traced.
    `refused` says why what the environment asks for is not done.
    """

    metrics: str | None = None
    traces: str | None = None
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    interval: float = INTERVAL
    ratio: float = RATIO
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who tells: the worker, which of its processes, and the build of this software.

    `door` is the gateway's or the proxy's name, which is `worker` too then.
    """

    worker: str
    instance: str
    build: str
    door: str = ""


def collector(
    endpoint: str | None,
    headers: Mapping[str, str],
    interval: float | None,
    ratio: float | None,
    env: Mapping[str, str],
) -> Collector:
    """What the topology says, and where it says nothing, the variables of the environment."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Collector()
    protocol = env.get("OTEL_EXPORTER_OTLP_PROTOCOL") or _PROTOCOL
    if endpoint is None and protocol != _PROTOCOL:
        asked = any(env.get(name) for name in (_ENDPOINT, *map(_own, ("METRICS", "TRACES"))))
        why = f"OTEL_EXPORTER_OTLP_PROTOCOL is not {_PROTOCOL}: nothing is sent"
        return Collector(refused=why if asked else None)
    sampler = env.get("OTEL_TRACES_SAMPLER", "").strip().lower().removeprefix("parentbased_")
    traced = None if sampler == "always_off" and ratio is None else "TRACES"
    return Collector(
        metrics=_address(endpoint, "METRICS", env),
        traces=traced and _address(endpoint, traced, env),
        headers=dict(headers) or None,
        interval=interval or _number(env, "OTEL_METRIC_EXPORT_INTERVAL", INTERVAL * 1000) / 1000,
        ratio=_sampled(sampler, env) if ratio is None else ratio,
    )


def _own(signal: str) -> str:
    return f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"


def _address(endpoint: str | None, signal: str, env: Mapping[str, str]) -> str | None:
    if env.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() == "none":
        return None
    if endpoint is None and (own := env.get(_own(signal))):
        return own
    base = endpoint or env.get(_ENDPOINT)
    return f"{base.rstrip('/')}/v1/{signal.lower()}" if base else None


def _sampled(sampler: str, env: Mapping[str, str]) -> float:
    if sampler == "always_on":
        return 1.0
    if sampler != "traceidratio":
        return RATIO
    return min(1.0, _number(env, "OTEL_TRACES_SAMPLER_ARG", 1.0))


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    """What is no number above 0 counts as not there, as the specification has it."""
    try:
        found = float(env.get(name) or default)
    except ValueError:
        return default
    return found if found > 0 and math.isfinite(found) else default
