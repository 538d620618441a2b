"""Every attribute that a metric may have, and the values of those that have a closed list."""

from __future__ import annotations

from workers.errors import Code, Verdict
from workers.telemetry.kinds import Attribute
from workers.telemetry.steps import Step

WORKER = Attribute("worker", "the worker's name in topology.yaml; on every series")
DOOR = Attribute("door", "who tells it, where that is not a worker's stream", ("gateway", "proxy"))

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

HTTP_METHOD = Attribute(
    "http.request.method",
    "the method, where it is a common one",
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "_OTHER"),
)
URL_SCHEME = Attribute("url.scheme", "TLS ends before the gateway", ("http",))
HTTP_ROUTE = Attribute(
    "http.route",
    "the path's template; empty: there is no such path",
    (
        "",
        "/v1/decisions/{worker}",
        "/v1/decisions/{id}",
        "/v1/models",
        "/openapi.json",
        "/livez",
        "/readyz",
    ),
)
HTTP_STATUS = Attribute(
    "http.response.status_code",
    "the answer's status; empty: another, or none",
    (
        "", "200", "307", "400", "401", "403", "404", "405", "409", "413", "415", "422", "429",
        "500", "503",
    ),
)  # fmt: skip
PROBLEM = Attribute(
    "error.type",
    "the kind of problem that was answered; empty: none",
    (
        "",
        "not-json",
        "not-avro",
        "bad-header",
        "unauthenticated",
        "forbidden",
        "not-found",
        "method-not-allowed",
        "in-flight",
        "conflict",
        "too-large",
        "unsupported-media-type",
        "invalid-event",
        "rejected",
        "idempotency-key-reused",
        "rate-limited",
        "internal",
        "overloaded",
        "stopped",
        "decision-log-unavailable",
        "idempotency-unavailable",
        "schema-pending",
        "model-failed",
    ),
)
REFUSED = Attribute(
    "reason",
    "one too many; too slow with its request; too long a head",
    ("busy", "slow", "long"),
)
CALLER = Attribute("caller", "the caller's name in `gateway.callers`")
KEYED = Attribute(
    "result",
    "what became of a request with a key; `replayed`: it got the answer that was given before",
    ("answered", "replayed", "reused", "in_flight", "unavailable", "failed"),
)
LOGGED = Attribute(
    "result",
    "the broker has it; the disk has it; it went from disk to the broker",
    ("acknowledged", "spilled", "replayed"),
)
PROXIED = Attribute(
    "result",
    "`decided`, `no_event`, or the cause for which it went on without a decision",
    (
        "decided",
        "no_event",
        "timeout",
        "unavailable",
        "paused",
        "busy",
        "rejected",
        "refused",
        "too_large",
        "slow_body",
        "several",
        "late",
        "bug",
    ),
)
