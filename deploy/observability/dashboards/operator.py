"""What an operator looks at first: is it well, does it keep up, and if not, where is the time?"""

from __future__ import annotations

from typing import Any

from deploy.observability.alerts.promises import DEAD
from deploy.observability.dashboards.grafana import (
    RED,
    YELLOW,
    Panel,
    Query,
    Row,
    Variable,
    dashboard,
)
from deploy.observability.dashboards.inside import GROUP, KAFKA, PROCESS
from deploy.observability.dashboards.queries import (
    all_per_second,
    buckets,
    in_range,
    mean,
    now,
    per_second,
    quantile,
)
from workers.telemetry import names as n

_DEAD = 'outcome=~"dead_lettered|parked"'
_WANTED = 'cause=~"model_failed|over_budget"'
_DECISIONS = all_per_second(n.DECISIONS)

GLANCE = Row(
    "At a glance",
    [
        Panel(
            title="Records in",
            says="Records whose outcome is acknowledged, a second.",
            queries=[Query(all_per_second(n.RECORDS))],
            kind="stat",
            unit="rps",
            width=3,
            height=5,
        ),
        Panel(
            title="Dead letters",
            says=f"Part of the records. The objective is {DEAD:.1%}; runbook DeadLettersBurnFast.",
            queries=[Query(f"{all_per_second(n.RECORDS, _DEAD)} / {all_per_second(n.RECORDS)}")],
            kind="stat",
            unit="percentunit",
            width=3,
            height=5,
            limits={YELLOW: DEAD, RED: 0.0144},
        ),
        Panel(
            title="Behind",
            says="Time lag of the partition that is furthest behind.",
            queries=[Query(f"max({now(n.TIME_LAG)})")],
            kind="stat",
            unit="s",
            width=3,
            height=5,
            limits={YELLOW: 60, RED: 900},
        ),
        Panel(
            title="p99 from event to outcome",
            says="From the record's timestamp to the broker's acknowledgement, lag included.",
            queries=[Query(quantile(0.99, n.RECORD_LATENCY))],
            kind="stat",
            unit="s",
            width=3,
            height=5,
            limits={YELLOW: 0.5, RED: 5},
        ),
        Panel(
            title="Decided without the model",
            says="Because the model failed or the budget was over; runbook FallbackShare.",
            queries=[
                Query(f"({all_per_second(n.FALLBACKS, _WANTED)} or vector(0)) / {_DECISIONS}")
            ],
            kind="stat",
            unit="percentunit",
            width=3,
            height=5,
            limits={YELLOW: 0.01, RED: 0.05},
        ),
        Panel(
            title="Partitions not read",
            says="For any reason; below is which.",
            queries=[Query(f"sum({now(n.PAUSED)})")],
            kind="stat",
            width=3,
            height=5,
            limits={YELLOW: 1},
        ),
        Panel(
            title="Processes",
            says="As many as Prometheus reaches.",
            queries=[Query(f"count({now(n.BUILD_INFO)})")],
            kind="stat",
            width=3,
            height=5,
        ),
        Panel(
            title="Versions running",
            says="Builds by process; more than one only while an upgrade rolls.",
            queries=[Query(f"count by (build) ({now(n.BUILD_INFO)})", "{{build}}")],
            kind="stat",
            width=3,
            height=5,
        ),
    ],
)

FLOW = Row(
    "Records",
    [
        Panel(
            title="What became of records",
            says="Every input record is in exactly one of these.",
            queries=[Query(per_second(n.RECORDS, "outcome"), "{{outcome}}")],
            unit="rps",
            width=12,
            stacked=True,
        ),
        Panel(
            title="Dead letters by cause",
            says="docs/errors.md says what each code means and who mends it.",
            queries=[Query(per_second(n.DEAD_LETTERS, "verdict", "code"), "{{verdict}}: {{code}}")],
            unit="rps",
            width=12,
            stacked=True,
        ),
        Panel(
            title="From event to outcome",
            says="Quantiles; they are as exact as the buckets.",
            queries=[
                Query(quantile(q, n.RECORD_LATENCY), f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)
            ],
            unit="s",
            width=12,
        ),
        Panel(
            title="From event to outcome, all of them",
            says="Two bands mean that two things happen: look for one partition that is behind.",
            queries=[Query(buckets(n.RECORD_LATENCY), "{{le}}", "heatmap")],
            kind="heatmap",
            unit="s",
            width=12,
            least=None,
        ),
    ],
)

LAG = Row(
    "Lag",
    [
        Panel(
            title="Time behind, by partition",
            says="Age of the newest settled record while there are more. One line that climbs "
            "alone: that partition stalls.",
            queries=[Query(f"max by (partition) ({now(n.TIME_LAG)})", "{{partition}}")],
            unit="s",
            limits={YELLOW: 60, RED: 900},
        ),
        Panel(
            title="Lag's trend, by partition",
            says="Records a second by which the lag grows; below zero it catches up.",
            queries=[Query(f"sum by (partition) ({now(n.LAG_TREND)})", "{{partition}}")],
            unit="rps",
            least=None,
        ),
        Panel(
            title="Records waiting, by partition",
            says="Between what is committed and the end. A few may stay: control records of "
            "transactions count.",
            queries=[Query(f"sum by (partition) ({now(n.LAG)})", "{{partition}}")],
            stacked=True,
        ),
    ],
)

BATCHES = Row(
    "Where the time goes",
    [
        Panel(
            title="p95 of a batch's stages",
            says="wait: idle, or the batching delay; score: our processor; publish: Kafka.",
            queries=[Query(quantile(0.95, n.STAGE_DURATION, "stage"), "{{stage}}")],
            unit="s",
        ),
        Panel(
            title="Processor time within scoring",
            says="Seconds a second, over all processes: what costs.",
            queries=[Query(per_second(n.STEP_DURATION, "step", part="_sum"), "{{step}}")],
            unit="s",
            stacked=True,
        ),
        Panel(
            title="Records of a batch",
            says="Small batches under load: `linger` or `max_records` is low.",
            queries=[Query(mean(n.BATCH_SIZE, "worker"), "{{worker}}")],
        ),
        Panel(
            title="Batches over the budget",
            says="Where `latency` is declared: by the stage that went furthest over its part.",
            queries=[Query(in_range(n.BREACHES, "stage"), "{{stage}}")],
            stacked=True,
        ),
        Panel(
            title="Given up to keep to the budget",
            says="In the order of `latency.degrade`.",
            queries=[Query(in_range(n.GIVEN_UP, "given_up"), "{{given_up}}")],
            stacked=True,
        ),
        Panel(
            title="Tried again at once",
            says="Records of `retries`, a second.",
            queries=[Query(per_second(n.TRIED_AGAIN, "worker"), "{{worker}}")],
            unit="rps",
        ),
    ],
)


def board() -> dict[str, Any]:
    """The dashboard."""
    consumed = n.CONSUMED.prometheus
    more = (
        Variable(
            "group",
            "Group",
            f'label_values({consumed}{{worker=~"$worker"}}, messaging_consumer_group_name)',
        ),
        Variable(
            "topic",
            "Topic",
            f'label_values({{__name__=~"{consumed}|{n.SENT.prometheus}",worker=~"$worker"}}, '
            "messaging_destination_name)",
        ),
    )
    rows = (GLANCE, FLOW, LAG, BATCHES, GROUP, KAFKA, PROCESS)
    says = "Is it well, does it keep up, and if not, where is the time?"
    return dashboard("workers-operator", "Workers: operator", says, rows, more)
