"""What a metric is, and what Prometheus calls it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a metric's numbers add up."""

    COUNTER = "counter"
    """Grows, from the start of the process."""
    GAUGE = "gauge"
    """As it is now."""
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a metric; with `values` it has one of those and no other."""

    name: str
    means: str
    values: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What Prometheus calls it."""
        return self.name.replace(".", "_")


_UNITS = {"s": "seconds", "By": "bytes"}


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A name with its kind, its unit (UCUM; in braces what is counted) and its attributes.

    `bounds` are a histogram's, upper ones, without infinity. Compared by identity: there is one of
    each.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    attributes: tuple[Attribute, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def prometheus(self) -> str:
        """Its name there, by OpenTelemetry's rules: dots, unit, `_total` or `_ratio`."""
        base = self.name.replace(".", "_")
        unit = "ratio" if self.unit == "1" and self.kind is Kind.GAUGE else _UNITS.get(self.unit)
        if unit is not None and not base.endswith(f"_{unit}"):
            base = f"{base}_{unit}"
        return f"{base}_total" if self.kind is Kind.COUNTER else base


def counter(name: str, unit: str, text: str, *attributes: Attribute) -> Metric:
    """A metric that grows."""
    return Metric(name, Kind.COUNTER, unit, text, attributes)


def gauge(name: str, unit: str, text: str, *attributes: Attribute) -> Metric:
    """A metric that is as it is now."""
    return Metric(name, Kind.GAUGE, unit, text, attributes)


def histogram(
    name: str, unit: str, text: str, bounds: tuple[float, ...], *attributes: Attribute
) -> Metric:
    """A metric of how values are spread."""
    return Metric(name, Kind.HISTOGRAM, unit, text, attributes, bounds)
