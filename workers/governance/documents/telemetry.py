"""Every metric, log event and span of a worker: one page, from the lists that the code uses."""

from __future__ import annotations

from collections.abc import Iterator

from workers.telemetry.attributes import DOOR, WORKER
from workers.telemetry.events import LOG_EVENTS
from workers.telemetry.gateway import METRICS as GATEWAY
from workers.telemetry.kinds import Attribute, Metric
from workers.telemetry.loops import METRICS as LOOPS
from workers.telemetry.names import METRICS, SEMCONV
from workers.telemetry.spans import LINKS, REJECTS, SPANS

_SAID = frozenset({"code", "event"})
"""Attributes whose values another table has."""
_FEW = 3
_EVERY = (*METRICS, *GATEWAY, *LOOPS)
_HEAD = f"""\
# What a worker tells of itself

Written by `workers telemetry` from the lists that the code uses: a name that is not here does not
exist. [Where it goes](#where-it-goes) is below the lists.

## Metrics

`messaging.*`, `http.*` and `process.*` are OpenTelemetry's semantic conventions, version {SEMCONV};
all others are ours and keep their names within a major version. At `/metrics` dots are underscores
and units are written out, as the second column has it; a histogram has `_bucket`, `_sum` and
`_count`. Every series has the label `{WORKER.label}`: {WORKER.means.split(";")[0]}. Records are
counted when the broker has acknowledged their batch, so what is read again counts once.
"""
_GATEWAY = f"""\
### Decisions by HTTP

What a [gateway](gateway.md) and a [proxy](sidecar.md) tell besides. Every series of theirs has the
label `{DOOR.label}`: `gateway` or `proxy`; a stream's has none. Of the metrics above a gateway has,
for each worker that it serves, `workers.decisions`, `workers.fallbacks`, `workers.score`,
`workers.canary.decisions`, `workers.model.*`, `workers.drift.*`, `workers.shadow.*` and
`workers.log.events`. A decision counts there when it is the one that is answered, whatever becomes
of its record: that is in `workers.gateway.log.records`. What is of the whole process (`process.*`,
`workers.build.info`, `workers.telemetry.*`, the decision log, requests to no worker) has the door's
name as `{WORKER.label}`, so that it is counted once however many workers are served. No label ever
holds what a caller sent: values are of a closed list, or names that the topology or a bundle has.
"""
_LOOPS = """\
### Feedback loops

These are a loop's, not a worker's: no `/metrics` has them, because a loop is a command that ends.
`workers feedback run` sends them to the collector, once, when it has run; `--metrics FILE` writes
them for node-exporter's textfile collector. A query looks as far back as runs are apart
([operations.md](operations.md#feedback-loops)). `worker` is the worker whose decisions they are.
The newest month is that of the newest events, within the report's window.
"""
_TAIL = """\
## Where it goes

- **Prometheus**: `/metrics` of each process's health endpoint ([topology.md](topology.md),
  `health`), one port a process: `--processes N` has `port`, `port + 1` and so on. A gateway's is
  `gateway.health_port`, a proxy's `proxy.health_port`, at the same address; the port of requests
  has none of it.
- **A collector**: `telemetry.endpoint`, or OpenTelemetry's variables, by OTLP over HTTP; needs
  the extra `otlp`. `telemetry` in the topology goes before the environment. Taken from there:
  `OTEL_SDK_DISABLED`, `OTEL_EXPORTER_OTLP_[METRICS_|TRACES_]ENDPOINT`, `_HEADERS`, `_TIMEOUT`,
  `_COMPRESSION`, `_CERTIFICATE`, `_CLIENT_KEY`, `_CLIENT_CERTIFICATE`,
  `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_METRICS_EXPORTER` and `OTEL_TRACES_EXPORTER` (`none`),
  `OTEL_TRACES_SAMPLER` with `_ARG`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`. Sums are
  cumulative, whatever `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` says; gRPC is not
  spoken.
- **Logs**: JSON lines on standard error. No line holds a payload, a key or a header.

Whoever sends does so in a thread of its own. A collector that is slow, dead or hangs costs
nothing but what was to be sent: `telemetry.unwell` is logged once, `workers.telemetry.exports`
counts it, and a worker that ends waits two seconds at most.

## Traces

A trace is a batch. It is made when the batch is over, of `telemetry.trace_ratio` of the batches
and of every one with a dead letter or a failure. Its links are the producers' contexts, from the
header `traceparent`; what is not exactly of W3C's form, or there twice, is not there.
`tracestate` and `baggage` are not read. Nothing is written into a record's headers: enriched
events carry those that came, so a subscriber sees the producer's context. An attribute is a name,
a number or a code, never content, a key, or the text of an error.

## Drift

The population stability index compares the last `drift.window` with the reference of the bundle:
the sum over bins of (q - p) * ln(q / p), p the reference's part, q the served one, half a row
added to every bin of both. Bins are the reference's, neighbours joined until each has one per
cent (of categories all smaller ones together); what is missing, below the lowest or above the
highest is a bin of its own each. Below 0.1 a spread is usually taken for the same, above 0.25 for
another. There is no index before `drift.least` rows, none without a reference in the bundle, and
a new version begins anew. `workers.drift.missing` counts before the feature's own rule for
missing values; a category that the bundle does not know is `unseen`, not missing.
`drift.rows_per_second` rows are looked at, at most. Rows that rules or a fallback decided are not
compared: the model was not asked.

Each process compares what it reads; with several, the index of the whole is between theirs.

## Stale events

`staleness` in the topology gives events a limit on their age when they are polled, by a field of
theirs or the record's timestamp, and says what becomes of older ones: counted, decided without
the model, or dead letters with code `stale`. It holds for the stream: a replay, a probe and
`workers score` go by no clock.
"""


