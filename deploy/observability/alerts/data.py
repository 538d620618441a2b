"""Are the events still those that the model was built on?"""

from __future__ import annotations

from deploy.observability.alert import Alert, Case, Severity
from deploy.observability.history import HERE, grows, series, stays, then
from deploy.observability.promql import BY, grew, labels, most, rate, select, where
from workers.telemetry import names as n

BLOCK = (*BY, "block")
FEATURE = (*BLOCK, "feature")
ENOUGH = 1000
"""Rows of a window, below which a distribution says nothing."""
_IS = {"block": "enrichment"}
_OF = {**_IS, "feature": "humidity"}
_ENOUGH = f"and on ({labels(*BLOCK)}) {most(select(n.DRIFT_ROWS), BLOCK)} > {ENOUGH}"


def _mean(what: str) -> str:
    return f"avg by ({labels(*FEATURE)}) ({what})"


def _rows(count: float) -> dict[str, str]:
    return {series(n.DRIFT_ROWS, **_IS): f"{count:g}x480"}


def _event(name: str, values: str) -> dict[str, str]:
    return {series(n.LOG_EVENTS, event=name): values}


def _letters(verdict: str) -> dict[str, str]:
    return {series(n.DEAD_LETTERS, verdict=verdict, code="any"): then("_x9", "1x400")}


_UNUSABLE = 'event=~"contracts.refused|contracts.version_unusable|contracts.content_changed"'
_MISSING = select(n.MISSING)
_YESTERDAY = _mean(f"{_MISSING} offset 1d")

ALERTS = (
    Alert(
        name="FeatureDrifts",
        severity=Severity.WARNING,
        expr=f"{most(select(n.FEATURE_PSI), FEATURE)} > 0.25 {_ENOUGH}",
        hold="30m",
        summary="{worker}: feature {feature} of {block} has moved (PSI {value})",
        description="Over 0.25 against the bundle's reference counts as another population. The "
        "model still decides, on events it was not built for.",
        shown='printf "%.2f"',
        fires=Case(
            "60m",
            {series(n.FEATURE_PSI, **_OF): stays(0.4), **_rows(20000)},
            {**HERE, **_OF},
            "0.40",
        ),
        quiet=Case("60m", {series(n.FEATURE_PSI, **_OF): stays(0.4), **_rows(500)}),
    ),
    Alert(
        name="ScoreDrifts",
        severity=Severity.WARNING,
        expr=f"{most(select(n.SCORE_PSI), BLOCK)} > 0.25 {_ENOUGH}",
        hold="30m",
        summary="{worker}: the scores of {block} have moved (PSI {value})",
        description="Decisions come in other proportions than in the bundle's reference.",
        shown='printf "%.2f"',
        fires=Case(
            "60m", {series(n.SCORE_PSI, **_IS): stays(0.3), **_rows(20000)}, {**HERE, **_IS}, "0.30"
        ),
        quiet=Case("60m", {series(n.SCORE_PSI, **_IS): stays(0.2), **_rows(20000)}),
    ),
    Alert(
        name="FeatureMissing",
        severity=Severity.WARNING,
        expr=f"(({_mean(_MISSING)} - {_YESTERDAY}) > 0.1 or "
        f"({_mean(_MISSING)} > 0.5 unless {_YESTERDAY})) {_ENOUGH}",
        hold="30m",
        summary="{worker}: feature {feature} of {block} is missing more often",
        description="In at least a tenth more of the rows than a day ago, or, where there is no "
        "day before, in more than half.",
        fires=Case(
            "1560m",
            {series(n.MISSING, **_OF): then("0.05x300", "0.4x100"), **_rows(20000)},
            {**HERE, **_OF},
            step="5m",
        ),
        quiet=Case("1560m", {series(n.MISSING, **_OF): "0.45x400", **_rows(20000)}, step="5m"),
    ),
    Alert(
        name="UnseenCategories",
        severity=Severity.WARNING,
        expr=f"{_mean(select(n.UNSEEN))} > 0.05 {_ENOUGH}",
        hold="30m",
        summary="{worker}: {value} of the rows have a {feature} that the model of {block} "
        "does not know",
        description="A new code, or another spelling of an old one. To the model it is a missing "
        "value.",
        shown="humanizePercentage",
        fires=Case(
            "60m", {series(n.UNSEEN, **_OF): stays(0.2), **_rows(20000)}, {**HERE, **_OF}, "20%"
        ),
        quiet=Case("60m", {series(n.UNSEEN, **_OF): stays(0.01), **_rows(20000)}),
    ),
    Alert(
        name="EventsStale",
        severity=Severity.WARNING,
        expr=f"{rate(n.STALE, '15m')} / {rate(n.RECORDS, '15m')} > 0.05",
        hold="15m",
        summary="{worker}: {value} of the events are older than they may be",
        description="Older than `staleness.limit` by their own time when they are read: they come "
        "late, or the worker is behind.",
        shown="humanizePercentage",
        fires=Case(
            "60m",
            {
                series(n.STALE, policy="report"): grows(20),
                series(n.RECORDS, outcome="enriched"): grows(100),
            },
            HERE,
            "20%",
        ),
        quiet=Case(
            "60m",
            {
                series(n.STALE, policy="report"): grows(1),
                series(n.RECORDS, outcome="enriched"): grows(100),
            },
        ),
    ),
    Alert(
        name="ContractsRefused",
        severity=Severity.WARNING,
        expr=f"{grew(n.LOG_EVENTS, '15m', _UNUSABLE)} > 0",
        hold="0m",
        summary="{worker}: a new contract version cannot be used",
        description="What was known goes on. Records of the new version are dead letters until "
        "it, or the model, is put right.",
        fires=Case("20m", _event("contracts.version_unusable", then("_x9", "1x400")), HERE),
        quiet=Case("20m", _event("contracts.taken", then("_x9", "1x400"))),
    ),
    Alert(
        name="CrashRecord",
        severity=Severity.WARNING,
        expr=f"{grew(n.DEAD_LETTERS, '1h', where(verdict='crash'))} > 0",
        hold="0m",
        summary="{worker}: a record that ends its process was put aside",
        description="It is a dead letter with verdict `crash`. It stopped a process twice first.",
        fires=Case("30m", _letters("crash"), HERE),
        quiet=Case("30m", _letters("decode")),
    ),
)
