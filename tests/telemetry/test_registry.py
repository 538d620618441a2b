"""Numbers go in once a batch and come out as they are, for a collector and for Prometheus."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from workers.telemetry import gateway, names
from workers.telemetry.otlp import MetricsView, resource_of
from workers.telemetry.prometheus import Rendering
from workers.telemetry.registry import Registry, Sample
from workers.telemetry.settings import Identity
from workers.telemetry.tally import Tally


def parsed(registry: Registry, worker: str = "w") -> dict[tuple[str, str], float]:
    """Samples by name and by the one label that matters here."""
    found = {}
    for family in text_string_to_metric_families(Rendering({worker: registry})().decode()):
        for sample in family.samples:
            assert sample.labels["worker"] == worker
            rest = {k: v for k, v in sample.labels.items() if k != "worker"}
            found[sample.name, ",".join(f"{k}={v}" for k, v in sorted(rest.items()))] = sample.value
    return found


def test_what_is_added_comes_out_by_series() -> None:
    """Each combination of values is a series of its own."""
    registry = Registry()

    registry.add(names.RECORDS, 3, "enriched")
    registry.add(names.RECORDS, 4, "enriched")
    registry.add(names.RECORDS, 1, "dropped")

    assert parsed(registry) == {
        ("workers_records_total", "outcome=enriched"): 7,
        ("workers_records_total", "outcome=dropped"): 1,
    }


def test_many_values_at_once_are_those_one_by_one() -> None:
    """A value that is a bound counts up to it, as Prometheus has it."""
    values = np.random.default_rng(7).exponential(0.2, 1000)
    values[:3] = names.RECORD_LATENCY.bounds[:3]
    at_once, one_by_one = Registry(), Registry()

    at_once.spread(names.RECORD_LATENCY, values)
    for value in values.tolist():
        one_by_one.record(names.RECORD_LATENCY, value)

    found, other = parsed(at_once), parsed(one_by_one)
    assert found.keys() == other.keys()
    assert all(found[key] == pytest.approx(other[key]) for key in found)
    name = "workers_record_latency_seconds"
    for bound in names.RECORD_LATENCY.bounds:
        le = f"le={float(bound):g}" if bound != int(bound) else f"le={int(bound)}"
        assert found[f"{name}_bucket", le] == np.count_nonzero(values <= bound)
    assert found[f"{name}_bucket", "le=+Inf"] == found[f"{name}_count", ""] == 1000
    assert found[f"{name}_sum", ""] == pytest.approx(values.sum())


def test_nothing_to_count_is_nothing() -> None:
    """An empty batch of values makes a histogram of nothing, not a fault."""
    registry = Registry()

    registry.spread(names.RECORD_LATENCY, np.array([], dtype=np.float64))

    assert parsed(registry)["workers_record_latency_seconds_count", ""] == 0


@pytest.mark.parametrize("values", [("no_such_outcome",), (), ("enriched", "more")])
def test_a_value_out_of_the_list_is_refused(values: tuple[str, ...]) -> None:
    """So that a series nobody knows of cannot come to be."""
    registry = Registry()

    with pytest.raises(ValueError, match=r"workers\.records"):
        registry.add(names.RECORDS, 1, *values)
    assert registry.collect() == []


def test_labels_are_escaped() -> None:
    """Whatever a decision or a worker is called, the text can be read."""
    registry, odd = Registry(), 'a"b\\c\nd'

    registry.add(names.DECISIONS, 1, "enrichment", odd)

    assert parsed(registry, odd) == {
        ("workers_decisions_total", f"block=enrichment,decision={odd}"): 1
    }


def test_a_watch_that_fails_costs_its_own_numbers_alone() -> None:
    """It is counted, and the others are there."""
    registry = Registry()

    def broken() -> list[Sample]:
        raise RuntimeError("boom")

    registry.watch(broken)
    registry.watch(lambda: [(names.UPTIME, (), 5.0)])
    found = parsed(registry)

    assert found == {
        ("process_uptime_seconds", ""): 5,
        ("workers_telemetry_faults_total", ""): 1,
    }


def test_threads_lose_no_count() -> None:
    """The loop, the publisher's thread and others count at once, and somebody looks."""
    registry = Registry()

    def count() -> None:
        for _ in range(2000):
            registry.add(names.RECORDS, 1, "enriched")
            registry.record(names.BATCH_SIZE, 5)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        registry.collect()
    for thread in threads:
        thread.join()

    found = parsed(registry)
    assert found["workers_records_total", "outcome=enriched"] == 8000
    assert found["workers_batch_size_count", ""] == 8000


