"""The registry as OpenTelemetry's data, and its way to a collector.

The one importer of OpenTelemetry's metrics. Its exporter sends; its instruments are not used:
`registry.py` says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as Data
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from workers.telemetry.attributes import DOOR, WORKER
from workers.telemetry.events import Note
from workers.telemetry.kinds import Kind, Metric
from workers.telemetry.names import SEMCONV
from workers.telemetry.registry import Family, Registry, Values
from workers.telemetry.sending import Sender
from workers.telemetry.settings import Collector, Identity
from workers.telemetry.spans import Tracing, Untraced
from workers.telemetry.tracing import SpanQueue, Tracer

CLOSING = 2.0
"""Seconds that a process which ends may take to send what is left."""
SPANS_EVERY = 2.0
"""Seconds between two looks at what spans there are."""
_SCHEMA = f"https://opentelemetry.io/schemas/{SEMCONV}"
_CUMULATIVE = AggregationTemporality.CUMULATIVE
Given = Mapping[str, str]
"""Attributes that every series of a registry has."""


class Exports:
    """What is sent to a collector, from `start` until `close`."""

    def __init__(
        self,
        collector: Collector,
        identity: Identity,
        registries: Mapping[str, Registry],
        note: Note,
        now: Callable[[], int],
    ) -> None:
        """Nothing connects before `start`; `now` is milliseconds UTC.

        `registries` by worker; exports are counted in that of the identity's own.
        """
        registry = registries[identity.worker]
        # The exporters print what went wrong, with addresses; ours is a log event and a counter.
        quiet = logging.getLogger("opentelemetry")
        quiet.propagate = False
        quiet.addHandler(logging.NullHandler())
        self.tracing: Tracing = Untraced()
        self._senders = list[Sender]()
        resource = resource_of(identity)
        if collector.metrics is not None:
            exporter = OTLPMetricExporter(collector.metrics, headers=collector.headers)
            view = MetricsView(registries, identity.door, resource, now)

            def send() -> bool:
                return exporter.export(view.data()) is MetricExportResult.SUCCESS

            self._senders.append(Sender("metrics", collector.interval, send, registry, note))
        if collector.traces is not None:
            spans = OTLPSpanExporter(collector.traces, headers=collector.headers)
            queue = SpanQueue(registry, spans)
            self.tracing = Tracer(queue, resource, _SCHEMA, collector.ratio)
            self._senders.append(Sender("traces", SPANS_EVERY, queue.send, registry, note))

    def start(self) -> None:
        """Begin to send."""
        for sender in self._senders:
            sender.start()

    def close(self) -> None:
        """Send what is left, within `CLOSING` seconds; what does not go is lost."""
        for sender in self._senders:
            sender.stop()
        for sender in self._senders:
            sender.join(CLOSING / len(self._senders))


def send_once(
    collector: Collector, identity: Identity, registry: Registry, now: Callable[[], int]
) -> bool:
    """Send the metrics of a process that ends: did the collector take them?

    `identity.instance` is kept, whatever `OTEL_RESOURCE_ATTRIBUTES` says: what the next process
    tells are the same series. Waits as long as the exporter's timeout, 10 s by default.
    """
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    logging.getLogger("opentelemetry").propagate = False
    own = Resource({"service.instance.id": identity.instance})
    resource = resource_of(identity).merge(own)
    exporter = OTLPMetricExporter(collector.metrics, headers=collector.headers)
    try:
        view = MetricsView({identity.worker: registry}, identity.door, resource, now)
        return exporter.export(view.data()) is MetricExportResult.SUCCESS
    except Exception:  # noqa: BLE001  whatever a library raises: a loop has done its work by now
        return False
    finally:
        exporter.shutdown()


def resource_of(identity: Identity) -> Resource:
    """Who tells; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` have the last word."""
    own = {
        "service.name": identity.worker,
        "service.namespace": "enrichment-workers",
        "service.instance.id": identity.instance,
        "service.version": identity.build,
    }
    return Resource.create(own, _SCHEMA).merge(OTELResourceDetector().detect())


class MetricsView:
    """Registries as the exporter takes them."""

    def __init__(
        self,
        registries: Mapping[str, Registry],
        door: str,
        resource: Resource,
        now: Callable[[], int],
    ) -> None:
        """Counts began now. `registries` by worker; `door` may be empty."""
        self._registries = registries
        self._door = {DOOR.name: door} if door else {}
        self._resource = resource
        self._scope = InstrumentationScope("workers", schema_url=_SCHEMA)
        self._now = now
        self._began = now() * 1_000_000

    def data(self) -> MetricsData:
        """All that is counted. Cumulative: sums since the start of the process."""
        now = self._now() * 1_000_000
        found: dict[Metric, list[tuple[Given, Family]]] = {}
        for worker, registry in self._registries.items():
            for family in registry.collect():
                given = {WORKER.name: worker, **self._door}
                found.setdefault(family.metric, []).append((given, family))
        metrics = [self._metric(metric, families, now) for metric, families in found.items()]
        scope = ScopeMetrics(self._scope, metrics, _SCHEMA)
        return MetricsData([ResourceMetrics(self._resource, [scope], _SCHEMA)])

    def _metric(self, metric: Metric, families: Iterable[tuple[Given, Family]], now: int) -> Data:
        data: Any
        if metric.kind is Kind.HISTOGRAM:
            data = Histogram(list(self._spreads(metric, families, now)), _CUMULATIVE)
        else:
            points = [
                NumberDataPoint(_attributes(metric, values, given), self._began, now, number)
                for given, family in families
                for values, number in family.numbers.items()
            ]
            counter = metric.kind is Kind.COUNTER
            data = Sum(points, _CUMULATIVE, is_monotonic=True) if counter else Gauge(points)
        return Data(metric.name, metric.help, metric.unit, data)

    def _spreads(
        self, metric: Metric, families: Iterable[tuple[Given, Family]], now: int
    ) -> Iterator[HistogramDataPoint]:
        # The smallest and the largest are not known; the protocol lets them be absent.
        unknown: Any = None
        for given, family in families:
            for values, spread in family.spreads.items():
                yield HistogramDataPoint(
                    _attributes(metric, values, given),
                    self._began,
                    now,
                    spread.count,
                    spread.total,
                    spread.counts,
                    metric.bounds,
                    unknown,
                    unknown,
                )


def _attributes(metric: Metric, values: Values, given: Given) -> dict[str, str]:
    names = (attribute.name for attribute in metric.attributes)
    return {**given, **dict(zip(names, values, strict=True))}
