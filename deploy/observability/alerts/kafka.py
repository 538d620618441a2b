"""Brokers, transactions and the group."""

from __future__ import annotations

from deploy.observability.alert import Alert, Case, Severity
from deploy.observability.history import HERE, grows, series, then
from deploy.observability.promql import PROCESS, grew, most, rate, select, total, where
from workers.telemetry import names as n

_BAD = 'result=~"failed|unclear"'


def _ended(committed: float, failed: float) -> dict[str, str]:
    return {
        series(n.TRANSACTIONS, result="committed"): grows(committed),
        series(n.TRANSACTIONS, result="failed"): grows(failed),
    }


# Each outage is told once when it begins and once when it ends.
_BEGAN = select(n.LOG_EVENTS, 'event="contracts.unwell"')
_ENDED = select(n.LOG_EVENTS, 'event="contracts.recovered"')
_OUT = (
    f"({total(_BEGAN, PROCESS)} - {total(_ENDED, PROCESS)}) or "
    f"({total(_BEGAN, PROCESS)} unless {total(_ENDED, PROCESS)})"
)


def _contracts(unwell: str, recovered: str) -> dict[str, str]:
    return {
        series(n.LOG_EVENTS, event="contracts.unwell"): unwell,
        series(n.LOG_EVENTS, event="contracts.recovered"): recovered,
    }


ALERTS = (
    Alert(
        name="KafkaUnwell",
        severity=Severity.WARNING,
        expr=f"{grew(n.RECOVERIES, '10m', where(cause='unwell'))} > 3 or "
        f"{grew(n.LOG_EVENTS, '10m', where(event='kafka.unwell'))} > 3",
        hold="5m",
        summary="{worker}: Kafka is unwell",
        description="More than three times in ten minutes a call failed, or a batch was given up. "
        "What was given up is read again: nothing is lost or doubled, but it costs time.",
        fires=Case("30m", {series(n.LOG_EVENTS, event="kafka.unwell"): grows(1)}, HERE),
        quiet=Case("30m", {series(n.RECOVERIES, cause="unwell"): then("0x5", "2x400")}),
    ),
    Alert(
        name="TransactionsFail",
        severity=Severity.WARNING,
        expr=f"{rate(n.TRANSACTIONS, '10m', _BAD)} / {rate(n.TRANSACTIONS, '10m')} > 0.05",
        hold="10m",
        summary="{worker}: {value} of the transactions fail",
        description="Their batches are read again and nothing is doubled. Throughput falls.",
        shown="humanizePercentage",
        fires=Case("40m", _ended(80, 20), HERE, "20%"),
        quiet=Case("40m", _ended(98, 2)),
    ),
    Alert(
        name="Fenced",
        severity=Severity.CRITICAL,
        expr=f"{grew(n.TRANSACTIONS, '15m', where(result='fenced'))} > 0",
        hold="0m",
        summary="{worker}: a process was fenced by another under its name",
        description="Two processes run as the same `instance`. The older one ends with exit code "
        "8 and stays down.",
        fires=Case("20m", {series(n.TRANSACTIONS, result="fenced"): then("_x9", "1x400")}, HERE),
        quiet=Case("60m", {series(n.TRANSACTIONS, result="fenced"): then("0x5", "1x400")}),
    ),
    Alert(
        name="RebalanceStorm",
        severity=Severity.WARNING,
        expr=most(f"increase({select(n.REBALANCES, where(kind='revoked'))}[15m])") + " > 5",
        hold="5m",
        summary="{worker}: partitions move all the time",
        description="A process gave partitions away {value} times in a quarter of an hour. Every "
        "time work under way is waited for or thrown away.",
        fires=Case("60m", {series(n.REBALANCES, kind="revoked"): grows(1)}, HERE, "15"),
        quiet=Case("60m", {series(n.REBALANCES, kind="revoked"): then("0x20", "3x400")}),
    ),
    Alert(
        name="MembershipLost",
        severity=Severity.WARNING,
        expr=f"{grew(n.REBALANCES, '15m', where(kind='lost'))} > 0",
        hold="0m",
        summary="{worker}: a process was put out of its group",
        description="It did not poll or beat in time, or brokers could not be reached. What it had "
        "not committed is read again by others.",
        fires=Case("20m", {series(n.REBALANCES, kind="lost"): then("0x10", "1x400")}, HERE),
        quiet=Case("60m", {series(n.REBALANCES, kind="lost"): then("0x10", "1x400")}),
    ),
    Alert(
        name="RegistryUnwell",
        severity=Severity.WARNING,
        expr=f"{most(_OUT)} > 0",
        hold="10m",
        summary="{worker}: the source of contracts does not answer",
        description="What is known goes on, also over a restart. New schema ids wait.",
        fires=Case("30m", _contracts("1x400", "0x400"), HERE),
        quiet=Case("30m", _contracts("1x400", then("0x5", "1x400"))),
    ),
)