def telemetry_page() -> str:
    """docs/telemetry.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "| metric | at `/metrics` | kind | unit | attributes | what |"
    yield "|---|---|---|---|---|---|"
    yield from map(_metric, METRICS)
    yield ""
    yield _GATEWAY
    yield "| metric | at `/metrics` | kind | unit | attributes | what |"
    yield "|---|---|---|---|---|---|"
    yield from map(_metric, GATEWAY)
    yield ""
    yield _LOOPS
    yield "| metric | for Prometheus | kind | unit | attributes | what |"
    yield "|---|---|---|---|---|---|"
    yield from map(_metric, LOOPS)
    yield ""
    yield "### Attributes"
    yield ""
    yield "| attribute | of | what | values |"
    yield "|---|---|---|---|"
    seen = {attribute: None for metric in _EVERY for attribute in metric.attributes}
    yield from map(_attribute, sorted(seen, key=lambda attribute: attribute.name))
    yield ""
    yield "Codes of dead letters are in [errors.md](errors.md)."
    yield ""
    yield "## Log events"
    yield ""
    yield "| event | when |"
    yield "|---|---|"
    yield from (f"| `{name}` | {when} |" for name, when in sorted(LOG_EVENTS.items()))
    yield ""
    yield "## Spans"
    yield ""
    yield "| span | what |"
    yield "|---|---|"
    yield from (f"| `{name} TOPIC` | {what} |" for name, what in SPANS.items())
    yield ""
    yield f"At most {LINKS} links a span and {REJECTS} rejected records a batch."
    yield ""
    yield _TAIL.rstrip("\n") + "\n"


def _metric(metric: Metric) -> str:
    attributes = ", ".join(f"`{attribute.name}`" for attribute in metric.attributes)
    return (
        f"| `{metric.name}` | `{metric.prometheus}` | {metric.kind} | {metric.unit} | "
        f"{attributes} | {metric.help} |"
    )


def _attribute(attribute: Attribute) -> str:
    values = "" if attribute.name in _SAID else ", ".join(f"`{v}`" for v in attribute.values if v)
    having = [f"`{metric.name}`" for metric in _EVERY if attribute in metric.attributes]
    where = ", ".join(having) if len(having) <= _FEW else f"{len(having)} metrics"
    return f"| `{attribute.name}` | {where} | {attribute.means} | {values} |"
