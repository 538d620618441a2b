"""What a data scientist looks at: what decides, how, and on what kind of events."""

from __future__ import annotations

from typing import Any

from deploy.observability.dashboards.grafana import (
    RED,
    YELLOW,
    Panel,
    Query,
    Row,
    Variable,
    dashboard,
)
from deploy.observability.dashboards.queries import (
    all_per_second,
    buckets,
    in_range,
    mean,
    now,
    per_second,
)
from workers.telemetry import loops
from workers.telemetry import names as n

_BLOCK = 'block=~"$block"'
_COMPARED = 'result="compared"'


def _by_feature(metric: Any) -> list[Query]:
    return [Query(f"max by (block, feature) ({now(metric, _BLOCK)})", "{{block}} {{feature}}")]


def _by_block(metric: Any) -> list[Query]:
    return [Query(f"max by (block) ({now(metric, _BLOCK)})", "{{block}}")]


SERVED = Row(
    "What decides",
    [
        Panel(
            title="Versions that serve",
            says="One a block, but for a minute after a promotion.",
            queries=[
                Query(
                    "count by (worker, block, model, version, alias, backend) "
                    f"({now(n.MODEL_INFO, _BLOCK)})",
                    form="table",
                )
            ],
            kind="table",
            width=12,
            height=6,
            least=None,
        ),
        Panel(
            title="Bypassed",
            says="1: somebody said `workers models bypass`; runbook ModelBypassed.",
            queries=_by_block(n.MODEL_BYPASSED),
            kind="stat",
            width=4,
            height=6,
            limits={RED: 1},
        ),
        Panel(
            title="Age of the model",
            says="Since the bundle was built.",
            queries=_by_block(n.MODEL_AGE),
            kind="stat",
            unit="s",
            width=4,
            height=6,
            limits={YELLOW: 180 * 86400},
        ),
        Panel(
            title="Rows in the window",
            says="Fewer than a thousand say nothing about drift.",
            queries=_by_block(n.DRIFT_ROWS),
            kind="stat",
            width=4,
            height=6,
        ),
    ],
)

DECISIONS = Row(
    "Decisions",
    [
        Panel(
            title="Decisions",
            says="Published ones, a second.",
            queries=[
                Query(
                    per_second(n.DECISIONS, "block", "decision", match=_BLOCK),
                    "{{block}}: {{decision}}",
                )
            ],
            unit="ops",
            width=12,
            stacked=True,
        ),
        Panel(
            title="Decided without the model, by cause",
            says="rule and bypassed are asked for; model_failed and over_budget are not.",
            queries=[
                Query(
                    per_second(n.FALLBACKS, "block", "cause", match=_BLOCK), "{{block}}: {{cause}}"
                )
            ],
            unit="ops",
            width=12,
            stacked=True,
        ),
        Panel(
            title="Scores",
            says="As parts of the bundle's range: 0 its lowest, 1 its highest.",
            queries=[Query(buckets(n.SCORE), "{{le}}", "heatmap")],
            kind="heatmap",
            width=12,
            least=None,
        ),
        Panel(
            title="Mean score",
            says="As part of the bundle's range.",
            queries=[Query(mean(n.SCORE, "block"), "{{block}}")],
            width=6,
            most=1,
        ),
        Panel(
            title="Canary: decisions by arm",
            says="Nothing while there is no canary.",
            queries=[
                Query(per_second(n.CANARY, "block", "arm", match=_BLOCK), "{{block}}: {{arm}}")
            ],
            unit="ops",
            width=6,
            stacked=True,
        ),
    ],
)

DRIFT = Row(
    "Drift against the bundle's reference",
    [
        Panel(
            title="Features: population stability index",
            says="Over 0.1 look, over 0.25 it is another population; runbook FeatureDrifts.",
            queries=_by_feature(n.FEATURE_PSI),
            limits={YELLOW: 0.1, RED: 0.25},
            width=12,
        ),
        Panel(
            title="Scores: population stability index",
            says="What drift comes to; runbook ScoreDrifts.",
            queries=_by_block(n.SCORE_PSI),
            limits={YELLOW: 0.1, RED: 0.25},
            width=12,
        ),
        Panel(
            title="Missing values",
            says="Part of the rows without a value; runbook FeatureMissing.",
            queries=_by_feature(n.MISSING),
            unit="percentunit",
            width=12,
            most=1,
        ),
        Panel(
            title="Unknown categories",
            says="Part of the rows; runbook UnseenCategories.",
            queries=_by_feature(n.UNSEEN),
            unit="percentunit",
            width=12,
            most=1,
        ),
    ],
)

