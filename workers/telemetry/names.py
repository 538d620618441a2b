"""Every metric that a worker has: a closed list. A name that is not here does not exist.

docs/telemetry.md is made of it. `messaging.*` and `process.*` are OpenTelemetry's, of semantic
conventions `SEMCONV`; all others are ours. Names are not changed within a major version.
"""

from __future__ import annotations

from workers.telemetry import attributes as a
from workers.telemetry.kinds import Metric, counter, gauge, histogram

SEMCONV = "1.44.0"
"""Version of OpenTelemetry's semantic conventions that `messaging.*` and `process.*` follow."""

_CALLS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""What the semantic conventions advise for durations of calls, seconds."""
_STAGES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 5, 30)
_LATENCIES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 15, 60, 600)
_AGES = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 604_800.0)
_SIZES = (1, 10, 50, 100, 250, 500, 1000, 2000, 3000, 4000, 6000, 10_000, 25_000, 100_000)
SCORES = tuple(round(step / 20, 2) for step in range(21))
"""Scores are put into 20 even bins of the range that the bundle declares, told as parts of it."""

# What became of records. All are counted when the broker has acknowledged the batch.

RECORDS = counter(
    "workers.records",
    "{record}",
    "Input records by what became of them: each is in one.",
    a.OUTCOME,
)
DEAD_LETTERS = counter(
    "workers.dead_letters", "{record}", "Dead letters by verdict and code.", a.VERDICT, a.CODE
)
DECISIONS = counter("workers.decisions", "{record}", "Published decisions.", a.BLOCK, a.DECISION)
FALLBACKS = counter(
    "workers.fallbacks", "{record}", "Decisions made without the model.", a.BLOCK, a.CAUSE
)
CANARY = counter(
    "workers.canary.decisions",
    "{record}",
    "While there is a canary: decisions by arm.",
    a.BLOCK,
    a.ARM,
)
TRIED_AGAIN = counter(
    "workers.records.tried_again", "{record}", "Records tried again at once (`retries`)."
)
RECORD_LATENCY = histogram(
    "workers.record.latency",
    "s",
    "From a record's timestamp to the broker's acknowledgement of its outcome, lag included.",
    _LATENCIES,
)

# Batches and their time.

BATCHES = counter("workers.batches", "{batch}", "Acknowledged batches.")
BATCH_SIZE = histogram("workers.batch.size", "{record}", "Records of a batch.", _SIZES)
STAGE_DURATION = histogram(
    "workers.batch.stage.duration",
    "s",
    "Seconds of a batch: waiting for records, scoring, until it is acknowledged.",
    _STAGES,
    a.STAGE,
)
STEP_DURATION = histogram(
    "workers.batch.step.duration", "s", "Seconds of a batch within `score`.", _STAGES, a.STEP
)
BREACHES = counter(
    "workers.latency.breaches",
    "{batch}",
    "Batches over the whole latency budget, by the stage that went furthest over its part.",
    a.STAGE,
)
GIVEN_UP = counter(
    "workers.latency.given_up",
    "{batch}",
    "Batches that gave something up to keep to the budget.",
    a.GIVEN_UP,
)

# The group and its partitions. From the snapshot that the loop publishes.

ASSIGNED = gauge("workers.partitions.assigned", "{partition}", "Partitions of this process.")
PAUSED = gauge(
    "workers.partitions.paused", "{partition}", "Partitions that are not read, by reason.", a.PAUSED
)
LAG = gauge(
    "workers.partition.lag",
    "{record}",
    "Records between what is committed and the end.",
    a.PARTITION,
)
TIME_LAG = gauge(
    "workers.partition.time_lag",
    "s",
    "Age of the newest settled record while there are more; 0 where there are none.",
    a.PARTITION,
)
LAG_TREND = gauge(
    "workers.partition.lag.trend",
    "{record}/s",
    "How fast the lag grows; negative: it shrinks.",
    a.PARTITION,
)
REBALANCES = counter(
    "workers.rebalances", "{rebalance}", "Changes of what is assigned to this process.", a.REBALANCE
)
POLL_AGE = gauge("workers.poll.age", "s", "Since the client was last polled.")
POLL_LIMIT = gauge(
    "workers.poll.age.limit", "s", "max.poll.interval: at this age the group takes the partitions."
)
COMMIT_AGE = gauge(
    "workers.commit.age", "s", "Since the last batch was acknowledged, or since the start."
)

# Writing, and what goes wrong with it.

TRANSACTIONS = counter(
    "workers.transactions",
    "{transaction}",
    "Exactly once: transactions by how they ended.",
    a.TRANSACTION,
)
COMMITS_FAILED = counter(
    "workers.commits.failed", "{commit}", "At least once: offset commits that a later one covers."
)
RECOVERIES = counter(
    "workers.recoveries", "{recovery}", "Batches that were given up, to be read again.", a.RECOVERY
)
PRODUCER_QUEUE = gauge(
    "workers.producer.queue", "{record}", "Most records that waited to be sent, in the last batch."
)
LOG_EVENTS = counter(
    "workers.log.events",
    "{event}",
    "Log events: contracts, registry, model, shadow, breaker, crashes, clients.",
    a.EVENT,
)

# The model.

MODEL_INFO = gauge(
    "workers.model.info",
    "{model}",
    "1: this version serves the block.",
    a.BLOCK,
    a.MODEL,
    a.VERSION,
    a.ALIAS,
    a.BACKEND,
)
MODEL_AGE = gauge("workers.model.age", "s", "Since the served version was built.", a.BLOCK)
MODEL_BYPASSED = gauge("workers.model.bypassed", "{model}", "1: decided without it.", a.BLOCK)
SCORE = histogram(
    "workers.score",
    "1",
    "Published scores, as parts of the bundle's score range: 0 its lowest, 1 its highest.",
    SCORES,
    a.BLOCK,
)

# Drift and data quality, over the rolling window of `drift`.

FEATURE_PSI = gauge(
    "workers.drift.feature.psi",
    "{psi}",
    "Population stability index of a feature against the bundle's reference.",
    a.BLOCK,
    a.FEATURE,
)
SCORE_PSI = gauge(
    "workers.drift.score.psi",
    "{psi}",
    "Population stability index of the scores against the bundle's reference.",
    a.BLOCK,
)
MISSING = gauge(
    "workers.drift.missing",
    "1",
    "Part of the rows without a value for the feature.",
    a.BLOCK,
    a.FEATURE,
)
UNSEEN = gauge(
    "workers.drift.unseen",
    "1",
    "Part of the rows with a category that the bundle does not know.",
    a.BLOCK,
    a.FEATURE,
)
DRIFT_ROWS = gauge("workers.drift.rows", "{record}", "Rows of the window.", a.BLOCK)
EVENT_AGE = histogram(
    "workers.event.age", "s", "From an event's time (`staleness.field`) to its poll.", _AGES
)
STALE = counter("workers.events.stale", "{record}", "Events older than `staleness.limit`.", a.STALE)

# The challenger beside the champion.

SHADOW_ROWS = counter(
    "workers.shadow.rows", "{record}", "Rows offered to the shadow.", a.COMPARED, a.WHY
)
SHADOW_DISAGREED = counter(
    "workers.shadow.disagreements", "{record}", "Compared rows with another decision."
)
SHADOW_DIFFERING = counter(
    "workers.shadow.differences", "{record}", "Compared rows that have a score of both."
)
SHADOW_DIFFERENCE = counter(
    "workers.shadow.score_difference", "1", "Sum of the absolute differences of their scores."
)
SHADOW_LARGEST = gauge(
    "workers.shadow.score_difference.max", "{score}", "Largest absolute difference since the start."
)
SHADOW_UNDELIVERED = counter(
    "workers.shadow.undelivered", "{record}", "Comparisons that did not reach their topic."
)
SHADOW_RESTARTS = counter(
    "workers.shadow.restarts", "{restart}", "How often the challenger's process was ended."
)

# OpenTelemetry's own.

OPERATION_DURATION = histogram(
    "messaging.client.operation.duration",
    "s",
    "Duration of a call to the broker, one a batch.",
    _CALLS,
    a.SYSTEM,
    a.OPERATION,
    a.OPERATION_TYPE,
    a.DESTINATION,
    a.GROUP,
    a.ERROR,
)
PROCESS_DURATION = histogram(
    "messaging.process.duration",
    "s",
    "Duration of scoring, one a batch.",
    _CALLS,
    a.SYSTEM,
    a.OPERATION,
    a.DESTINATION,
    a.GROUP,
    a.ERROR,
)
CONSUMED = counter(
    "messaging.client.consumed.messages",
    "{message}",
    "Records handed out by the client; those of a batch that is read again count again.",
    a.SYSTEM,
    a.OPERATION,
    a.DESTINATION,
    a.GROUP,
    a.ERROR,
)
SENT = counter(
    "messaging.client.sent.messages",
    "{message}",
    "Acknowledged records: enriched events, dead letters, decisions, retries.",
    a.SYSTEM,
    a.OPERATION,
    a.DESTINATION,
    a.ERROR,
)

# The process.

BUILD_INFO = gauge("workers.build.info", "{build}", "1.", a.BUILD)
CPU_TIME = counter("process.cpu.time", "s", "Processor seconds of the process.", a.CPU)
MEMORY = gauge("process.memory.usage", "By", "Resident set of the process.")
FILES = gauge("process.unix.file_descriptor.count", "{file_descriptor}", "Open file descriptors.")
UPTIME = gauge("process.uptime", "s", "Since the start of the process.")
EXPORTS = counter(
    "workers.telemetry.exports", "{export}", "Exports to the collector.", a.SIGNAL, a.EXPORT
)
SPANS_DROPPED = counter(
    "workers.telemetry.spans.dropped", "{span}", "Spans for which there was no room."
)
FAULTS = counter(
    "workers.telemetry.faults",
    "{fault}",
    "Times that telemetry failed to count: a bug of ours, of no harm to the stream.",
)

METRICS: tuple[Metric, ...] = tuple(
    sorted(
        (value for value in list(globals().values()) if isinstance(value, Metric)),
        key=lambda metric: metric.name,
    )
)
