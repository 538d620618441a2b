"""What Prometheus reads of a worker."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from workers.telemetry.prometheus import Rendering
from workers.telemetry.registry import Registry

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def rendered(registry: Registry) -> Series:
    """Every sample by name and labels."""
    return read(Rendering({"w": registry})().decode())


def read(text: str) -> Series:
    """Every sample of a page."""
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
