"""Are requests for decisions answered, in time, by the model, and is what was answered logged?"""

from __future__ import annotations

from deploy.observability.alert import Alert, Case, Severity
from deploy.observability.history import HERE, grows, series, stays, then
from deploy.observability.promql import BY, labels, most, rate, select, total, where
from workers.telemetry import gateway as g
from workers.telemetry import names as n
from workers.telemetry.kinds import Metric

BLOCK = (*BY, "block")
_IS = {"block": "enrichment"}
_DOOR = {"door": "gateway"}
_PROXY = {"door": "proxy"}
_ROUTE = "/v1/decisions/{worker}"
_ASKED = where(http_route=_ROUTE)
_UNWANTED = 'cause=~"model_failed|over_budget"'
_OPEN = 'result=~"timeout|unavailable|paused|refused|bug"'
_EVENTS = 'result!="no_event"'


def _count(window: str, match: str) -> str:
    return total(f"rate({select(g.REQUEST_DURATION, match, part='_count')}[{window}])")


def _request(status: str, problem: str = "", part: str = "_count", **more: str) -> str:
    """A series of requests for decisions."""
    return series(
        g.REQUEST_DURATION,
        part,
        **_DOOR,
        http_request_method="POST",
        url_scheme="http",
        http_route=_ROUTE,
        http_response_status_code=status,
        error_type=problem,
        **more,
    )


def _answers(good: float, bad: float, status: str, problem: str) -> dict[str, str]:
    return {_request("200"): grows(good), _request(status, problem): grows(bad)}


def _durations(within: float) -> dict[str, str]:
    """Of a hundred requests a minute, so many in a quarter of a second, all of them in half."""
    return {
        _request("200", part="_bucket", le="0.25"): grows(within),
        _request("200", part="_bucket", le="0.5"): grows(100),
        _request("200", part="_bucket", le="+Inf"): grows(100),
        series(g.DEADLINE, **_DOOR): stays(0.25),
    }


def _fallbacks(cause: str, of_hundred: float) -> dict[str, str]:
    return {
        series(n.FALLBACKS, **_DOOR, **_IS, cause=cause): grows(of_hundred),
        series(n.DECISIONS, **_DOOR, **_IS, decision="late"): grows(100),
    }


def _of_log(metric: Metric, values: str) -> dict[str, str]:
    return {series(metric, worker="gateway", **_DOOR): values}


def _proxied(good: float, result: str, bad: float) -> dict[str, str]:
    return {
        series(g.PROXY_REQUESTS, **_PROXY, result="decided"): grows(good),
        series(g.PROXY_REQUESTS, **_PROXY, result=result): grows(bad),
    }


_BROKEN = f'{_ASKED},http_response_status_code=~"500|503"'
_REFUSED = f'{_ASKED},http_response_status_code=~"401|403"'
_BUCKETS = select(g.REQUEST_DURATION, f'{_ASKED},http_response_status_code="200"', part="_bucket")
_ITSELF = {"namespace": HERE["namespace"], "worker": "gateway"}

