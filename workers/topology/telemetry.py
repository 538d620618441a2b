"""Where a worker's metrics and traces are sent."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr

from workers.topology.security import Part
from workers.topology.units import Duration


class Telemetry(Part):
    """A collector that takes OTLP over HTTP. What is not written here, `OTEL_*` variables say."""

    endpoint: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = Field(
        default=None,
        description="Address of the collector, as http://collector:4318; `/v1/metrics` and "
        "`/v1/traces` come behind it. Default: `OTEL_EXPORTER_OTLP_ENDPOINT`; without it nothing "
        "is sent.",
    )
    headers: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Sent with every request; write secrets as ${NAME}. Default: "
        "`OTEL_EXPORTER_OTLP_HEADERS`.",
    )
    interval: Duration | None = Field(
        default=None,
        description="How often metrics are sent. Default: `OTEL_METRIC_EXPORT_INTERVAL`, else 15s.",
    )
    trace_ratio: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Part of the batches that are traced; those with a dead letter or a failure "
        "are in any case. Default: `OTEL_TRACES_SAMPLER_ARG`, else 0.01.",
    )
