"""Every metric that a feedback loop has: a closed list beside the workers'.

No process answers for them at `/metrics`: a loop is a command that ends. `workers feedback run`
sends them to the collector, `--metrics` writes them as a file. Names are not changed within a major
version.
"""

from __future__ import annotations

from workers.telemetry import attributes as a
from workers.telemetry.kinds import Metric, gauge

_LOOP = (a.LOOP, a.MODEL)
_VERSION = (*_LOOP, a.VERSION)

# Whether it runs.

LAST_RUN = gauge(
    "workers.feedback.last_run",
    "s",
    "Instant of the newest run that ended, since 1970: what was known then is in it.",
    *_LOOP,
)
RUN_EVERY = gauge("workers.feedback.run_every", "s", "How often it is meant to run.", *_LOOP)
AS_OF = gauge(
    "workers.feedback.as_of", "s", "Instant at which what is told here was known.", *_LOOP
)

# Outcomes.

COVERAGE = gauge(
    "workers.feedback.coverage", "{share}", "Share of due outcomes that are known.", *_LOOP
)
COVERAGE_LEAST = gauge(
    "workers.feedback.coverage.least",
    "{share}",
    "What is declared as the least; not told with `absent: negative`.",
    *_LOOP,
)

# Quality of all of the report's decisions, by version.

AUC = gauge("workers.feedback.auc", "{auc}", "AUC of a version's decisions.", *_VERSION)
LOG_LOSS = gauge(
    "workers.feedback.log_loss", "{nat}", "Log loss of a version's decisions.", *_VERSION
)
BRIER = gauge(
    "workers.feedback.brier", "{score}", "Brier score of a version's decisions.", *_VERSION
)
SCORE_DRIFT = gauge(
    "workers.feedback.score_drift",
    "{psi}",
    "Population stability index of a version's scores; of versions that decided in the newest "
    "month.",
    *_VERSION,
)

# Of the newest month of events, and of the months before it.

RECENT_DECISIONS = gauge(
    "workers.feedback.recent.decisions",
    "{record}",
    "Decisions of the newest month with a score.",
    *_LOOP,
)
RECENT_LABELLED = gauge(
    "workers.feedback.recent.labelled", "{record}", "Those whose outcome is known.", *_LOOP
)
RECENT_AUC = gauge("workers.feedback.recent.auc", "{auc}", "AUC of the newest month.", *_LOOP)
RECENT_AUC_HIGH = gauge(
    "workers.feedback.recent.auc.high", "{auc}", "The upper end of its 95 % interval.", *_LOOP
)
RECENT_LOG_LOSS = gauge(
    "workers.feedback.recent.log_loss", "{nat}", "Log loss of the newest month.", *_LOOP
)
RECENT_LOG_LOSS_LOW = gauge(
    "workers.feedback.recent.log_loss.low", "{nat}", "The lower end of its 95 % interval.", *_LOOP
)
RECENT_BRIER = gauge(
    "workers.feedback.recent.brier", "{score}", "Brier score of the newest month.", *_LOOP
)
RECENT_RELATIVE = gauge(
    "workers.feedback.recent.relative_log_loss",
    "{part}",
    "Log loss of the newest month as a part of that of its mean outcome alone (normalised "
    "entropy): 1 is of no use.",
    *_LOOP,
)
RECENT_RELATIVE_LOW = gauge(
    "workers.feedback.recent.relative_log_loss.low",
    "{part}",
    "The lower end of its 95 % interval.",
    *_LOOP,
)
EARLIER_AUC = gauge(
    "workers.feedback.earlier.auc",
    "{auc}",
    "AUC of the months before, each by its labelled rows.",
    *_LOOP,
)
EARLIER_LOG_LOSS = gauge(
    "workers.feedback.earlier.log_loss", "{nat}", "Log loss of the months before.", *_LOOP
)
EARLIER_BRIER = gauge(
    "workers.feedback.earlier.brier", "{score}", "Brier score of the months before.", *_LOOP
)
EARLIER_RELATIVE = gauge(
    "workers.feedback.earlier.relative_log_loss",
    "{part}",
    "The same part of the months before, each by its labelled rows.",
    *_LOOP,
)
ESTIMATED_AUC = gauge(
    "workers.feedback.estimated.auc",
    "{auc}",
    "AUC of the newest month, estimated from its scores alone.",
    *_LOOP,
)
ESTIMATED_LOG_LOSS = gauge(
    "workers.feedback.estimated.log_loss", "{nat}", "Log loss, likewise.", *_LOOP
)
ESTIMATED_BRIER = gauge(
    "workers.feedback.estimated.brier", "{score}", "Brier score, likewise.", *_LOOP
)
EARLIER_ESTIMATED_AUC = gauge(
    "workers.feedback.earlier.estimated_auc",
    "{auc}",
    "Estimated AUC of the months before, each by its scored rows.",
    *_LOOP,
)

METRICS: tuple[Metric, ...] = tuple(
    sorted(
        (value for value in list(globals().values()) if isinstance(value, Metric)),
        key=lambda metric: metric.name,
    )
)