def test_a_collector_gets_the_same_numbers() -> None:
    """Sums are monotonic and cumulative, histograms true ones; every point has the worker."""
    registry = Registry()
    registry.add(names.RECORDS, 7, "enriched")
    registry.spread(names.BATCH_SIZE, np.array([3.0, 700.0]))
    registry.watch(lambda: [(names.UPTIME, (), 5.0)])
    view = MetricsView(
        {"w": registry}, "", resource_of(Identity("w", "host.0", "1")), lambda: 1_000
    )

    found: Any = view.data().resource_metrics[0]

    metrics = {metric.name: metric for metric in found.scope_metrics[0].metrics}
    total = metrics["workers.records"].data
    assert (total.is_monotonic, total.aggregation_temporality.name) == (True, "CUMULATIVE")
    assert total.data_points[0].attributes == {"worker": "w", "outcome": "enriched"}
    assert total.data_points[0].value == 7
    spread = metrics["workers.batch.size"].data.data_points[0]
    assert (spread.count, spread.sum) == (2, 703.0)
    assert sum(spread.bucket_counts) == 2
    assert len(spread.bucket_counts) == len(spread.explicit_bounds) + 1
    assert metrics["process.uptime"].data.data_points[0].value == 5
    said = dict(found.resource.attributes)
    assert (said["service.name"], said["service.instance.id"]) == ("w", "host.0")


def test_several_workers_of_a_process_are_one_page() -> None:
    """Each metric has one head, each series its worker and the door; a collector has one stream."""
    one, other = Registry(), Registry()
    one.add(names.DECISIONS, 3, "enrichment", "late")
    other.add(names.DECISIONS, 4, "enrichment", "late")
    other.add(names.BATCHES, 1)
    registries = {"a": one, "b": other}
    resource = resource_of(Identity("gateway", "host.0", "1", "gateway"))

    text = Rendering(registries, "gateway")().decode()
    view: Any = MetricsView(registries, "gateway", resource, lambda: 1_000).data()

    assert text.count("# TYPE workers_decisions_total counter") == 1
    (family,) = [f for f in text_string_to_metric_families(text) if f.name == "workers_decisions"]
    found = {sample.labels["worker"]: sample.value for sample in family.samples}
    assert found == {"a": 3, "b": 4}
    assert {sample.labels["door"] for sample in family.samples} == {"gateway"}
    metrics = view.resource_metrics[0].scope_metrics[0].metrics
    assert sorted(metric.name for metric in metrics) == ["workers.batches", "workers.decisions"]
    points = [point for metric in metrics for point in metric.data.data_points]
    assert {(p.attributes["worker"], p.attributes["door"]) for p in points} == {
        ("a", "gateway"),
        ("b", "gateway"),
    }


def test_a_histogram_that_is_filled_elsewhere_is_seen_as_one_of_its_own() -> None:
    """Value by value in one thread, read when somebody looks."""
    own, registry, tally = Registry(), Registry(), Tally(gateway.BATCH_SIZE)
    registry.watch(lambda: [(gateway.BATCH_SIZE, (), tally.spread)])

    for value in (0.5, 1.0, 1.5, 700.0, 99_999.0):
        tally.note(value)
        own.record(gateway.BATCH_SIZE, value)

    assert parsed(registry) == parsed(own)
    assert parsed(registry)["workers_gateway_batch_size_count", ""] == 5
