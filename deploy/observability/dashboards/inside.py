"""The operator's dashboard, below: the group, Kafka, the processes."""

from __future__ import annotations

from deploy.observability.dashboards.grafana import (
    RED,
    YELLOW,
    Panel,
    Query,
    Row,
)
from deploy.observability.dashboards.queries import (
    in_range,
    now,
    per_second,
    quantile,
)
from workers.telemetry import names as n

_GROUP = 'messaging_consumer_group_name=~"$group"'
_ROUTINE = 'event!~"batch.committed|worker.progress"'
_TOPIC = 'messaging_destination_name=~"$topic"'

GROUP = Row(
    "Group and partitions",
    [
        Panel(
            title="Partitions by process",
            says="Even, but for one. A process with none is idle.",
            queries=[Query(f"sum by (instance) ({now(n.ASSIGNED)})", "{{instance}}")],
            stacked=True,
            width=6,
        ),
        Panel(
            title="Partitions not read, by reason",
            says="stopped: runbook PartitionStopped; breaker: BreakerOpen; schema: SchemaAwaited.",
            queries=[Query(f"sum by (reason) ({now(n.PAUSED)})", "{{reason}}")],
            stacked=True,
            width=6,
        ),
        Panel(
            title="Rebalances",
            says="lost: the group put a process out; runbook MembershipLost.",
            queries=[Query(in_range(n.REBALANCES, "kind"), "{{kind}}")],
            width=6,
        ),
        Panel(
            title="Time since the last poll, of what is allowed",
            says="At 100% the group takes the partitions.",
            queries=[
                Query(
                    f"max by (instance) ({now(n.POLL_AGE)} / {now(n.POLL_LIMIT)})", "{{instance}}"
                )
            ],
            unit="percentunit",
            width=6,
            limits={YELLOW: 0.5, RED: 0.9},
        ),
        Panel(
            title="Time since something was settled",
            says="Grows while there is nothing to do, too: look at the lag beside it.",
            queries=[Query(f"max by (instance) ({now(n.COMMIT_AGE)})", "{{instance}}")],
            unit="s",
            width=12,
        ),
        Panel(
            title="Log events that are no routine",
            says="Counted by name; docs/telemetry.md lists them.",
            queries=[Query(in_range(n.LOG_EVENTS, "event", match=_ROUTINE), "{{event}}")],
            width=12,
        ),
    ],
)

KAFKA = Row(
    "Kafka",
    [
        Panel(
            title="Transactions",
            says="failed and unclear ones cost time; fenced: two processes have one name.",
            queries=[Query(per_second(n.TRANSACTIONS, "result"), "{{result}}")],
            unit="ops",
            width=6,
        ),
        Panel(
            title="Batches given up",
            says="They are read again: nothing is lost or doubled.",
            queries=[Query(in_range(n.RECOVERIES, "cause"), "{{cause}}")],
            width=6,
        ),
        Panel(
            title="Offset commits that failed",
            says="At least once: a later commit covers them.",
            queries=[Query(in_range(n.COMMITS_FAILED, "worker"), "{{worker}}")],
            width=6,
        ),
        Panel(
            title="Records waiting to be sent",
            says="The most of the last batch, against `queues.producer_messages`.",
            queries=[Query(f"max by (instance) ({now(n.PRODUCER_QUEUE)})", "{{instance}}")],
            width=6,
        ),
        Panel(
            title="p95 of calls to brokers",
            says="One a batch.",
            queries=[
                Query(
                    quantile(0.95, n.OPERATION_DURATION, "messaging_operation_name"),
                    "{{messaging_operation_name}}",
                )
            ],
            unit="s",
            width=8,
        ),
        Panel(
            title="Records read, by topic and group",
            says="Those of a batch that is read again count again.",
            queries=[
                Query(
                    per_second(
                        n.CONSUMED,
                        "messaging_destination_name",
                        "messaging_consumer_group_name",
                        match=f"{_TOPIC},{_GROUP}",
                    ),
                    "{{messaging_destination_name}} by {{messaging_consumer_group_name}}",
                )
            ],
            unit="rps",
            width=8,
        ),
        Panel(
            title="Records written, by topic",
            says="Acknowledged ones.",
            queries=[
                Query(
                    per_second(n.SENT, "messaging_destination_name", match=_TOPIC),
                    "{{messaging_destination_name}}",
                )
            ],
            unit="rps",
            width=8,
        ),
    ],
)

PROCESS = Row(
    "Processes",
    [
        Panel(
            title="Processors in use",
            says="One process uses one, and a little more.",
            queries=[Query(per_second(n.CPU_TIME, "instance"), "{{instance}}")],
            width=6,
        ),
        Panel(
            title="Memory",
            says="Flat. One that climbs for hours is a leak: report it.",
            queries=[Query(f"max by (instance) ({now(n.MEMORY)})", "{{instance}}")],
            unit="bytes",
            width=6,
        ),
        Panel(
            title="Running for",
            says="A saw tooth is a process that dies again and again.",
            queries=[Query(f"max by (instance) ({now(n.UPTIME)})", "{{instance}}")],
            unit="s",
            width=6,
        ),
        Panel(
            title="Open files",
            says="Connections and files.",
            queries=[Query(f"max by (instance) ({now(n.FILES)})", "{{instance}}")],
            width=6,
        ),
        Panel(
            title="Exports to the collector",
            says="Records do not wait for it.",
            queries=[Query(per_second(n.EXPORTS, "signal", "result"), "{{signal}} {{result}}")],
            unit="ops",
            width=12,
        ),
        Panel(
            title="Spans dropped, batches not counted",
            says="Zero, while the collector answers.",
            queries=[
                Query(in_range(n.SPANS_DROPPED, "worker"), "{{worker}}: spans"),
                Query(in_range(n.FAULTS, "worker"), "{{worker}}: batches"),
            ],
            width=12,
        ),
    ],
)
