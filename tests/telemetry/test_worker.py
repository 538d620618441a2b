"""What a worker tells of itself, while it works on the embedded broker."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from workers.contracts.framing import frame
from workers.enrich.path import Enricher
from workers.telemetry.prometheus import Rendering
from workers.telemetry.registry import Registry
from workers.testing import Driver, EmbeddedBroker, Sent, isolated, produce
from workers.topology import Topology
from workers.wiring import pick

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def rendered(registry: Registry) -> Series:
    """What Prometheus would read: every sample by name and labels."""
    text = Rendering(registry, "w")().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(series: Series, name: str, **labels: str) -> float:
    """The sum of the samples with these labels."""
    return sum(
        value
        for (found, given), value in series.items()
        if found == name and labels.items() <= dict(given).items()
    )


def test_the_counts_are_those_of_the_records(
    embedded: EmbeddedBroker, topology: Topology, enricher: Enricher, flights: list[bytes]
) -> None:
    """Enriched, dead-lettered and dropped add up to what was read, and stages have their time."""
    top, worker = isolated(topology, pick(topology, None), embedded)
    values = [frame(1) + datum for datum in flights[:500]]
    values += [b"none", frame(1) + flights[0][:-3], frame(99_999) + flights[0]]
    produce(embedded.bootstrap_servers, worker.input.topic, [Sent(v, b"k") for v in values])

    with Driver(top, worker, enricher) as driver:
        driver.until(lambda: of(rendered(driver.registry), "workers_records_total") == len(values))
        series = rendered(driver.registry)

    print("\n".join(f"{k} {v}" for k, v in sorted(series.items()) if "_bucket" not in k[0]))
    assert of(series, "workers_records_total", outcome="enriched") == 500
    assert of(series, "workers_records_total", outcome="dead_lettered") == 3
    assert of(series, "workers_telemetry_faults_total") == 0
