"""Every metric of decisions by HTTP, the gateway's and the proxy's: a closed list.

Beside these both have those of `names.py` that are not of a stream: decisions, models, drift, the
shadow, the process. `http.*` is OpenTelemetry's, of semantic conventions `SEMCONV`. Names are not
changed within a major version.
"""

from __future__ import annotations

from workers.telemetry import attributes as a
from workers.telemetry.kinds import Metric, counter, gauge, histogram

_REQUESTS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""What the semantic conventions advise for durations of requests, seconds."""
_MOMENTS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)

# Requests.

REQUEST_DURATION = histogram(
    "http.server.request.duration",
    "s",
    "Duration of requests; those to a worker that is served have its name.",
    _REQUESTS,
    a.HTTP_METHOD,
    a.URL_SCHEME,
    a.HTTP_ROUTE,
    a.HTTP_STATUS,
    a.PROBLEM,
)
CONNECTIONS_REFUSED = counter(
    "workers.gateway.connections.refused",
    "{connection}",
    "Connections that were ended before there was a request to count.",
    a.REFUSED,
)
EVENTS_REJECTED = counter(
    "workers.gateway.events.rejected",
    "{event}",
    "Events that were answered with a problem of their own, of lists too.",
    a.PROBLEM,
)
RATE_LIMITED = counter(
    "workers.gateway.rate_limited", "{request}", "Requests over the caller's `rate`.", a.CALLER
)
KEYED_REQUESTS = counter(
    "workers.gateway.idempotency.requests",
    "{request}",
    "Requests with an Idempotency-Key.",
    a.KEYED,
)
KEYS_HELD = gauge("workers.gateway.idempotency.keys", "{key}", "Keys that are remembered.")

# Scoring.

BATCH_SIZE = histogram(
    "workers.gateway.batch.size", "{event}", "Events that were scored together.", _SIZES
)
BATCH_DURATION = histogram(
    "workers.gateway.batch.duration", "s", "Seconds of scoring a batch.", _MOMENTS
)
QUEUE = gauge("workers.gateway.queue", "{event}", "Events that wait or are being scored.")
QUEUE_LIMIT = gauge("workers.gateway.queue.limit", "{event}", "`queue.events`: more are refused.")
DEADLINE = gauge("workers.gateway.deadline", "s", "`deadline`, for requests that say nothing.")
STOPPED = gauge("workers.gateway.stopped", "{worker}", "1: it decides nothing until somebody acts.")

# The decision log.

LOG_RECORDS = counter(
    "workers.gateway.log.records", "{record}", "Decision records by what has them.", a.LOGGED
)
LOG_DURATION = histogram(
    "workers.gateway.log.duration",
    "s",
    "From a request's decision records to their acknowledgement by the broker.",
    _MOMENTS,
)
LOG_DOWN = gauge("workers.gateway.log.down", "{log}", "1: the decisions topic cannot be written.")
LOG_WAITING = gauge(
    "workers.gateway.log.waiting", "{request}", "Requests whose records are on their way."
)
SPILL = gauge("workers.gateway.spill", "By", "Decisions on disk that the topic does not have yet.")
SPILL_LIMIT = gauge("workers.gateway.spill.limit", "By", "`log.spill_bytes`.")

# The transparent proxy.

PROXY_REQUESTS = counter(
    "workers.proxy.requests", "{request}", "Forwarded requests by what was decided.", a.PROXIED
)
PROXY_ADDED = histogram(
    "workers.proxy.added.duration",
    "s",
    "How long requests waited for their decision before they went on.",
    _MOMENTS,
)
UPSTREAM_FAILED = counter(
    "workers.proxy.upstream.failed", "{request}", "Requests that the system did not answer."
)

METRICS: tuple[Metric, ...] = tuple(
    sorted(
        (value for value in list(globals().values()) if isinstance(value, Metric)),
        key=lambda metric: metric.name,
    )
)
