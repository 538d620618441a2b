"""Decisions by HTTP: are requests answered, in time, by the model, and are they logged?"""

from __future__ import annotations

from typing import Any

from deploy.observability.dashboards.behind import DOOR, ITSELF, LOG, PROXY, SCORING
from deploy.observability.dashboards.grafana import (
    RATE,
    RED,
    YELLOW,
    Panel,
    Query,
    Row,
    dashboard,
)
from deploy.observability.dashboards.queries import (
    all_per_second,
    buckets,
    now,
    per_second,
    quantile,
)
from deploy.observability.promql import select, where
from workers.telemetry import gateway as g
from workers.telemetry import names as n

_ASKED = where(http_route="/v1/decisions/{worker}")
_ANSWERED = f'{_ASKED},http_response_status_code="200"'
_BROKEN = f'{_ASKED},http_response_status_code=~"500|503"'
_UNWANTED = 'door="gateway",cause=~"model_failed|over_budget"'
_REQUESTS = all_per_second(g.REQUEST_DURATION, _ASKED, "_count")


GLANCE = Row(
    "At a glance",
    [
        Panel(
            title="Requests",
            says="For decisions, a second; however they are answered.",
            queries=[Query(_REQUESTS)],
            kind="stat",
            unit="reqps",
            width=4,
            height=5,
        ),
        Panel(
            title="Answered 500 or 503",
            says="Callers get no decision, not even the fallback; runbook GatewayErrors.",
            queries=[
                Query(
                    f"({all_per_second(g.REQUEST_DURATION, _BROKEN, '_count')} or vector(0)) "
                    f"/ {_REQUESTS}"
                )
            ],
            kind="stat",
            unit="percentunit",
            width=4,
            height=5,
            limits={YELLOW: 0.01, RED: 0.05},
        ),
        Panel(
            title="p99 of decisions",
            says="From the request's head to its answer, acknowledgement included; runbook "
            "GatewaySlow.",
            queries=[Query(quantile(0.99, g.REQUEST_DURATION, match=_ANSWERED))],
            kind="stat",
            unit="s",
            width=4,
            height=5,
            limits={YELLOW: 0.1, RED: 0.25},
        ),
        Panel(
            title="Decided without the model",
            says="Because the model failed or the deadline left no time; runbook GatewayDegraded.",
            queries=[
                Query(
                    f"({all_per_second(n.FALLBACKS, _UNWANTED)} or vector(0)) "
                    f"/ {all_per_second(n.DECISIONS, DOOR)}"
                )
            ],
            kind="stat",
            unit="percentunit",
            width=4,
            height=5,
            limits={YELLOW: 0.01, RED: 0.05},
        ),
        Panel(
            title="Decision log down",
            says="Gateways that cannot write the decisions topic; runbook DecisionLogDown.",
            queries=[Query(f"sum({select(g.LOG_DOWN, ITSELF)})")],
            kind="stat",
            width=4,
            height=5,
            limits={RED: 1},
        ),
        Panel(
            title="Stopped",
            says="Workers for which nothing is decided; runbook GatewayStopped.",
            queries=[Query(f"sum({now(g.STOPPED)})")],
            kind="stat",
            width=4,
            height=5,
            limits={RED: 1},
        ),
    ],
)

REQUESTS = Row(
    "Requests",
    [
        Panel(
            title="By status",
            says="A second. 4xx is the caller's to mend, 5xx is ours or Kafka's.",
            queries=[
                Query(
                    per_second(
                        g.REQUEST_DURATION,
                        "http_response_status_code",
                        match=_ASKED,
                        part="_count",
                    ),
                    "{{http_response_status_code}}",
                )
            ],
            unit="reqps",
            stacked=True,
        ),
        Panel(
            title="By problem",
            says="docs/gateway.md says what each kind asks of the caller; empty is none.",
            queries=[
                Query(
                    per_second(g.REQUEST_DURATION, "error_type", match=_ASKED, part="_count"),
                    "{{error_type}}",
                )
            ],
            unit="reqps",
            stacked=True,
        ),
        Panel(
            title="Events with a problem of their own",
            says="Of lists too, whose requests are answered 200.",
            queries=[Query(per_second(g.EVENTS_REJECTED, "error_type"), "{{error_type}}")],
            unit="reqps",
            stacked=True,
        ),
        Panel(
            title="How long decisions take",
            says="Quantiles of those that were answered 200, and the deadline that is declared.",
            queries=[
                *(
                    Query(quantile(q, g.REQUEST_DURATION, match=_ANSWERED), f"p{q * 100:g}")
                    for q in (0.5, 0.95, 0.99)
                ),
                Query(f"max by (worker) ({now(g.DEADLINE)})", "{{worker}}: deadline"),
            ],
            unit="s",
        ),
        Panel(
            title="How long decisions take, all of them",
            says="Two bands mean that two things happen.",
            queries=[Query(buckets(g.REQUEST_DURATION), "{{le}}", "heatmap")],
            kind="heatmap",
            unit="s",
            least=None,
        ),
        Panel(
            title="Over their rate, by caller",
            says="Requests answered 429: the caller's `rate` in topology.yaml, by each process.",
            queries=[
                Query(
                    f"sum by (caller) (increase({select(g.RATE_LIMITED, ITSELF)}[{RATE}]))",
                    "{{caller}}",
                )
            ],
        ),
        Panel(
            title="Requests with a key",
            says="replayed: the same answer again; reused: the key came with another request.",
            queries=[Query(per_second(g.KEYED_REQUESTS, "result"), "{{result}}")],
            unit="reqps",
            stacked=True,
        ),
        Panel(
            title="Keys that are remembered",
            says="Against `idempotency.memory`: when it is full, new keys are refused.",
            queries=[Query(f"max by (instance) ({select(g.KEYS_HELD, ITSELF)})", "{{instance}}")],
        ),
        Panel(
            title="Connections that came to nothing",
            says="busy: more than `limits.connections`; slow, long: beyond `receive`, `head`.",
            queries=[
                Query(
                    f"sum by (reason) (increase({select(g.CONNECTIONS_REFUSED, ITSELF)}[{RATE}]))",
                    "{{reason}}",
                )
            ],
        ),
    ],
)


def board() -> dict[str, Any]:
    """The dashboard."""
    says = "Are requests for decisions answered, in time, by the model, and are they logged?"
    rows = (GLANCE, REQUESTS, SCORING, LOG, PROXY)
    return dashboard("workers-gateway", "Workers: gateway", says, rows)
