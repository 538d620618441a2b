"""Where telemetry goes: the topology first, then OpenTelemetry's variables."""

from __future__ import annotations

import pytest

from workers.telemetry.settings import RATIO, Collector, collector

BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"


def of(env: dict[str, str], endpoint: str | None = None, ratio: float | None = None) -> Collector:
    """A collector of a topology that says no more than this."""
    return collector(endpoint, {}, None, ratio, env)


def test_without_an_address_nothing_is_sent() -> None:
    """The default."""
    found = of({})

    assert (found.metrics, found.traces, found.interval) == (None, None, 15.0)


def test_the_topology_goes_before_the_environment() -> None:
    """A base address gets each signal's path."""
    found = of({BASE: "http://env:4318"}, "http://top:4318/")

    assert found.metrics == "http://top:4318/v1/metrics"
    assert found.traces == "http://top:4318/v1/traces"


@pytest.mark.parametrize(
    ("env", "metrics", "traces"),
    [
        ({BASE: "http://c"}, "http://c/v1/metrics", "http://c/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m/x"}, "http://m/x", None),
        ({BASE: "http://c", "OTEL_TRACES_EXPORTER": "none"}, "http://c/v1/metrics", None),
        ({BASE: "http://c", "OTEL_METRICS_EXPORTER": "none"}, None, "http://c/v1/traces"),
        ({BASE: "http://c", "OTEL_TRACES_SAMPLER": "always_off"}, "http://c/v1/metrics", None),
        ({BASE: "http://c", "OTEL_SDK_DISABLED": "true"}, None, None),
    ],
)
def test_the_variables_mean_what_people_expect(
    env: dict[str, str], metrics: str | None, traces: str | None
) -> None:
    """As the specification has them."""
    found = of(env)

    assert (found.metrics, found.traces) == (metrics, traces)


@pytest.mark.parametrize(
    ("env", "ratio"),
    [
        ({}, RATIO),
        (
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"},
            0.5,
        ),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "much"}, 1.0),
    ],
)
def test_the_part_of_batches_that_are_traced(env: dict[str, str], ratio: float) -> None:
    """What is no number is not there."""
    assert of(env).ratio == ratio
    assert of(env, ratio=0.25).ratio == 0.25


def test_a_protocol_that_is_not_spoken_is_said() -> None:
    """Not an error: a platform may set it for everybody. But not silence either."""
    env = {BASE: "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}

    assert of(env).metrics is None
    assert "OTEL_EXPORTER_OTLP_PROTOCOL" in str(of(env).refused)
    assert of({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}).refused is None
    assert of(env, "http://top").metrics == "http://top/v1/metrics"


def test_a_secret_is_not_shown() -> None:
    """Headers hold tokens."""
    assert "s3cret" not in repr(collector("http://c", {"k": "s3cret"}, None, None, {}))
