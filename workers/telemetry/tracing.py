"""Spans of batches, made when a batch is over. The one importer of OpenTelemetry's traces."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Sequence
from random import SystemRandom
from typing import Any

from opentelemetry import trace as api
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from workers.telemetry.names import SPANS_DROPPED
from workers.telemetry.registry import Registry
from workers.telemetry.spans import LINKS, BatchSpan, RejectSpan, SpanName, Timed
from workers.telemetry.traceparent import Context

ROOM = 4096
"""Spans that wait to be sent, at most."""
AT_ONCE = 512
"""Spans of one request."""
_DICE = SystemRandom()


class SpanQueue(SpanProcessor):
    """Spans that wait; more than there is room for are counted and dropped."""

    def __init__(self, registry: Registry, exporter: SpanExporter) -> None:
        """Nothing waits yet."""
        self._registry = registry
        self._exporter = exporter
        self._waiting = deque[ReadableSpan]()

    def on_end(self, span: ReadableSpan) -> None:
        """Take it, if there is room. Never waits."""
        if len(self._waiting) >= ROOM:
            self._registry.add(SPANS_DROPPED, 1)
        else:
            self._waiting.append(span)

    def send(self) -> bool | None:
        """All that waits; did the collector take it? None: nothing waited."""
        taken: bool | None = None
        while self._waiting and taken is not False:
            spans = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
        return taken


class _Ids(IdGenerator):
    """Not of the generator that a process shares: code that seeds it, a rule or a library, would
    give every replica the same ids.
    """

    def generate_span_id(self) -> int:
        return secrets.randbits(64) or 1

    def generate_trace_id(self) -> int:
        return secrets.randbits(128) or 1

    def is_trace_id_random(self) -> bool:
        return True


class Tracer:
    """Makes spans of batches. Not of the path: nothing of a trace is there while it runs."""

    def __init__(self, queue: SpanProcessor, resource: Resource, schema: str, ratio: float) -> None:
        """`ratio` is the part of the batches that are traced, besides those with a failure."""
        provider = TracerProvider(
            id_generator=_Ids(),
            sampler=ALWAYS_ON,  # sampled by `wants`, which knows how the batch ended
            resource=resource,
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_links=LINKS),
        )
        provider.add_span_processor(queue)
        self._tracer = provider.get_tracer("workers", schema_url=schema)
        self._ratio = ratio

    def wants(self, *, failed: bool) -> bool:
        """Is this batch to be traced?"""
        return failed or _DICE.random() < self._ratio

    def batch(self, span: BatchSpan) -> None:
        """Make the spans of a batch."""
        attributes: dict[str, Any] = {
            "messaging.system": "kafka",
            "messaging.destination.name": span.topic,
            "messaging.consumer.group.name": span.group,
            "messaging.batch.message_count": span.records,
        }
        whole = self._tracer.start_span(
            f"{SpanName.PROCESS} {span.topic}",
            context=api.set_span_in_context(api.INVALID_SPAN),
            kind=api.SpanKind.CONSUMER,
            attributes=attributes | _operation("process"),
            links=_links(span.links),
            start_time=span.whole.began,
        )
        within = api.set_span_in_context(whole)
        polled = attributes | _operation("receive", "poll")
        self._child(f"{SpanName.POLL} {span.topic}", within, polled, span.polled)
        if span.published is not None:
            sent = attributes | _operation("send", "publish")
            sent["messaging.destination.name"] = span.output
            self._child(f"{SpanName.PUBLISH} {span.output}", within, sent, span.published)
        for reject in span.rejects:
            self._reject(span, reject, within)
        if span.error is not None:
            whole.set_attribute("error.type", span.error)
            whole.set_status(api.Status(api.StatusCode.ERROR))
        whole.end(span.whole.ended)

    def _child(self, name: str, within: Any, attributes: dict[str, Any], time: Timed) -> None:
        made = self._tracer.start_span(
            name,
            context=within,
            kind=api.SpanKind.CLIENT,
            attributes=attributes,
            start_time=time.began,
        )
        made.end(time.ended)

    def _reject(self, batch: BatchSpan, reject: RejectSpan, within: Any) -> None:
        attributes: dict[str, Any] = {
            "messaging.system": "kafka",
            "messaging.destination.name": batch.topic,
            "messaging.destination.partition.id": str(reject.partition),
            "messaging.kafka.offset": reject.offset,
            "workers.verdict": reject.verdict,
            "workers.code": reject.code,
        }
        if reject.schema_id is not None:
            attributes["workers.schema.id"] = reject.schema_id
        made = self._tracer.start_span(
            f"{SpanName.REJECT} {batch.topic}",
            context=within,
            attributes=attributes,
            links=_links([reject.context] if reject.context else []),
            start_time=batch.polled.ended,
        )
        made.set_status(api.Status(api.StatusCode.ERROR))
        made.end(batch.whole.ended)


def _operation(kind: str, name: str | None = None) -> dict[str, Any]:
    return {"messaging.operation.type": kind, "messaging.operation.name": name or kind}


def _links(contexts: Sequence[Context]) -> list[api.Link]:
    return [
        api.Link(
            api.SpanContext(
                context.trace,
                context.span,
                is_remote=True,
                trace_flags=api.TraceFlags(int(context.sampled)),
            )
        )
        for context in contexts
    ]