ALERTS = (
    Alert(
        name="GatewayErrors",
        severity=Severity.CRITICAL,
        expr=f"{_count('5m', _BROKEN)} / {_count('5m', _ASKED)} > 0.05",
        hold="5m",
        summary="{worker}: {value} of the requests for decisions are answered 500 or 503",
        description="Callers get no decision, not even the fallback. The panel of problems says "
        "which kind it is.",
        shown="humanizePercentage",
        fires=Case("30m", _answers(90, 10, "503", "decision-log-unavailable"), HERE, "10%"),
        quiet=Case("30m", _answers(90, 10, "422", "invalid-event")),
    ),
    Alert(
        name="GatewaySlow",
        severity=Severity.WARNING,
        expr=f"histogram_quantile(0.99, {total(f'rate({_BUCKETS}[10m])', (*BY, 'le'))}) > "
        f"on ({labels(*BY)}) {most(select(g.DEADLINE))}",
        hold="10m",
        summary="{worker}: p99 of decisions is {value}, beyond `gateway.deadline`",
        description="Decisions are made within the deadline, by the fallback if need be; what "
        "comes behind it is the acknowledgement of their log, or an event loop that is too busy.",
        shown="humanizeDuration",
        fires=Case("40m", _durations(90), HERE, "475ms"),
        quiet=Case("40m", _durations(99.5)),
    ),
    Alert(
        name="GatewayDegraded",
        severity=Severity.CRITICAL,
        expr=f"{rate(n.FALLBACKS, '10m', f'{where(**_DOOR)},{_UNWANTED}', BLOCK)} / "
        f"{rate(n.DECISIONS, '10m', where(**_DOOR), BLOCK)} > 0.05",
        hold="10m",
        summary="{worker}: {value} of the answered decisions of {block} are made without the model",
        description="The deadline leaves no time for it, or it fails. Callers get the declared "
        "fallback decision with `degraded`. Rules and a bypass do not count.",
        shown="humanizePercentage",
        fires=Case("40m", _fallbacks("over_budget", 20), {**HERE, **_IS}, "20%"),
        quiet=Case("40m", _fallbacks("bypassed", 100)),
    ),
    Alert(
        name="GatewaySaturated",
        severity=Severity.WARNING,
        expr=most(f"{select(g.QUEUE)} / {select(g.QUEUE_LIMIT)}") + " > 0.8",
        hold="5m",
        summary="{worker}: {value} of the queue of events is taken",
        description="More than `queue.events` are refused with 503 `overloaded`. Scoring does not "
        "keep up with what is asked.",
        shown="humanizePercentage",
        fires=Case(
            "20m",
            {
                series(g.QUEUE, **_DOOR): stays(9000),
                series(g.QUEUE_LIMIT, **_DOOR): stays(10_000),
            },
            HERE,
            "90%",
        ),
        quiet=Case(
            "20m",
            {
                series(g.QUEUE, **_DOOR): stays(5000),
                series(g.QUEUE_LIMIT, **_DOOR): stays(10_000),
            },
        ),
    ),
    Alert(
        name="GatewayStopped",
        severity=Severity.CRITICAL,
        expr=f"{most(select(g.STOPPED))} > 0",
        hold="1m",
        summary="{worker}: a gateway decides nothing for it until somebody acts",
        description="The model failed and `on_model_failure` is `halt`. Every request is answered "
        "503 `stopped` until the process is started again.",
        fires=Case("20m", {series(g.STOPPED, **_DOOR): then("0x5", "1x400")}, HERE),
        quiet=Case("20m", {series(g.STOPPED, **_DOOR): stays(0)}),
    ),
    Alert(
        name="DecisionLogDown",
        severity=Severity.CRITICAL,
        expr=f"{most(select(g.LOG_DOWN))} > 0",
        hold="2m",
        summary="{worker}: the decisions topic cannot be written",
        description="Requests are refused with 503, or, with `on_failure: spill`, decisions go to "
        "disk until it is full.",
        fires=Case("20m", _of_log(g.LOG_DOWN, then("0x5", "1x400")), _ITSELF),
        quiet=Case("20m", _of_log(g.LOG_DOWN, then("0x5", "1x1", "0x400"))),
    ),
    Alert(
        name="SpillWaits",
        severity=Severity.WARNING,
        expr=f"{most(select(g.SPILL))} > 0",
        hold="15m",
        summary="{worker}: {value}B of decisions have been on disk alone for a quarter of an hour",
        description="They are answered, and not in their topic: feedback and audits do not see "
        "them, and a disk that is lost loses them.",
        shown="humanize1024",
        fires=Case("40m", _of_log(g.SPILL, then("0x5", "1048576x400")), _ITSELF, "1Mi"),
        quiet=Case("40m", _of_log(g.SPILL, then("0x5", "1048576x10", "0x400"))),
    ),
    Alert(
        name="SpillFills",
        severity=Severity.CRITICAL,
        expr=most(f"{select(g.SPILL)} / {select(g.SPILL_LIMIT)}") + " > 0.8",
        hold="0m",
        summary="{worker}: {value} of the room for spilled decisions is taken",
        description="When `log.spill_bytes` are taken, requests are refused with 503.",
        shown="humanizePercentage",
        fires=Case(
            "20m",
            {**_of_log(g.SPILL, stays(90)), **_of_log(g.SPILL_LIMIT, stays(100))},
            _ITSELF,
            "90%",
        ),
        quiet=Case("20m", {**_of_log(g.SPILL, stays(70)), **_of_log(g.SPILL_LIMIT, stays(100))}),
    ),
    Alert(
        name="CallersRefused",
        severity=Severity.WARNING,
        expr=f"{_count('15m', _REFUSED)} / {_count('15m', _ASKED)} > 0.2",
        hold="15m",
        summary="{worker}: {value} of the requests for decisions are answered 401 or 403",
        description="A caller's key or token does not count any more, the issuer's keys cannot be "
        "read, or somebody tries.",
        shown="humanizePercentage",
        fires=Case("60m", _answers(60, 40, "401", "unauthenticated"), HERE, "40%"),
        quiet=Case("60m", _answers(60, 40, "429", "rate-limited")),
    ),
    Alert(
        name="ProxyFailsOpen",
        severity=Severity.WARNING,
        expr=f"{rate(g.PROXY_REQUESTS, '15m', _OPEN)} / "
        f"{rate(g.PROXY_REQUESTS, '15m', _EVENTS)} > 0.1",
        hold="15m",
        summary="{worker}: {value} of the proxy's events go on without a decision",
        description="The system is not harmed: its requests pass. The gateway does not answer the "
        "proxy in time, or not at all.",
        shown="humanizePercentage",
        fires=Case("60m", _proxied(60, "timeout", 40), HERE, "40%"),
        quiet=Case("60m", _proxied(60, "rejected", 40)),
    ),
)
