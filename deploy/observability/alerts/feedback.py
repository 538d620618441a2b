"""Is what the model decides still right, as far as outcomes tell?

A loop is a command that ends: by a collector its figures come once a run. So each is looked for as
far back as a weekly loop needs, and labels that change from run to run are left out.
"""

from __future__ import annotations

from deploy.observability.alert import Alert, Case, Severity
from deploy.observability.history import HERE, series, stays, then
from deploy.observability.promql import BY, most, select
from workers.telemetry import loops as n
from workers.telemetry.kinds import Metric

LOOP = (*BY, "loop")
VERSION = (*LOOP, "version")
_IS = {"loop": "flights", "model": "flight-delay"}
_FIRES = {**HERE, "loop": "flights"}
WINDOW = "8d"
NUMBER = 'printf "%.3f"'
_ONCE = then("_x2", "{value:g}", "_x100")


def last(metric: Metric, by: tuple[str, ...] = LOOP, window: str = WINDOW) -> str:
    """What the newest run said."""
    return most(f"last_over_time({select(metric)}[{window}])", by)


def _told(*figures: tuple[Metric, float], **more: str) -> dict[str, str]:
    """Figures that come once, as they do by a collector."""
    return {series(metric, **_IS, **more): _ONCE.format(value=value) for metric, value in figures}


def _runs(every: int, values: str) -> dict[str, str]:
    return {series(n.LAST_RUN, **_IS): values, series(n.RUN_EVERY, **_IS): stays(every)}


ALERTS = (
    Alert(
        name="FeedbackStale",
        severity=Severity.WARNING,
        expr=f"time() - {last(n.LAST_RUN, window='14d')} > "
        f"2 * {last(n.RUN_EVERY, window='14d')} + 3600",
        hold="0m",
        summary="{worker}: feedback loop {loop} has not run to its end for {value}",
        description="More than twice `run_every`: nothing is collected or watched, a canary that "
        "is worse is not taken back, and what retention takes is lost.",
        shown="humanizeDuration",
        fires=Case("50h", _runs(86400, then("0", "_x100")), _FIRES, "2d 2h 0m 0s", "1h"),
        quiet=Case("50h", _runs(86400, then("0x23", "86400x80")), step="1h"),
    ),
    Alert(
        name="QualityDecays",
        severity=Severity.WARNING,
        expr=f"{last(n.RECENT_RELATIVE_LOW)} > 1.15 * {last(n.EARLIER_RELATIVE)}",
        hold="1h",
        summary="{worker}: the newest month's log loss is {value} of what its mean outcome alone "
        "gives, by loop {loop}",
        description="With confidence it is more than 15% above the months before, held to how much "
        "happened in each.",
        shown="humanizePercentage",
        fires=Case(
            "12h",
            _told((n.RECENT_RELATIVE_LOW, 0.6), (n.EARLIER_RELATIVE, 0.5)),
            _FIRES,
            "60%",
            "1h",
        ),
        quiet=Case(
            "12h", _told((n.RECENT_RELATIVE_LOW, 0.56), (n.EARLIER_RELATIVE, 0.5)), step="1h"
        ),
    ),
    Alert(
        name="RankingDecays",
        severity=Severity.WARNING,
        expr=f"{last(n.RECENT_AUC_HIGH)} < {last(n.EARLIER_AUC)} - 0.02",
        hold="1h",
        summary="{worker}: the newest month's AUC is {value} at most, by loop {loop}",
        description="With confidence it is more than 0.02 below that of the months before: scores "
        "tell less of what will happen.",
        shown=NUMBER,
        fires=Case(
            "12h", _told((n.RECENT_AUC_HIGH, 0.85), (n.EARLIER_AUC, 0.9)), _FIRES, "0.850", "1h"
        ),
        quiet=Case("12h", _told((n.RECENT_AUC_HIGH, 0.885), (n.EARLIER_AUC, 0.9)), step="1h"),
    ),
    Alert(
        name="ScoresMislead",
        severity=Severity.WARNING,
        expr=f"{last(n.RECENT_LOG_LOSS_LOW)} > 1.1 * {last(n.ESTIMATED_LOG_LOSS)}",
        hold="1h",
        summary="{worker}: the newest month's log loss is {value} at least, and its scores promise "
        "less, by loop {loop}",
        description="With confidence it is more than 10% above what calibrated scores would have: "
        "what they mean has changed, whatever their spread.",
        shown=NUMBER,
        fires=Case(
            "12h",
            _told((n.RECENT_LOG_LOSS_LOW, 0.3), (n.ESTIMATED_LOG_LOSS, 0.25)),
            _FIRES,
            "0.300",
            "1h",
        ),
        quiet=Case(
            "12h", _told((n.RECENT_LOG_LOSS_LOW, 0.27), (n.ESTIMATED_LOG_LOSS, 0.25)), step="1h"
        ),
    ),
    Alert(
        name="EstimateDecays",
        severity=Severity.WARNING,
        expr=f"{last(n.ESTIMATED_AUC)} < {last(n.EARLIER_ESTIMATED_AUC)} - 0.02 "
        f"and {last(n.RECENT_DECISIONS)} > 1000",
        hold="1h",
        summary="{worker}: AUC is estimated as {value} for the newest month, by loop {loop}",
        description="More than 0.02 below the estimate of the months before, from scores alone: "
        "they are less sure. Outcomes are not waited for.",
        shown=NUMBER,
        fires=Case(
            "12h",
            _told(
                (n.ESTIMATED_AUC, 0.85), (n.EARLIER_ESTIMATED_AUC, 0.9), (n.RECENT_DECISIONS, 5000)
            ),
            _FIRES,
            "0.850",
            "1h",
        ),
        quiet=Case(
            "12h",
            _told(
                (n.ESTIMATED_AUC, 0.85), (n.EARLIER_ESTIMATED_AUC, 0.9), (n.RECENT_DECISIONS, 200)
            ),
            step="1h",
        ),
    ),
    Alert(
        name="OutcomesMissing",
        severity=Severity.WARNING,
        expr=f"{last(n.COVERAGE)} < {last(n.COVERAGE_LEAST)}",
        hold="1h",
        summary="{worker}: the outcome of {value} of the due decisions is known, by loop {loop}",
        description="Less than the topology declares as the least (`coverage`): quality is that of "
        "the others, and training learns from them alone.",
        shown="humanizePercentage",
        fires=Case("12h", _told((n.COVERAGE, 0.3), (n.COVERAGE_LEAST, 0.5)), _FIRES, "30%", "1h"),
        quiet=Case("12h", _told((n.COVERAGE, 0.6), (n.COVERAGE_LEAST, 0.5)), step="1h"),
    ),
    Alert(
        name="DecidedScoresDrift",
        severity=Severity.WARNING,
        expr=f"{last(n.SCORE_DRIFT, VERSION)} > 0.25",
        hold="1h",
        summary="{worker}: scores of version {version} are spread otherwise than at its training "
        "(PSI {value}), by loop {loop}",
        description="Over all decisions of the loop's window, and not of the last hours as "
        "ScoreDrifts has it: it does not pass by itself.",
        shown=NUMBER,
        fires=Case(
            "12h",
            _told((n.SCORE_DRIFT, 0.4), version="2"),
            {**_FIRES, "version": "2"},
            "0.400",
            "1h",
        ),
        quiet=Case("12h", _told((n.SCORE_DRIFT, 0.2), version="2"), step="1h"),
    ),
)
