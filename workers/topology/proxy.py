"""The transparent proxy before a system: where it listens, whom it asks, how long it may take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from workers.topology.gateway import Port, RequestLimits
from workers.topology.security import Part
from workers.topology.units import Duration, Size

Origin = Annotated[str, Field(pattern=r"^https?://[^/?#@\s]+$")]
Method = Annotated[str, Field(pattern=r"^[A-Z]{1,20}$")]


class Side(StrEnum):
    """Which headers the decision is added to."""

    REQUEST = "request"
    RESPONSE = "response"


class ProxyLimits(RequestLimits):
    """What a client may send: of the system, so an upload has its time."""

    receive: Duration = Field(default=600.0, description="How long a request may take to arrive.")


class Proxy(Part):
    """`workers sidecar proxy`: forwards requests to a system, with the decision in headers."""

    worker: str = Field(description="The worker that the gateway is asked for.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(default=8088, description="Port to listen on; 0: any free one.")
    socket: Path | None = Field(default=None, description="A Unix socket to listen on instead.")
    health_port: Port = Field(
        default=8789,
        description="Port at `health`'s address of this process's `/livez`, `/readyz` and "
        "`/metrics`; 0: a free one, which the log names.",
    )
    upstream: Origin = Field(description="The system, as in `http://127.0.0.1:9000`.")
    upstream_socket: Path | None = Field(
        default=None, description="Its Unix socket; `upstream` gives the scheme alone then."
    )
    gateway: Origin | None = Field(
        default=None, description="The decision gateway; default: the topology's own."
    )
    gateway_socket: Path | None = Field(default=None, description="Or its Unix socket.")
    key: SecretStr | None = Field(
        default=None, description="The proxy's API key at the gateway; take it from `${NAME}`."
    )
    budget: Duration = Field(
        default=0.05, description="How much later than without a decision a request may go on."
    )
    methods: Annotated[tuple[Method, ...], Field(min_length=1)] = Field(
        default=("POST",), description="Requests that are events."
    )
    paths: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        default=("/",), description="What their paths begin with."
    )
    add: Annotated[tuple[Side, ...], Field(min_length=1)] = Field(
        default=(Side.REQUEST,),
        description="Where the decision goes. For `response` alone nothing waits for it.",
    )
    max_body: Size = Field(
        default=256 * 1024, description="A longer body is forwarded and not asked about."
    )
    connect_timeout: Duration = Field(
        default=5.0, description="Until when the system must take a connection; then 502."
    )
    limits: ProxyLimits = Field(
        default_factory=ProxyLimits,
        description="Of requests; `body` and `events` are not looked at.",
    )
    drain: Duration = Field(default=15.0, description="Time to finish requests on SIGTERM.")

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if not 0.001 <= self.budget <= 10:
            raise ValueError("budget must be from 1ms to 10s")
        if self.gateway is not None and self.gateway_socket is not None:
            raise ValueError("write one of `gateway` and `gateway_socket`")
        return self
