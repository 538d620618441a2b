"""Histories of samples for the alerts' tests, in promtool's notation."""

from __future__ import annotations

from workers.telemetry.kinds import Metric

HERE = {"namespace": "prod", "worker": "flights"}
AT = {"instance": "10.0.0.1:9464"}


def series(metric: Metric, part: str = "", **more: str) -> str:
    """A series of the worker that the tests are about; `part` as in `_bucket`."""
    labels = {**HERE, **AT, **more}
    inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{metric.prometheus}{part}{{{inside}}}"


def grows(a_minute: float, minutes: int = 480) -> str:
    """From 0 by so much a minute."""
    return f"0+{a_minute:g}x{minutes}"


def stays(value: float, minutes: int = 480) -> str:
    """The same all the time."""
    return f"{value:g}x{minutes}"


def then(*parts: str) -> str:
    """One after the other."""
    return " ".join(parts)


def ramp(start: float, a_minute: float, minutes: int) -> str:
    """From `start` by so much a minute."""
    sign = "+" if a_minute >= 0 else "-"
    return f"{start:g}{sign}{abs(a_minute):g}x{minutes}"
