"""Are the processes there, and can they be seen?"""

from __future__ import annotations

from deploy.observability.alert import Alert, Case, Severity
from deploy.observability.history import HERE, grows, ramp, series, stays, then
from deploy.observability.promql import BY, grew, labels, rate, select, total
from workers.telemetry import names as n

_COUNT = f"count by ({labels(*BY)})"
_BUILD = select(n.BUILD_INFO)
_FAILED = 'result="failed"'


def _exports(sent: float, failed: float) -> dict[str, str]:
    return {
        series(n.EXPORTS, signal="metrics", result="sent"): grows(sent),
        series(n.EXPORTS, signal="metrics", result="failed"): grows(failed),
    }


ALERTS = (
    Alert(
        name="WorkerGone",
        severity=Severity.CRITICAL,
        expr=f"{_COUNT} (last_over_time({_BUILD}[6h])) unless {_COUNT} ({_BUILD})",
        hold="5m",
        summary="{worker}: none of its {value} processes is to be seen",
        description="There were some within the last six hours. Either none runs, or Prometheus "
        "does not reach them; this does not depend on a collector.",
        fires=Case("60m", {series(n.BUILD_INFO, build="0.1.0"): then("1x20", "_x400")}, HERE, "1"),
        quiet=Case(
            "60m",
            {
                series(n.BUILD_INFO, build="0.1.0"): then("1x20", "_x400"),
                series(n.BUILD_INFO, build="0.1.0", instance="10.0.0.2:9464"): stays(1),
            },
        ),
    ),
    Alert(
        name="ProcessRestarts",
        severity=Severity.WARNING,
        expr=total(f"resets({select(n.UPTIME)}[1h])") + " > 3",
        hold="0m",
        summary="{worker}: processes have been started again {value} times in an hour",
        description="The exit code and the last log lines say why.",
        fires=Case("60m", {series(n.UPTIME): then(*[ramp(10, 60, 9)] * 12)}, HERE, "6"),
        quiet=Case("60m", {series(n.UPTIME): then(*[ramp(10, 60, 29)] * 4)}),
    ),
    Alert(
        name="CollectorFails",
        severity=Severity.INFO,
        expr=f"{rate(n.EXPORTS, '15m', _FAILED)} / {rate(n.EXPORTS, '15m')} > 0.5",
        hold="15m",
        summary="{worker}: {value} of the exports to the collector fail",
        description="Traces and pushed metrics are lost. Records are not affected, nor is what "
        "Prometheus reads from /metrics.",
        shown="humanizePercentage",
        fires=Case("60m", _exports(0, 4), HERE, "100%"),
        quiet=Case("60m", _exports(4, 1)),
    ),
    Alert(
        name="TelemetryFault",
        severity=Severity.INFO,
        expr=f"{grew(n.FAULTS, '1h')} > 0",
        hold="0m",
        summary="{worker}: batches were not counted",
        description="They were enriched and committed. It is a bug of ours: report it with the "
        "log lines.",
        fires=Case("20m", {series(n.FAULTS): then("0x9", "1x400")}, HERE),
        quiet=Case("120m", {series(n.FAULTS): "3x400"}),
    ),
)
