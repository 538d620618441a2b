"""What can go wrong and what becomes of it: one page, from the tables that the code decides by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from workers.errors import CAUSES, ExitCode, Halt, Reject, Retry
from workers.stream.failures import MEANINGS, Meaning

EXITS: Mapping[ExitCode, str] = {
    ExitCode.OK: "it did what it was asked",
    ExitCode.BUG: "an error nobody thought of; nothing was committed that was not acknowledged",
    ExitCode.USAGE: "the command line",
    ExitCode.TOPOLOGY: "topology.yaml; the text has line and field",
    ExitCode.CONTRACT: "a schema is missing, malformed, or does not fit",
    ExitCode.MODEL: "a bundle failed its checks, or its store does not answer",
    ExitCode.BROKER: "no broker answered at the start, or there was no token to show it",
    ExitCode.HALTED: "going on would lose or double a record, or cannot work",
    ExitCode.FENCED: "another process runs under the same transactional id or instance",
    ExitCode.DIFFERS: "`plan` found differences, `check`, `lint` or `doctor` faults, `status` a "
    "process that is not ready; a move of offsets waits for `--yes`",
}
KAFKA: Mapping[Meaning, str] = {
    Meaning.UNWELL: "Retry: nothing is committed; back off with jitter, new producer, rewind",
    Meaning.MOVED: "Retry, at once: the batch is dropped and read again from what is committed",
    Meaning.RECORD: "Reject: smaller batches find the record, which becomes a dead letter",
    Meaning.TOPIC: "the partitions that need the topic stop, with the reason, and are tried again",
    Meaning.FENCED: "Halt, exit code 8",
    Meaning.HALT: "Halt, exit code 7; so does a code that is not in this table",
}
INNER: Mapping[str, str] = {
    "workers.contracts.strict.Malformed": "Reject `malformed`; or Halt where a contract's own "
    "example is read",
    "workers.contracts.resolution.Unresolvable": "Reject `unresolvable`",
    "workers.contracts.jsonform.Misfit": "the gateway's problem `invalid-event`",
    "workers.contracts.jsonform._Fault": "one of a Misfit's faults",
    "workers.deadletters.transforms.NotRepaired": "the replay says so and goes on",
    "workers.gateway.asking.NoDecision": "no failure: the proxy sends the request on without a "
    "decision",
    "workers.gateway.decisionlog.LogDown": "the gateway's problem `decision-log-unavailable`",
    "workers.gateway.events._Twice": "the gateway's problem `not-json`",
    "workers.gateway.http.Gone": "no failure: the client left",
    "workers.gateway.problems.Problem": "what a request is answered: docs/gateway.md",
    "workers.gateway.spill.SpillFull": "the gateway's problem `decision-log-unavailable`",
    "workers.models.shadow.frames.BadFrame": "the challenger's process is ended; counted, and "
    "started again; the stream does not notice",
    "workers.models.shadow.process.ChildFailed": "as above",
    "workers.models.shadow.process.Closing": "no failure: the worker ends",
    "workers.operate.sidecar.quotas.Unasked": "`sidecar check` says that quotas are unknown",
    "workers.stream.loop._Drain": "no failure: the worker ends",
}
"""Our exceptions that are no WorkersError: what each becomes before it leaves its package."""
_FOREIGN = (
    (
        "codec",
        "fastavro, pyruhvro (its panics too), pyarrow",
        "the batch is halved until the record is alone: Reject `malformed`, else "
        "`refused_by_decoder`",
    ),
    ("features, rules", "polars (its panics too)", "as above: Reject `expression` or `rule`"),
    (
        "model",
        "lightgbm, compiled trees",
        "`on_model_failure`: fallback, Reject `model_failed`, or Halt",
    ),
    (
        "loading a model",
        "lightgbm, pydantic, OSError, a dead child process",
        "ModelError: at the start exit code 5, at a switch what serves goes on",
    ),
    (
        "registry",
        "httpx, ssl, JSON, sizes, deadlines",
        "Retry: the partition is held; an id denied twice is Reject `unknown_schema`",
    ),
    (
        "store of models",
        "fsspec and its packages, httpx, OSError",
        "StoreUnwell: what serves goes on; at a start the cache, else exit code 5",
    ),
    ("client", "KafkaException, by the table below", "Reject, Retry or Halt"),
    ("client", "BufferError", "wait for the queue, then the same record again"),
    (
        "anything",
        "any other exception",
        "exit code 1 with its trace; nothing is committed that was not acknowledged",
    ),
    (
        "anything",
        "SIGSEGV, SIGKILL, out of memory, the watchdog",
        "the next life finds the record; alone and twice it is Reject `process_ended`",
    ),
)


def errors_page() -> str:
    """docs/errors.md."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "# What can go wrong, and what becomes of it"
    yield ""
    yield (
        "Written by `workers errors` from the tables that the code decides by. Everything ends in "
        "one of three: **Reject**, this record is a dead letter and its neighbours go on; "
        "**Retry**, nothing was committed, the same again after a while; **Halt**, stop and say "
        "why."
    )
    yield ""
    yield "## Dead letters"
    yield ""
    yield "| verdict | code | what | remedy | may pass by itself |"
    yield "|---|---|---|---|---|"
    for code, cause in CAUSES.items():
        passing = "yes" if cause.passing else ""
        yield f"| {cause.verdict} | `{code}` | {cause.means} | {cause.remedy} | {passing} |"
    yield ""
    yield "## Exit codes"
    yield ""
    yield "| code | why |"
    yield "|---|---|"
    yield from (f"| {code.value} | {EXITS[code]} |" for code in ExitCode)
    yield ""
    yield "## Exceptions of libraries"
    yield ""
    yield "| where | what | becomes |"
    yield "|---|---|---|"
    yield from (f"| {where} | {what} | {becomes} |" for where, what, becomes in _FOREIGN)
    yield ""
    yield "## Exceptions of this package"
    yield ""
    yield "| class | becomes |"
    yield "|---|---|"
    for kind in (Reject, Retry, Halt):
        yield f"| `{kind.__module__}.{kind.__name__}` and what is derived of it | {kind.__name__} |"
    yield from (f"| `{name}` | {becomes} |" for name, becomes in INNER.items())
    yield ""
    yield "## Errors of Kafka and its client"
    yield ""
    for meaning, names in MEANINGS.items():
        yield f"**{KAFKA[meaning]}**"
        yield ""
        yield ", ".join(f"`{name}`" for name in sorted(names.split()))
        yield ""
