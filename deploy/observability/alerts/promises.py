"""Are records enriched, and in time? The two objectives, by how fast their budget burns.

A budget that is a month's burns in two days at 14.4 times its pace, and in five at 6 times. The
short window ends the alert soon after the trouble has ended (the SRE workbook, "Alerting on SLOs").
"""

from __future__ import annotations

from deploy.observability.alert import Alert, Case, Severity
from deploy.observability.history import HERE, grows, series
from deploy.observability.promql import rate, total
from workers.telemetry import names as n

DEAD = 0.001
"""One record in a thousand may be a dead letter."""
SLOW = 0.01
"""One record in a hundred may take longer than `LIMIT`."""
LIMIT = "0.5"
"""Seconds from a record's timestamp to its acknowledged outcome; a bound of the histogram."""
FAST, SLOWLY = 14.4, 6.0


def dead(window: str) -> str:
    """Part of the records that became dead letters."""
    which = 'outcome=~"dead_lettered|parked"'
    return f"({rate(n.RECORDS, window, which)} / {rate(n.RECORDS, window)})"


def slow(window: str) -> str:
    """Part of the records that took longer than `LIMIT`."""
    name = n.RECORD_LATENCY.prometheus
    within = total(f'rate({name}_bucket{{le="{LIMIT}"}}[{window}])')
    every = f"rate({name}_count[{window}])"
    return f"(1 - {within} / {total(every)})"


def _burns(part: str, other: str, limit: float) -> str:
    return f"{part} > {limit:g} and {other} > {limit:g}"


def _records(good: float, bad: float) -> dict[str, str]:
    return {
        series(n.RECORDS, outcome="enriched"): grows(good),
        series(n.RECORDS, outcome="dead_lettered"): grows(bad),
    }


def _latencies(within: float, everything: float) -> dict[str, str]:
    return {
        series(n.RECORD_LATENCY, "_bucket", le=LIMIT): grows(within),
        series(n.RECORD_LATENCY, "_count"): grows(everything),
    }


ALERTS = (
    Alert(
        name="DeadLettersBurnFast",
        severity=Severity.CRITICAL,
        expr=_burns(dead("1h"), dead("5m"), FAST * DEAD),
        hold="2m",
        summary="{worker}: {value} of the records become dead letters",
        description="More than 1.44% for an hour and still so: at this pace a month's budget "
        "(0.1%) is gone in two days.",
        shown="humanizePercentage",
        fires=Case("90m", _records(980, 20), HERE, "2%"),
        quiet=Case("90m", _records(990, 10)),
    ),
    Alert(
        name="DeadLettersBurnSlowly",
        severity=Severity.WARNING,
        expr=_burns(dead("6h"), dead("30m"), SLOWLY * DEAD),
        hold="15m",
        summary="{worker}: {value} of the records become dead letters",
        description="More than 0.6% for six hours and still so: at this pace a month's budget "
        "(0.1%) is gone in five days.",
        shown="humanizePercentage",
        fires=Case("420m", _records(990, 10), HERE, "1%", "5m"),
        quiet=Case("420m", _records(995, 5), step="5m"),
    ),
    Alert(
        name="LatencyBurnsFast",
        severity=Severity.CRITICAL,
        expr=_burns(slow("1h"), slow("5m"), FAST * SLOW),
        hold="2m",
        summary=f"{{worker}}: {{value}} of the records take longer than {LIMIT} s",
        description="From a record's timestamp to its acknowledged outcome. More than 14.4% for an "
        "hour and still so: a month's budget (1%) is gone in two days.",
        shown="humanizePercentage",
        fires=Case("90m", _latencies(800, 1000), HERE, "20%"),
        quiet=Case("90m", _latencies(900, 1000)),
    ),
    Alert(
        name="LatencyBurnsSlowly",
        severity=Severity.WARNING,
        expr=_burns(slow("6h"), slow("30m"), SLOWLY * SLOW),
        hold="15m",
        summary=f"{{worker}}: {{value}} of the records take longer than {LIMIT} s",
        description="From a record's timestamp to its acknowledged outcome. More than 6% for six "
        "hours and still so: a month's budget (1%) is gone in five days.",
        shown="humanizePercentage",
        fires=Case("420m", _latencies(900, 1000), HERE, "10%", "5m"),
        quiet=Case("420m", _latencies(950, 1000), step="5m"),
    ),
    Alert(
        name="LatencyBudgetBroken",
        severity=Severity.WARNING,
        expr=f"{rate(n.BREACHES, '15m')} / {rate(n.BATCHES, '15m')} > 0.1",
        hold="15m",
        summary="{worker}: {value} of the batches break the latency budget",
        description="The budget is `latency` in topology.yaml. The dashboard says which stage went "
        "over its part, and what was given up for it.",
        shown="humanizePercentage",
        fires=Case(
            "60m",
            {series(n.BREACHES, stage="score"): grows(12), series(n.BATCHES): grows(60)},
            HERE,
            "20%",
        ),
        quiet=Case(
            "60m", {series(n.BREACHES, stage="score"): grows(3), series(n.BATCHES): grows(60)}
        ),
    ),
)
