"""Four dashboards, by who looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deploy.observability.dashboards import contracts, gateway, model, operator

DASHBOARDS: dict[str, Callable[[], dict[str, Any]]] = {
    "workers-operator": operator.board,
    "workers-model": model.board,
    "workers-contracts": contracts.board,
    "workers-gateway": gateway.board,
}
