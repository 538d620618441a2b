"""Where a process says how it is."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, Field

from workers.topology.security import Part
from workers.topology.units import Duration


def _literal(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("an IP address is needed, as 127.0.0.1, 0.0.0.0 or ::") from None


class Health(Part):
    """The HTTP endpoints `/livez`, `/readyz`, `/metrics` and `/status`: docs/health.md."""

    address: Annotated[str, AfterValidator(_literal)] = Field(
        default="127.0.0.1",
        description="Address to listen on. Nobody is asked who they are: beyond this host, let a "
        "network policy say who may ask.",
    )
    port: Annotated[int, Field(ge=0, le=65_000)] = Field(
        default=8787,
        description="Port of the first process of `--processes`; each has the next one. 0: a free "
        "one, which the log names.",
    )
    patience: Duration = Field(
        default=120.0,
        description="A loop that shows no sign of life for so long fails `/livez`. More than "
        "`watchdog` and `drain_timeout` together.",
    )
