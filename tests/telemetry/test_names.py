"""The lists are closed, and say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from workers.contracts.notes import ContractEvent
from workers.gateway.asking import Cause
from workers.gateway.counts import _KEYED
from workers.gateway.notes import GatewayEvent
from workers.gateway.problems import ABOUT, Kind
from workers.models.following import ModelEvent
from workers.models.shadow.counts import Fault, ShadowEvent, Skip
from workers.stream.journal import Event
from workers.stream.snapshot import PauseKind
from workers.telemetry import attributes, gateway, loops, names
from workers.telemetry.events import LOG_EVENTS, TelemetryEvent
from workers.telemetry.kinds import Attribute, Metric
from workers.telemetry.kinds import Kind as Sort
from workers.topology import Backend, Degrade, OnStale

METRICS = (*names.METRICS, *gateway.METRICS, *loops.METRICS)
SEMCONV_UNITS = {"s", "By", "1"}


def test_every_log_event_is_in_the_list() -> None:
    """And nothing else is."""
    enums = (Event, ContractEvent, ModelEvent, ShadowEvent, TelemetryEvent, GatewayEvent)
    known = {event.value for enum in enums for event in enum}

    assert known == LOG_EVENTS.keys()


@pytest.mark.parametrize(
    ("attribute", "values"),
    [
        (attributes.PAUSED, set(PauseKind)),
        (attributes.GIVEN_UP, set(Degrade)),
        (attributes.BACKEND, set(Backend)),
        (attributes.STALE, set(OnStale)),
        (attributes.WHY, {"", *Skip, *Fault}),
        (attributes.PROBLEM, {"", *Kind}),
        (attributes.PROXIED, {"decided", "no_event", "bug", *Cause}),
        (attributes.KEYED, {"answered", "replayed", "failed", *_KEYED.values()}),
        (
            attributes.HTTP_STATUS,
            # 307: a path with a slash too many.
            {"", "200", "307", *(about.status for about in ABOUT.values())},
        ),
    ],
)
def test_values_are_those_of_the_code(attribute: Attribute, values: set[str]) -> None:
    """An attribute with a closed list has exactly the values that can come."""
    assert set(attribute.values) == {str(value) for value in values}


def test_names_are_of_the_form_and_each_its_own() -> None:
    """Of OpenTelemetry's form, with a unit; none twice, at `/metrics` neither."""
    form = re.compile(r"^(workers|messaging|process|http)(\.[a-z_]+)+$")

    assert all(form.match(metric.name) for metric in METRICS)
    assert all(m.unit in SEMCONV_UNITS or re.match(r"^\{\w+\}(/s)?$", m.unit) for m in METRICS)
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert len({metric.prometheus for metric in METRICS}) == len(METRICS)
    assert all(metric.bounds for metric in METRICS if metric.kind is Sort.HISTOGRAM)
    assert all(list(metric.bounds) == sorted(set(metric.bounds)) for metric in METRICS)


def test_every_metric_is_counted_somewhere() -> None:
    """A name that no code uses would be a promise to nobody."""
    lists = (names, gateway, loops)
    constants = [
        name for of in lists for name, value in vars(of).items() if isinstance(value, Metric)
    ]
    own = {Path(of.__file__) for of in lists if of.__file__}
    files = [f for f in (ROOT / "workers").rglob("*.py") if f not in own]
    used = {word for file in files for word in re.findall(r"[A-Z_]{3,}", file.read_text())}

    assert [name for name in constants if name not in used] == []


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (names.RECORDS, "workers_records_total"),
        (names.STAGE_DURATION, "workers_batch_stage_duration_seconds"),
        (names.MISSING, "workers_drift_missing_ratio"),
        (names.MEMORY, "process_memory_usage_bytes"),
        (names.CPU_TIME, "process_cpu_time_seconds_total"),
        (names.SCORE, "workers_score"),
        (names.LAG_TREND, "workers_partition_lag_trend"),
        (gateway.REQUEST_DURATION, "http_server_request_duration_seconds"),
        (gateway.SPILL, "workers_gateway_spill_bytes"),
        (loops.LAST_RUN, "workers_feedback_last_run_seconds"),
        (loops.COVERAGE, "workers_feedback_coverage"),
    ],
)
def test_prometheus_names_follow_the_rules(metric: Metric, name: str) -> None:
    """Dots, units, `_total` and `_ratio` as OpenTelemetry's exporters write them."""
    assert metric.prometheus == name
