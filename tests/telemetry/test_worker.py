"""What a worker tells of itself, while it works on the embedded broker."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.telemetry.collector import at, attributes, collecting, erring, hanging, refusing
from tests.telemetry.reading import of, rendered
from workers.contracts.framing import frame
from workers.enrich.path import Enricher
from workers.stream.clock import SystemClock
from workers.stream.journal import Event, Journal
from workers.stream.logs import configure_logging
from workers.telemetry import names
from workers.telemetry.kinds import Metric
from workers.telemetry.registry import Registry
from workers.testing import Driver, EmbeddedBroker, Sent, isolated, produce
from workers.topology import Topology, Worker
from workers.wiring import build_enricher, pick

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01".encode()
HOSTILE: list[bytes | None] = [None, b"", b"\xff" * 55, PARENT.upper(), PARENT * 300, b"00-0-0-01"]


def traffic(worker: Worker, broker: EmbeddedBroker, flights: list[bytes], good: int = 300) -> int:
    """Good records and three bad ones; how many."""
    values = [frame(1) + datum for datum in flights[:good]]
    values += [b"none", frame(1) + flights[0][:-3], frame(99_999) + flights[0]]
    produce(broker.bootstrap_servers, worker.input.topic, [Sent(v, b"k") for v in values])
    return len(values)


def done(driver: Driver) -> float:
    """Records that are settled."""
    return of(rendered(driver.registry), "workers_records_total")


def test_the_counts_are_those_of_the_records(
    embedded: EmbeddedBroker, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """Outcomes add up to what was read; blocks, stages and partitions have their numbers."""
    top, worker = isolated(topology, pick(topology, None), embedded)
    count = traffic(worker, embedded, flights)

    with Driver(top, worker, enricher) as driver:
        driver.until(lambda: done(driver) == count)
        series = rendered(driver.registry)

    assert of(series, "workers_records_total", outcome="enriched") == 300
    assert of(series, "workers_records_total", outcome="dead_lettered") == 3
    assert of(series, "workers_dead_letters_total", verdict="decode", code="malformed") == 1
    assert of(series, "workers_dead_letters_total", verdict="contract") == 1
    assert of(series, "workers_decisions_total", block="enrichment") == 300
    assert of(series, "workers_score_count", block="enrichment") == 300
    assert of(series, "workers_record_latency_seconds_count") == count
    assert of(series, "workers_batch_size_sum") == count
    batches = of(series, "workers_batches_total")
    assert of(series, "workers_batch_stage_duration_seconds_count") == 3 * batches
    for step in ("decode", "features", "predict", "encode"):
        assert of(series, "workers_batch_step_duration_seconds_sum", step=step) > 0
    assert of(series, "workers_transactions_total", result="committed") == batches
    assert of(series, "messaging_client_sent_messages_total") == 300 * 2 + 3
    assert of(series, "workers_rebalances_total", kind="assigned") >= 1
    assert of(series, "workers_partitions_assigned") == 4
    assert of(series, "workers_model_info", model="flight-delay", version="1") == 1
    assert of(series, "workers_telemetry_faults_total") == 0


class Broken(Registry):
    """A registry with a bug, for whoever counts outcomes."""

    def add(self, metric: Metric, number: float, *values: str) -> None:
        """Not of records."""
        if metric is names.RECORDS:
            raise RuntimeError("boom")
        super().add(metric, number, *values)


def test_a_bug_of_telemetry_costs_no_record(
    embedded: EmbeddedBroker, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """It is counted where it can be seen, and the stream goes on."""
    top, worker = isolated(topology, pick(topology, None), embedded)
    count = traffic(worker, embedded, flights)

    with Driver(top, worker, enricher, registry=Broken()) as driver:
        counts = driver.journal.counts
        driver.until(lambda: counts.enriched + counts.rejected.total() == count)
        series = rendered(driver.registry)

    assert of(series, "workers_telemetry_faults_total") >= 1
    assert counts.enriched == 300


def test_rules_before_the_model_are_fallbacks(
    embedded: EmbeddedBroker, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """Of the cause `rule`; they have no score."""
    rules = {"before": [{"name": "far", "when": "distance > 1000", "decision": "review"}]}
    base = pick(topology, None)
    worker_rules = type(base.rules).model_validate(rules)
    top, worker = isolated(topology, base, embedded, rules=worker_rules)
    count = traffic(worker, embedded, flights)
    with Driver(top, worker, build_enricher(top, worker)) as driver:
        driver.until(lambda: done(driver) == count)
        series = rendered(driver.registry)

    ruled = of(series, "workers_fallbacks_total", cause="rule")
    assert 0 < ruled < 300
    assert of(series, "workers_score_count") == 300 - ruled
    assert of(series, "workers_decisions_total") == 300
    assert of(series, "workers_telemetry_faults_total") == 0


def test_a_batch_is_one_line(
    embedded: EmbeddedBroker,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """At INFO, as JSON, with its counts and times; the lines add up to what was read."""
    configure_logging()
    top, worker = isolated(topology, pick(topology, None), embedded)
    count = traffic(worker, embedded, flights)

    with Driver(top, worker, enricher) as driver:
        driver.until(lambda: done(driver) == count)

    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    batches = [line for line in lines if line["event"] == "batch.committed"]
    assert sum(line["records"] for line in batches) == count
    assert sum(line.get("dead_lettered", 0) for line in batches) == 3
    assert {"wait_ms", "score_ms", "publish_ms", "level", "worker"} <= batches[0].keys()
    assert {line["level"] for line in batches} == {"info"}


def test_lines_that_wait_come_before_the_next_one(capfd: pytest.CaptureFixture[str]) -> None:
    """So that lines stand in the order of their times; each has its own."""
    configure_logging()
    journal = Journal(SystemClock())

    journal.soon(Event.COMMITTED, records=1)
    journal.soon(Event.COMMITTED, records=2)
    before = capfd.readouterr().err
    journal.warn(Event.UNWELL, why="no broker")
    journal.tell()

    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert before == ""
    assert [line.get("records") for line in lines] == [1, 2, None]
    assert [line["level"] for line in lines] == ["info", "info", "warning"]
    times = [datetime.datetime.fromisoformat(line["timestamp"]) for line in lines]
    assert times == sorted(times)
    assert all(time.tzinfo == datetime.UTC for time in times)


def test_a_batch_is_a_trace_that_links_to_its_producers(
    embedded: EmbeddedBroker, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """Hostile headers are no links; each rejected record is a child, linked to its producer."""
    top, worker = isolated(topology, pick(topology, None), embedded, partitions=1)
    good = frame(1) + flights[0]
    sent = [Sent(good, b"k", [("traceparent", PARENT), ("tracestate", b"a=b")])]
    sent += [Sent(good, b"k", [("traceparent", content)]) for content in HOSTILE]
    sent += [Sent(good, b"k", [("traceparent", PARENT), ("traceparent", PARENT)])]
    sent += [Sent(b"none", b"k", [("traceparent", PARENT)])]

    with collecting() as taken:
        produce(embedded.bootstrap_servers, worker.input.topic, sent)
        with Driver(at(top, taken.address), worker, enricher) as driver:
            driver.until(lambda: done(driver) == len(sent))

    topic = worker.input.topic
    roots = [span for span in taken.spans if span.name == f"process {topic}"]
    assert sum(attributes(span)["messaging.batch.message_count"] for span in roots) == len(sent)
    links = {(link.trace_id.hex(), link.span_id.hex()) for span in roots for link in span.links}
    assert links == {(TRACE, SPAN)}
    assert all(link.trace_state == "" for span in roots for link in span.links)
    ids = {span.span_id for span in roots}
    children = [span for span in taken.spans if span.parent_span_id in ids]
    assert {span.name for span in children} == {
        f"poll {topic}",
        f"publish {worker.output.topic}",
        f"reject {topic}",
    }
    (rejected,) = [span for span in children if span.name.startswith("reject")]
    assert attributes(rejected)["workers.code"] == "unframed"
    assert attributes(rejected)["messaging.kafka.offset"] == len(sent) - 1
    assert [link.trace_id.hex() for link in rejected.links] == [TRACE]
    assert all(s.start_time_unix_nano <= s.end_time_unix_nano for s in taken.spans)


def test_a_collector_has_the_numbers_of_the_endpoint(
    embedded: EmbeddedBroker, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """What is left at the end is sent, with the headers that the topology names."""
    top, worker = isolated(topology, pick(topology, None), embedded)
    count = traffic(worker, embedded, flights)

    with collecting() as taken:
        told = at(top, taken.address, headers={"authorization": "Bearer t0ken"}, interval="1h")
        with Driver(told, worker, enricher) as driver:
            driver.until(lambda: done(driver) == count)
        series = rendered(driver.registry)

    points = taken.metrics["workers.records"].sum.data_points
    assert sum(point.as_double or point.as_int for point in points) == count
    latency = taken.metrics["workers.record.latency"].histogram.data_points[0]
    assert latency.count == of(series, "workers_record_latency_seconds_count")
    assert sum(latency.bucket_counts) == latency.count
    assert attributes(latency) == {"worker": worker.name}
    assert {headers["authorization"] for headers in taken.headers} == {"Bearer t0ken"}


@pytest.mark.parametrize("collector", [refusing, hanging, erring])
def test_no_collector_stops_a_worker_nor_its_end(
    collector: Callable[[], AbstractContextManager[str]],
    embedded: EmbeddedBroker,
    topology: Topology,
    enricher: Enricher,
    flights: list[bytes],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dead, deaf or broken: every record is enriched, and the worker ends."""
    configure_logging()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    top, worker = isolated(topology, pick(topology, None), embedded)
    count = traffic(worker, embedded, flights)

    with collector() as address:
        with Driver(at(top, address, interval="10ms"), worker, enricher) as driver:
            driver.until(lambda: done(driver) == count)
            failed = {"signal": "metrics", "result": "failed"}
            name = "workers_telemetry_exports_total"
            driver.until(lambda: of(rendered(driver.registry), name, **failed) >= 1)
        for thread in threading.enumerate():
            if thread.name.startswith("otlp-"):
                # Left behind by the worker, for it hangs; not by the test, which looks at its log.
                thread.join()

    out, err = capfd.readouterr()
    lines = [json.loads(line) for line in err.splitlines()]
    told = [line for line in lines if line["event"] == "telemetry.unwell"]
    # Once a signal, and nothing that a library prints by itself.
    assert len(told) <= 2
    assert out == ""
