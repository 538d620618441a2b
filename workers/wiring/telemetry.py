"""What counts a process, and sends what is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from workers import __version__
from workers.enrich.path import Enricher
from workers.errors import TopologyError
from workers.stream.clients import consumer_config
from workers.stream.clock import Clock
from workers.stream.drifting import Drifting
from workers.stream.gauges import of_counts, of_process, of_snapshot
from workers.stream.journal import Journal
from workers.stream.recorder import Recorder
from workers.stream.snapshot import Board
from workers.stream.tracing import Traces
from workers.telemetry.events import TelemetryEvent
from workers.telemetry.registry import Registry
from workers.telemetry.settings import Collector, Identity, collector
from workers.telemetry.spans import Exporting, NoExports
from workers.topology import Topology, Worker, environment
from workers.wiring.declared import models_of
from workers.wiring.process import Process

POLL_LIMIT_MS = 300_000
"""librdkafka's max.poll.interval.ms, where none is declared."""


def watch(process: Process, enricher: Enricher, board: Board) -> None:
    """Have the numbers asked for that are as they are now."""
    worker, registry = process.worker, process.registry
    properties = consumer_config(process.topology.broker, worker, 0)
    limit = float(properties.get("max.poll.interval.ms", POLL_LIMIT_MS)) / 1000

    registry.watch(lambda: of_counts(process.journal.counts))
    registry.watch(
        lambda: of_snapshot(board, process.clock, limit, lambda: created_of(worker, enricher))
    )
    registry.watch(of_process)


def created_of(worker: Worker, enricher: Enricher) -> dict[str, int]:
    """When the model of each block was built, milliseconds UTC."""
    built = (serving.model.manifest.created for serving in enricher.servings)
    return {b: int(t.timestamp() * 1000) for b, t in zip(models_of(worker), built, strict=True)}


def recorder_of(process: Process, enricher: Enricher) -> Recorder:
    """What counts batches; the path tells it of its steps from now on.

    Raises:
        TopologyError: there is a collector, and the extra `otlp` is not installed.
    """
    worker = process.worker
    who = Identity(worker.name, process.instance, __version__)
    registries = {worker.name: process.registry}
    exports = exports_of(process.topology, who, registries, process.journal, process.clock)
    drifting = Drifting(worker.drift)
    process.registry.watch(drifting.samples)
    recorder = Recorder(
        worker=worker,
        registry=process.registry,
        journal=process.journal,
        clock=process.clock,
        drifting=drifting,
        traces=Traces(worker, exports.tracing, process.clock),
        exports=exports,
    )
    enricher.lap = recorder.lap
    return recorder


def exports_of(
    topology: Topology,
    who: Identity,
    registries: Mapping[str, Registry],
    journal: Journal,
    clock: Clock,
) -> Exporting:
    """What sends metrics and traces, where there is a collector; `registries` by worker.

    Raises:
        TopologyError: there is one, and the extra `otlp` is not installed.
    """
    found = _collector(topology)
    if who.door:
        # A request is no batch of the stream's: there are no spans of it.
        found = replace(found, traces=None)
    if found.refused is not None:
        journal.warn(TelemetryEvent.UNWELL, why=found.refused)
    if found.metrics is None and found.traces is None:
        return NoExports()
    try:
        # Imported here: OpenTelemetry is an extra.
        from workers.telemetry.otlp import Exports
    except ImportError as error:
        raise TopologyError(f"sending telemetry needs the extra `otlp`: {error}") from error

    def note(event: TelemetryEvent, fields: Mapping[str, object]) -> None:
        tell = Journal.info if event is TelemetryEvent.RECOVERED else Journal.warn
        tell(journal, event, **fields)

    return Exports(found, who, registries, note, clock.now)


def collects_metrics(topology: Topology) -> bool:
    """Is there a collector of metrics?"""
    return _collector(topology).metrics is not None


def send_metrics(topology: Topology, who: Identity, registry: Registry, clock: Clock) -> str | None:
    """What became of metrics that are sent once, in words; None where there is no collector.

    Raises:
        TopologyError: there is one, and the extra `otlp` is not installed.
    """
    found = _collector(topology)
    if found.metrics is None:
        return found.refused
    try:
        from workers.telemetry.otlp import send_once
    except ImportError as error:
        raise TopologyError(f"sending telemetry needs the extra `otlp`: {error}") from error
    taken = send_once(found, who, registry, clock.now)
    return "sent to the collector" if taken else "the collector did not take them"


def _collector(topology: Topology) -> Collector:
    said = topology.telemetry
    headers = {name: value.get_secret_value() for name, value in said.headers.items()}
    return collector(said.endpoint, headers, said.interval, said.trace_ratio, environment("OTEL_"))
