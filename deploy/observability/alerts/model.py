"""Is it the model that decides, and the right one?"""

from __future__ import annotations

from deploy.observability.alert import Alert, Case, Severity
from deploy.observability.history import HERE, grows, series, stays, then
from deploy.observability.promql import BY, grew, labels, most, rate, select, where
from workers.telemetry import names as n

BLOCK = (*BY, "block")
_IS = {"block": "enrichment"}
_STREAM = where(door="")
"""A gateway's are GatewayDegraded."""
_UNWANTED = f'{_STREAM},cause=~"model_failed|over_budget"'
_COMPARED = 'result="compared"'


def _fallbacks(cause: str, of_hundred: float) -> dict[str, str]:
    return {
        series(n.FALLBACKS, **_IS, cause=cause): grows(of_hundred),
        series(n.DECISIONS, **_IS, decision="late"): grows(100),
    }


def _served(first: str, second: str) -> dict[str, str]:
    known = {**_IS, "model": "flight-delay", "alias": "champion", "backend": "lightgbm"}
    return {
        series(n.MODEL_INFO, **known, version="1"): first,
        series(n.MODEL_INFO, **{**known, "version": "2", "instance": "10.0.0.2:9464"}): second,
    }


def _disagreements(of_hundred: float) -> dict[str, str]:
    return {
        series(n.SHADOW_DISAGREED): grows(of_hundred),
        series(n.SHADOW_ROWS, result="compared", why=""): grows(100),
    }


def _shadow(failed: float) -> dict[str, str]:
    return {
        series(n.SHADOW_ROWS, result="compared", why=""): grows(100 - failed),
        series(n.SHADOW_ROWS, result="failed", why="crash"): grows(failed),
    }


def _event(name: str, values: str) -> dict[str, str]:
    return {series(n.LOG_EVENTS, event=name): values}


_REFUSALS = 'event=~"model.refused|model.does_not_fit"'

ALERTS = (
    Alert(
        name="FallbackShare",
        severity=Severity.CRITICAL,
        expr=f"{rate(n.FALLBACKS, '10m', _UNWANTED, BLOCK)} / "
        f"{rate(n.DECISIONS, '10m', _STREAM, BLOCK)} > 0.05",
        hold="10m",
        summary="{worker}: {value} of the decisions of {block} are made without the model",
        description="The model fails, or the latency budget leaves no time for it. Subscribers "
        "get the declared fallback decision. Rules and a bypass do not count.",
        shown="humanizePercentage",
        fires=Case("40m", _fallbacks("model_failed", 20), {**HERE, **_IS}, "20%"),
        quiet=Case("40m", _fallbacks("bypassed", 100)),
    ),
    Alert(
        name="ModelBypassed",
        severity=Severity.WARNING,
        expr=f"{most(select(n.MODEL_BYPASSED), BLOCK)} > 0",
        hold="15m",
        summary="{worker}: {block} is decided without a model, because somebody said so",
        description="`workers models bypass` is in force: every event gets the fallback decision. "
        "`workers models list` says who and why; `resume` ends it.",
        fires=Case("40m", {series(n.MODEL_BYPASSED, **_IS): stays(1)}, {**HERE, **_IS}),
        quiet=Case("40m", {series(n.MODEL_BYPASSED, **_IS): then("1x5", "0x400")}),
    ),
    Alert(
        name="ModelRefused",
        severity=Severity.WARNING,
        expr=f"{grew(n.LOG_EVENTS, '15m', _REFUSALS)} > 0",
        hold="0m",
        summary="{worker}: a model version was refused",
        description="It failed its checks or does not fit the contracts. The version before goes "
        "on; the log event says what failed.",
        fires=Case("20m", _event("model.refused", then("_x9", "1x400")), HERE),
        quiet=Case("60m", _event("model.refused", then("_x9", "1x400"))),
    ),
    Alert(
        name="ModelStoreUnwell",
        severity=Severity.WARNING,
        expr=f"{grew(n.LOG_EVENTS, '15m', where(event='model.store_unwell'))} > 0",
        hold="0m",
        summary="{worker}: the model store does not answer",
        description="What serves goes on. A promotion, rollback or bypass does not arrive, and a "
        "worker that starts needs `models.cache`.",
        fires=Case("20m", _event("model.store_unwell", then("0x9", "1x400")), HERE),
        quiet=Case("60m", _event("model.store_unwell", then("0x9", "1x400"))),
    ),
    Alert(
        name="ModelVersionsDiffer",
        severity=Severity.WARNING,
        expr=f"count by ({labels(*BLOCK)}) (count by ({labels(*BLOCK, 'version')}) "
        f"({select(n.MODEL_INFO)})) > 1",
        hold="15m",
        summary="{worker}: processes serve {value} versions of the model of {block}",
        description="After a promotion all take the new version within a minute. One that does not "
        "has refused it or cannot see the store.",
        fires=Case("40m", _served(stays(1), stays(1)), {**HERE, **_IS}, "2"),
        quiet=Case("40m", _served(then("1x10", "_x400"), then("_x5", "1x400"))),
    ),
    Alert(
        name="ModelOld",
        severity=Severity.INFO,
        expr=f"{most(select(n.MODEL_AGE), BLOCK)} > 180 * 86400",
        hold="1h",
        summary="{worker}: the model of {block} was built {value} ago",
        description="Nothing has failed. Look at its drift and at its outcomes.",
        shown="humanizeDuration",
        fires=Case(
            "120m",
            {series(n.MODEL_AGE, **_IS): stays(200 * 86400)},
            {**HERE, **_IS},
            "200d 0h 0m 0s",
        ),
        quiet=Case("120m", {series(n.MODEL_AGE, **_IS): stays(170 * 86400)}),
    ),
    Alert(
        name="ShadowDisagrees",
        severity=Severity.WARNING,
        expr=f"{rate(n.SHADOW_DISAGREED, '1h')} / {rate(n.SHADOW_ROWS, '1h', _COMPARED)} > 0.2",
        hold="1h",
        summary="{worker}: challenger and champion disagree on {value} of the records",
        description="Nothing of the challenger is published. Look before it is promoted.",
        shown="humanizePercentage",
        fires=Case("180m", _disagreements(40), HERE, "40%"),
        quiet=Case("180m", _disagreements(10)),
    ),
    Alert(
        name="ShadowFails",
        severity=Severity.WARNING,
        expr=f"{rate(n.SHADOW_ROWS, '30m', where(result='failed'))} / "
        f"{rate(n.SHADOW_ROWS, '30m')} > 0.05",
        hold="30m",
        summary="{worker}: the challenger fails on {value} of the records",
        description="The stream is unharmed: the challenger is a process of its own.",
        shown="humanizePercentage",
        fires=Case("120m", _shadow(20), HERE, "20%"),
        quiet=Case("120m", _shadow(1)),
    ),
)
