"""Every attribute that a metric may have, and the values of those that have a closed list."""

from __future__ import annotations

from workers.errors import Code, Verdict
from workers.telemetry.kinds import Attribute
from workers.telemetry.steps import Step

WORKER = Attribute("worker", "the worker's name in topology.yaml; on every series")

OUTCOME = Attribute(
    "outcome",
    "what became of a record; `parked` are dead letters too, `delayed` went to a retry topic",
    ("enriched", "dead_lettered", "dropped", "delayed", "parked"),
)
VERDICT = Attribute("verdict", "why it is a dead letter", tuple(Verdict))
CODE = Attribute("code", "why exactly: docs/errors.md", tuple(Code))
BLOCK = Attribute("block", "the enrichment block: `enrichment`, or a name of `blocks`")
DECISION = Attribute("decision", "a decision of the block's bundle, or of a rule")
CAUSE = Attribute(
    "cause",
    "why no model decided",
    ("bypassed", "over_budget", "model_failed", "rule", "stale"),
)
ARM = Attribute("arm", "whose word it is", ("champion", "challenger"))
STAGE = Attribute("stage", "part of a batch's time", ("wait", "score", "publish"))
STEP = Attribute("step", "part of `score`; `encode` has rules and splicing too", tuple(Step))
GIVEN_UP = Attribute("given_up", "what went first", ("rows", "reasons", "shadow", "fallback"))
PARTITION = Attribute("partition", "number of the input's partition")
PAUSED = Attribute(
    "reason",
    "why a partition is not read: its schema is looked up; what it writes to is refused; the "
    "breaker is open; a record of a retry topic waits; a key's letters are being replayed; a "
    "person said so",
    ("schema", "stopped", "breaker", "retry", "sequence", "operator"),
)
REBALANCE = Attribute("kind", "what the group did", ("assigned", "revoked", "lost"))
TRANSACTION = Attribute(
    "result",
    "`unclear`: the answer is missing, or may be of another request",
    ("committed", "failed", "fenced", "unclear"),
)
RECOVERY = Attribute(
    "cause",
    "what was unwell: the cluster; partitions moved; the broker refuses a record, or a topic",
    ("unwell", "moved", "record_refused", "topic_refused"),
)
EVENT = Attribute("event", "one of the log events below")
MODEL = Attribute("model", "the model's name")
LOOP = Attribute("loop", "the feedback loop's name")
VERSION = Attribute("version", "the version's name")
ALIAS = Attribute("alias", "what it is served by; empty where it is pinned")
BACKEND = Attribute("backend", "what adds up the trees", ("lightgbm", "compiled"))
FEATURE = Attribute("feature", "a feature of the block's bundle")
STALE = Attribute("policy", "what became of stale events", ("report", "fallback", "dead_letter"))
COMPARED = Attribute(
    "result", "what became of a row offered to the shadow", ("compared", "skipped", "failed")
)
WHY = Attribute(
    "why",
    "why it was skipped or has failed; empty where it was compared",
    (
        "",
        "no_challenger",
        "not_in_share",
        "starting",
        "busy",
        "refused",
        "does_not_fit",
        "gave_up",
        "closed",
        "internal",
        "nan",
        "features",
        "hang",
        "crash",
        "garbage",
    ),
)
SIGNAL = Attribute("signal", "what was sent to the collector", ("metrics", "traces"))
EXPORT = Attribute("result", "`failed`: it is gone", ("sent", "failed"))
BUILD = Attribute("build", "version of this software")

SYSTEM = Attribute("messaging.system", "the broker", ("kafka",))
OPERATION = Attribute("messaging.operation.name", "what was called", ("poll", "publish", "process"))
OPERATION_TYPE = Attribute(
    "messaging.operation.type", "what that is", ("receive", "send", "process")
)
DESTINATION = Attribute("messaging.destination.name", "the topic")
GROUP = Attribute("messaging.consumer.group.name", "the consumer group")
ERROR = Attribute(
    "error.type",
    "what a failed call ended with; empty where it did not fail",
    ("", "unwell", "moved", "record_refused", "topic_refused", "halt"),
)
CPU = Attribute("cpu.mode", "where the time went", ("user", "system"))
