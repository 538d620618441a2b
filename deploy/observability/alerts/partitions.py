"""Partitions that are not read, by why."""

from __future__ import annotations

from deploy.observability.alert import Alert, Case, Severity
from deploy.observability.history import HERE, series, stays, then
from deploy.observability.promql import most, select, total
from workers.telemetry import names as n


def _paused(reason: str) -> str:
    return total(select(n.PAUSED, f'reason="{reason}"')) + " > 0"


def _history(reason: str, values: str) -> dict[str, str]:
    return {series(n.PAUSED, reason=reason): values}


ALERTS = (
    Alert(
        name="PartitionStopped",
        severity=Severity.CRITICAL,
        expr=_paused("stopped"),
        hold="2m",
        summary="{worker}: {value} partitions have stopped",
        description="What they write to refuses them: going on would lose a record. Nothing is "
        "lost; they are tried again every `stopped_partition_retry`.",
        fires=Case("10m", _history("stopped", stays(2)), HERE, "2"),
        quiet=Case("10m", _history("stopped", then("1x2", "0x400"))),
    ),
    Alert(
        name="BreakerOpen",
        severity=Severity.WARNING,
        expr=_paused("breaker"),
        hold="10m",
        summary="{worker}: {value} partitions are held, because too much of them is refused",
        description="Past the limits of `breaker` a partition is held, and probed every "
        "`breaker.again`. One bad producer does this, or a contract that nobody released.",
        fires=Case("30m", _history("breaker", stays(1)), HERE, "1"),
        quiet=Case("30m", _history("breaker", then("1x4", "0x400"))),
    ),
    Alert(
        name="SchemaAwaited",
        severity=Severity.WARNING,
        expr=_paused("schema"),
        hold="10m",
        summary="{worker}: {value} partitions wait for a schema",
        description="A record names a schema id that no contract has, and the registry does not "
        "say whether it exists. The partition goes on when it does.",
        fires=Case("30m", _history("schema", stays(1)), HERE, "1"),
        quiet=Case("30m", _history("schema", then("1x4", "0x400"))),
    ),
    Alert(
        name="PausedByPerson",
        severity=Severity.INFO,
        expr=most(select(n.PAUSED, 'reason="operator"')) + " > 0",
        hold="1h",
        summary="{worker} has been paused by a person for more than an hour",
        description="Nothing is wrong with the worker. Somebody may have forgotten it.",
        fires=Case("120m", _history("operator", stays(6)), HERE),
        quiet=Case("120m", _history("operator", then("6x30", "0x400"))),
    ),
)
