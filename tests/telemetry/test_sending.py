"""Whoever sends holds up nobody: not who counts, not who ends."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tests.telemetry.reading import of, rendered
from workers.telemetry.events import TelemetryEvent
from workers.telemetry.registry import Registry
from workers.telemetry.sending import Sender
from workers.telemetry.spans import REJECTS, BatchSpan, RejectSpan, Timed
from workers.telemetry.tracing import ROOM, SpanQueue, Tracer

Told = list[tuple[TelemetryEvent, Mapping[str, object]]]


def exports(registry: Registry, result: str) -> float:
    """How many of metrics ended so."""
    return of(rendered(registry), "workers_telemetry_exports_total", result=result)


def test_a_call_that_hangs_holds_up_no_end() -> None:
    """Who closes goes on while the call is still under way."""
    registry, called, answered = Registry(), threading.Event(), threading.Event()

    def send() -> bool:
        called.set()
        return answered.wait(60)

    sender = Sender("metrics", 0.001, send, registry, lambda *_: None)
    sender.start()
    assert called.wait(60)
    sender.stop()
    sender.join(0.01)

    assert exports(registry, "sent") == 0
    answered.set()
    sender.join(60)
    assert exports(registry, "sent") >= 1


def test_a_collector_that_is_unwell_is_said_once() -> None:
    """And once more when it is well again; what is lost is counted."""
    registry, told, over = Registry(), Told(), threading.Event()
    answers = iter([True, False, False, None, False, True, True])

    def send() -> bool | None:
        try:
            return next(answers)
        except StopIteration:
            over.set()
            return None

    sender = Sender("metrics", 0.001, send, registry, lambda e, f: told.append((e, f)))
    sender.start()
    assert over.wait(60)
    sender.stop()
    sender.join(60)

    assert told == [
        (TelemetryEvent.UNWELL, {"signal": "metrics"}),
        (TelemetryEvent.RECOVERED, {"signal": "metrics"}),
    ]
    assert (exports(registry, "sent"), exports(registry, "failed")) == (3, 3)


def test_what_a_library_raises_is_a_failure() -> None:
    """The thread goes on."""
    registry, twice = Registry(), threading.Event()
    calls = []

    def send() -> bool:
        calls.append(1)
        if len(calls) > 1:
            twice.set()
        raise RuntimeError("boom")

    sender = Sender("metrics", 0.001, send, registry, lambda *_: None)
    sender.start()
    assert twice.wait(60)
    sender.stop()
    sender.join(60)

    assert exports(registry, "failed") >= 2


def test_what_is_left_at_the_end_is_sent() -> None:
    """Also where the interval is an hour."""
    registry = Registry()
    sender = Sender("metrics", 3600.0, lambda: True, registry, lambda *_: None)

    sender.start()
    sender.stop()
    sender.join(60)

    assert exports(registry, "sent") == 1


class Kept(SpanExporter):
    """Keeps spans, or refuses them."""

    def __init__(self, *, well: bool = True) -> None:
        self.spans: list[ReadableSpan] = []
        self.well = well

    def export(self, spans: object) -> SpanExportResult:
        """Keep them."""
        assert isinstance(spans, list)
        self.spans += spans
        return SpanExportResult.SUCCESS if self.well else SpanExportResult.FAILURE


def batch(**changes: object) -> BatchSpan:
    """A batch of 5 records."""
    given: dict[str, object] = {
        "topic": "in",
        "group": "g",
        "output": "out",
        "records": 5,
        "whole": Timed(1, 9),
        "polled": Timed(1, 2),
        "published": Timed(5, 9),
    }
    return BatchSpan(**{**given, **changes})  # type: ignore[arg-type]


def test_spans_beyond_the_room_are_dropped_and_counted() -> None:
    """A collector that is away costs memory up to a bound."""
    registry, kept = Registry(), Kept(well=False)
    queue = SpanQueue(registry, kept)
    tracer = Tracer(queue, Resource.create(), "", 0)
    for _ in range(ROOM // 3 + 5):
        tracer.batch(batch())

    dropped = of(rendered(registry), "workers_telemetry_spans_dropped_total")
    assert dropped == (ROOM // 3 + 5) * 3 - ROOM
    assert queue.send() is False
    assert len(kept.spans) < ROOM


def test_a_failed_batch_says_so() -> None:
    """It was not published, and its span is an error of a known kind; nothing is said beside it."""
    kept = Kept()
    queue = SpanQueue(Registry(), kept)
    Tracer(queue, Resource.create(), "", 0).batch(batch(published=None, error="record_refused"))

    assert queue.send() is True
    poll, whole = kept.spans
    assert (poll.name, whole.name) == ("poll in", "process in")
    assert whole.attributes is not None
    assert whole.attributes["error.type"] == "record_refused"
    assert not whole.status.is_ok
    assert whole.status.description is None
    assert queue.send() is None


@pytest.mark.parametrize(("ratio", "wanted"), [(0.0, [False, True]), (1.0, [True, True])])
def test_what_failed_is_always_wanted(ratio: float, wanted: list[bool]) -> None:
    """Whatever part of the others is."""
    tracer = Tracer(SpanQueue(Registry(), Kept()), Resource.create(), "", ratio)

    assert [tracer.wants(failed=failed) for failed in (False, True)] == wanted


def test_rejects_are_what_is_known_of_them() -> None:
    """Place, verdict and code."""
    kept = Kept()
    queue = SpanQueue(Registry(), kept)
    reject = RejectSpan(3, 14, "decode", "malformed", 7, None)
    Tracer(queue, Resource.create(), "", 0).batch(batch(rejects=[reject] * REJECTS))
    queue.send()

    found = [span for span in kept.spans if span.name == "reject in"]
    assert len(found) == REJECTS
    assert dict(found[0].attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.destination.name": "in",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 14,
        "workers.verdict": "decode",
        "workers.code": "malformed",
        "workers.schema.id": 7,
    }