SHADOW = Row(
    "Challenger in the shadow, where there is one",
    [
        Panel(
            title="Rows offered to it",
            says="skipped ones cost nothing; failed ones are its own fault.",
            queries=[Query(per_second(n.SHADOW_ROWS, "result", "why"), "{{result}} {{why}}")],
            unit="ops",
            stacked=True,
        ),
        Panel(
            title="Disagreement",
            says="Part of the compared rows with another decision; runbook ShadowDisagrees.",
            queries=[
                Query(
                    f"{all_per_second(n.SHADOW_DISAGREED)} / "
                    f"{all_per_second(n.SHADOW_ROWS, _COMPARED)}",
                    "disagree",
                )
            ],
            unit="percentunit",
            limits={YELLOW: 0.05, RED: 0.2},
            most=1,
        ),
        Panel(
            title="Mean difference of scores",
            says="Absolute, over rows that both scored.",
            queries=[
                Query(
                    f"{all_per_second(n.SHADOW_DIFFERENCE)} / {all_per_second(n.SHADOW_DIFFERING)}",
                    "mean",
                )
            ],
        ),
        Panel(
            title="Largest difference of scores",
            says="Since its start.",
            queries=[Query(f"max by (worker) ({now(n.SHADOW_LARGEST)})", "{{worker}}")],
        ),
        Panel(
            title="Process ended",
            says="A challenger that hangs or crashes is ended; the stream goes on.",
            queries=[Query(in_range(n.SHADOW_RESTARTS, "worker"), "{{worker}}")],
        ),
        Panel(
            title="Comparisons that did not reach their topic",
            says="They are not waited for.",
            queries=[Query(in_range(n.SHADOW_UNDELIVERED, "worker"), "{{worker}}")],
        ),
    ],
)


def _of_loop(metric: Any, *more: str) -> str:
    """What the newest run said: by a collector it comes once a run."""
    by = ", ".join(("worker", "loop", *more))
    return f"max by ({by}) (last_over_time({now(metric)}[8d]))"


def _compared(measure: str) -> list[Query]:
    """A measure of the newest month, of those before, and as its scores alone promise."""
    kinds = ("recent", "earlier", "estimated")
    metrics = [getattr(loops, f"{kind.upper()}_{measure}") for kind in kinds]
    return [
        Query(_of_loop(metric), f"{{{{loop}}}} {kind}")
        for kind, metric in zip(kinds, metrics, strict=True)
    ]


LIVE = Row(
    "What became of it: the feedback loops, where there are some",
    [
        Panel(
            title="Log loss as a part of the mean outcome's",
            says="Of the newest month and of those before; 1 is of no use. Runbook QualityDecays.",
            queries=[
                Query(_of_loop(loops.RECENT_RELATIVE), "{{loop}} recent"),
                Query(_of_loop(loops.RECENT_RELATIVE_LOW), "{{loop}} recent, at least"),
                Query(_of_loop(loops.EARLIER_RELATIVE), "{{loop}} earlier"),
            ],
        ),
        Panel(
            title="AUC",
            says="Of the newest month, of those before, and as scores alone promise; runbooks "
            "RankingDecays, EstimateDecays.",
            queries=_compared("AUC"),
            least=None,
            most=1,
        ),
        Panel(
            title="Log loss",
            says="Lower is better; it follows how much happens. Where it is above its estimate, "
            "scores mislead: runbook ScoresMislead.",
            queries=_compared("LOG_LOSS"),
        ),
        Panel(title="Brier score", says="Likewise.", queries=_compared("BRIER")),
        Panel(
            title="Coverage of outcomes",
            says="Of due ones; and what is declared as the least. Runbook OutcomesMissing.",
            queries=[
                Query(_of_loop(loops.COVERAGE), "{{loop}}"),
                Query(_of_loop(loops.COVERAGE_LEAST), "{{loop}} least"),
            ],
            unit="percentunit",
            most=1,
        ),
        Panel(
            title="Rows of the newest month",
            says="Few say little: alerts go by the interval's nearer end.",
            queries=[
                Query(_of_loop(loops.RECENT_DECISIONS), "{{loop}} with a score"),
                Query(_of_loop(loops.RECENT_LABELLED), "{{loop}} with an outcome"),
            ],
        ),
        Panel(
            title="By version",
            says="Over the loop's whole window: versions decided other events, unless in a shadow.",
            queries=[
                Query(_of_loop(metric, "version"), f"{{{{loop}}}} {{{{version}}}}: {name}")
                for name, metric in (
                    ("AUC", loops.AUC),
                    ("log loss", loops.LOG_LOSS),
                    ("Brier", loops.BRIER),
                )
            ],
        ),
        Panel(
            title="Scores of the window: population stability index",
            says="Versions that decided in the newest month; runbook DecidedScoresDrift.",
            queries=[Query(_of_loop(loops.SCORE_DRIFT, "version"), "{{loop}} {{version}}")],
            limits={YELLOW: 0.1, RED: 0.25},
        ),
        Panel(
            title="Since the last run",
            says="More than twice what is declared is too long; runbook FeedbackStale.",
            queries=[
                Query(f"time() - {_of_loop(loops.LAST_RUN)}", "{{loop}}"),
                Query(_of_loop(loops.RUN_EVERY), "{{loop}} declared"),
                Query(f"time() - {_of_loop(loops.AS_OF)}", "{{loop}} what is told"),
            ],
            unit="s",
        ),
    ],
)


def board() -> dict[str, Any]:
    """The dashboard."""
    info = n.MODEL_INFO.prometheus
    more = (Variable("block", "Block", f'label_values({info}{{worker=~"$worker"}}, block)'),)
    rows = (SERVED, DECISIONS, DRIFT, SHADOW, LIVE)
    says = "What decides, how, and on what kind of events."
    return dashboard("workers-model", "Workers: model", says, rows, more)
