"""Does the worker keep up? Told by time, not by offsets, and by where the time goes."""

from __future__ import annotations

from deploy.observability.alert import Alert, Case, Severity
from deploy.observability.history import AT, HERE, grows, ramp, series, stays, then
from deploy.observability.promql import BY, PROCESS, labels, most, select, total, while_paused
from workers.telemetry import names as n

PARTITION = (*BY, "partition")
_ASKED_FOR = f"unless on ({labels(*BY)}) {while_paused('operator')}"
_LAG = select(n.TIME_LAG)


def _growth(window: str) -> str:
    return f"deriv({_LAG}[{window}])"


def _lag(values: str, partition: str = "3", **more: str) -> dict[str, str]:
    return {series(n.TIME_LAG, partition=partition, **more): values}


_PAUSED = {series(n.PAUSED, reason="operator"): stays(1)}

ALERTS = (
    Alert(
        name="TimeLagGrows",
        severity=Severity.WARNING,
        expr=f"{most(_LAG)} > 60 and {most(_growth('15m'))} > 0.05 {_ASKED_FOR}",
        hold="10m",
        summary="{worker} is {value} behind, and falls back further",
        description="The oldest partition's records wait longer than a minute, and longer every "
        "minute. A lag that shrinks, as after a restart, is none of this.",
        shown="humanizeDuration",
        fires=Case("60m", _lag(ramp(0, 12, 120)), HERE, "12m 0s"),
        quiet=Case("60m", _lag(ramp(3600, -12, 120))),
    ),
    Alert(
        name="TimeLagLong",
        severity=Severity.CRITICAL,
        expr=f"{most(_LAG)} > 900 and {most(_growth('10m'))} >= 0 {_ASKED_FOR}",
        hold="10m",
        summary="{worker} is {value} behind and does not catch up",
        description="Enriched events come more than a quarter of an hour late.",
        shown="humanizeDuration",
        fires=Case("60m", _lag(stays(1200)), HERE, "20m 0s"),
        quiet=Case("60m", _lag(ramp(7200, -60, 120))),
    ),
    Alert(
        name="PartitionStalls",
        severity=Severity.CRITICAL,
        expr=f"{most(_growth('10m'), PARTITION)} > 0.9 and {most(_LAG, PARTITION)} > 120 "
        f"{_ASKED_FOR}",
        hold="5m",
        summary="{worker}: partition {partition} does not move",
        description="Its lag grows by a second a second: nothing of it is settled, while records "
        "wait. Other partitions may be well.",
        fires=Case("30m", _lag(ramp(0, 60, 120)), {**HERE, "partition": "3"}),
        quiet=Case("30m", {**_lag(ramp(0, 60, 120)), **_PAUSED}),
    ),
    Alert(
        name="NothingSettles",
        severity=Severity.CRITICAL,
        expr=f"min by ({labels(*PROCESS)}) ({select(n.COMMIT_AGE)}) > 300 and "
        f"{total(select(n.LAG), PROCESS)} > 0 {_ASKED_FOR}",
        hold="2m",
        summary="{worker} on {instance} has settled nothing for {value}",
        description="Records wait in its partitions, and no batch was acknowledged.",
        shown="humanizeDuration",
        fires=Case(
            "20m",
            {series(n.COMMIT_AGE): grows(60), series(n.LAG, partition="0"): stays(500)},
            {**HERE, **AT},
            "20m 0s",
        ),
        quiet=Case("20m", {series(n.COMMIT_AGE): grows(60), series(n.LAG, partition="0"): "0x480"}),
    ),
    Alert(
        name="PollNearItsLimit",
        severity=Severity.WARNING,
        expr=f"{most(select(n.POLL_AGE), PROCESS)} / {most(select(n.POLL_LIMIT), PROCESS)} > 0.5",
        hold="1m",
        summary="{worker} on {instance} has not polled for {value} of the time it may",
        description="At 100% the group gives its partitions to others, and what it is doing is "
        "thrown away.",
        shown="humanizePercentage",
        fires=Case(
            "10m",
            {
                series(n.POLL_AGE): then(stays(1, 5), ramp(60, 60, 20)),
                series(n.POLL_LIMIT): "300x30",
            },
            {**HERE, **AT},
            "100%",
        ),
        quiet=Case("10m", {series(n.POLL_AGE): stays(20), series(n.POLL_LIMIT): "300x480"}),
    ),
    Alert(
        name="ProcessIdle",
        severity=Severity.INFO,
        expr=f"{most(select(n.ASSIGNED), PROCESS)} == 0",
        hold="30m",
        summary="{worker} on {instance} has no partition",
        description="There are more processes than partitions: it costs and does nothing.",
        fires=Case("60m", {series(n.ASSIGNED): "0x480"}, {**HERE, **AT}),
        quiet=Case("60m", {series(n.ASSIGNED): then("0x10", "1x400")}),
    ),
)
