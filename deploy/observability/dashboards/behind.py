"""The gateway's dashboard, below: scoring, the decision log, the transparent proxy."""

from __future__ import annotations

from deploy.observability.dashboards.grafana import RATE, RED, YELLOW, Panel, Query, Row
from deploy.observability.dashboards.queries import in_range, mean, now, per_second, quantile
from deploy.observability.promql import labels, select
from workers.telemetry import gateway as g
from workers.telemetry import names as n
from workers.telemetry.kinds import Metric

DOOR = 'door="gateway"'
ITSELF = f'namespace=~"$namespace",{DOOR}'
"""What is of the process, not of one of its workers."""


def _own(metric: Metric, *by: str, part: str = "") -> str:
    """The growth a second of what a whole gateway counts."""
    return f"sum by ({labels(*by)}) (rate({select(metric, ITSELF, part=part)}[{RATE}]))"


SCORING = Row(
    "Scoring",
    [
        Panel(
            title="Decisions",
            says="Answered ones, by decision.",
            queries=[Query(per_second(n.DECISIONS, "decision", match=DOOR), "{{decision}}")],
            unit="reqps",
            stacked=True,
        ),
        Panel(
            title="Decided without the model, by cause",
            says="over_budget: the deadline; bypassed and rule: somebody wants it so.",
            queries=[Query(per_second(n.FALLBACKS, "cause", match=DOOR), "{{cause}}")],
            unit="reqps",
            stacked=True,
        ),
        Panel(
            title="Queue, of what is allowed",
            says="At 100% events are refused as overloaded; runbook GatewaySaturated.",
            queries=[
                Query(f"max by (instance) ({now(g.QUEUE)} / {now(g.QUEUE_LIMIT)})", "{{instance}}")
            ],
            unit="percentunit",
            limits={YELLOW: 0.5, RED: 0.8},
        ),
        Panel(
            title="Events of a batch",
            says="What came in while the batch before was scored; grows with the load.",
            queries=[Query(mean(g.BATCH_SIZE, "worker"), "{{worker}}")],
        ),
        Panel(
            title="p95 of scoring a batch",
            says="Decode to encode; of fallbacks too.",
            queries=[Query(quantile(0.95, g.BATCH_DURATION, "worker"), "{{worker}}")],
            unit="s",
        ),
    ],
)

LOG = Row(
    "Decision log",
    [
        Panel(
            title="Records",
            says="spilled ones are on disk alone until they are replayed.",
            queries=[Query(_own(g.LOG_RECORDS, "result"), "{{result}}")],
            unit="wps",
            width=6,
        ),
        Panel(
            title="Time to acknowledgement",
            says="Answers wait for it, but with `acknowledge: queued`.",
            queries=[
                Query(
                    f"histogram_quantile({q:g}, {_own(g.LOG_DURATION, 'le', part='_bucket')})",
                    f"p{q * 100:g}",
                )
                for q in (0.5, 0.99)
            ],
            unit="s",
            width=6,
        ),
        Panel(
            title="Requests whose records are on their way",
            says="Climbs while the brokers are slow; runbook DecisionLogDown.",
            queries=[Query(f"sum by (instance) ({select(g.LOG_WAITING, ITSELF)})", "{{instance}}")],
            width=6,
        ),
        Panel(
            title="On disk, of what is allowed",
            says="Should be nothing; runbook SpillWaits, and SpillFills at 80%.",
            queries=[
                Query(
                    f"max by (instance) ({select(g.SPILL, ITSELF)} / "
                    f"{select(g.SPILL_LIMIT, ITSELF)})",
                    "{{instance}}",
                )
            ],
            unit="percentunit",
            width=6,
            limits={YELLOW: 0.01, RED: 0.8},
        ),
    ],
)

PROXY = Row(
    "Transparent proxy",
    [
        Panel(
            title="Forwarded requests",
            says="decided, no event, or the cause for which one went on without; runbook "
            "ProxyFailsOpen.",
            queries=[Query(per_second(g.PROXY_REQUESTS, "result"), "{{result}}")],
            unit="reqps",
            stacked=True,
        ),
        Panel(
            title="Added to a request",
            says="How long requests waited for their decision; at most `proxy.budget`.",
            queries=[Query(quantile(q, g.PROXY_ADDED), f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)],
            unit="s",
        ),
        Panel(
            title="The system did not answer",
            says="Answered 502 or 504: it takes no connection, or breaks it.",
            queries=[Query(in_range(g.UPSTREAM_FAILED, "worker"), "{{worker}}")],
        ),
    ],
)
