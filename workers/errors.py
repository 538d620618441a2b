"""What went wrong, named for what the caller must do next.

WorkersError
├── Reject          this record goes to the dead-letter topic; its neighbours go on
├── Retry           the world is unwell: back off, bounded, then try the same again
└── Halt            stop and say why; nothing is skipped, nothing is committed
    ├── TopologyError     exit 3
    ├── ContractError     exit 4
    ├── ModelError        exit 5
    │   └── StoreUnwell
    ├── BrokerUnreachable exit 6
    ├── ClientHalt        exit 7
    └── Fenced            exit 8
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """The process's answer to its caller; stable, documented in the README."""

    OK = 0
    BUG = 1
    USAGE = 2
    TOPOLOGY = 3
    CONTRACT = 4
    MODEL = 5
    BROKER = 6
    HALTED = 7
    FENCED = 8
    DIFFERS = 9


class Verdict(StrEnum):
    """Why a record was dead-lettered."""

    DECODE = "decode"
    CONTRACT = "contract"
    FEATURE = "feature"
    MODEL = "model"
    OUTPUT = "output"
    CRASH = "crash"
    PARKED = "parked"


class Code(StrEnum):
    """Why exactly: the header `__workers.code` of a dead letter. Closed, and never renamed."""

    PAYLOAD_TOO_LARGE = "payload_too_large"
    HEADERS_UNREADABLE = "headers_unreadable"
    UNFRAMED = "unframed"
    SCHEMA_HEADER = "schema_header"
    TOMBSTONE = "tombstone"
    MALFORMED = "malformed"
    REFUSED_BY_DECODER = "refused_by_decoder"
    UNKNOWN_SCHEMA = "unknown_schema"
    OTHER_SUBJECT = "other_subject"
    UNRESOLVABLE = "unresolvable"
    FEATURE_MISSING = "missing"
    FEATURE_RANGE = "range"
    FEATURE_EXPRESSION = "expression"
    RULE = "rule"
    STALE = "stale"
    MODEL_FAILED = "model_failed"
    SCORE_UNUSABLE = "score_unusable"
    OUTPUT_TOO_LARGE = "output_too_large"
    REFUSED_BY_BROKER = "refused_by_broker"
    PROCESS_ENDED = "process_ended"
    BEHIND = "behind"


@dataclass(frozen=True, slots=True)
class Cause:
    """What a code says: `passing` ones may be gone at the next try, the others never are."""

    verdict: Verdict
    means: str
    remedy: str
    passing: bool = False


CAUSES: Mapping[Code, Cause] = {
    Code.PAYLOAD_TOO_LARGE: Cause(
        Verdict.DECODE,
        "the value is over `limits.max_payload_bytes`",
        "the producer sends less, or the limit is raised",
    ),
    Code.HEADERS_UNREADABLE: Cause(
        Verdict.DECODE,
        "the name of a header is not UTF-8: the client library cannot return the headers",
        "the producer names its headers in UTF-8",
    ),
    Code.UNFRAMED: Cause(
        Verdict.DECODE,
        "neither a schema id before the datum nor one in a header",
        "the producer uses a serialiser with a registry",
    ),
    Code.SCHEMA_HEADER: Cause(
        Verdict.DECODE, "the header with the schema id is malformed or there twice", "the producer"
    ),
    Code.TOMBSTONE: Cause(
        Verdict.DECODE, "no value, and `tombstones: dead_letter`", "none, or `tombstones: forward`"
    ),
    Code.MALFORMED: Cause(
        Verdict.DECODE,
        "the bytes are not what the schema says; the text names field and byte",
        "the producer; a transform may repair what was written",
    ),
    Code.REFUSED_BY_DECODER: Cause(
        Verdict.DECODE, "a decoder refuses bytes that look well", "report it: it is a fault of ours"
    ),
    Code.UNKNOWN_SCHEMA: Cause(
        Verdict.CONTRACT,
        "the schema id is in no contract, and the registry denied it twice",
        "release the version, then replay",
        passing=True,
    ),
    Code.OTHER_SUBJECT: Cause(
        Verdict.CONTRACT,
        "the schema belongs to another subject",
        "the producer writes to another topic, or the contract gets that version",
    ),
    Code.UNRESOLVABLE: Cause(
        Verdict.CONTRACT,
        "the version cannot be read as the one that the model is built for; the text says why",
        "a compatible version, or a model that is built for this one; then replay",
    ),
    Code.FEATURE_MISSING: Cause(
        Verdict.FEATURE,
        "a feature that may not be missing is null",
        "the producer fills it, or the feature gets another rule",
    ),
    Code.FEATURE_RANGE: Cause(
        Verdict.FEATURE,
        "a feature is infinite or outside the range that the bundle declares",
        "the producer, or a bundle with a wider range",
    ),
    Code.FEATURE_EXPRESSION: Cause(
        Verdict.FEATURE,
        "a feature's expression cannot be computed for this record",
        "a bundle whose expression can",
    ),
    Code.RULE: Cause(
        Verdict.FEATURE, "a rule cannot be computed for this record", "a rule that can"
    ),
    Code.STALE: Cause(
        Verdict.FEATURE,
        "the event was over `staleness.limit` old when it was polled, and `policy: dead_letter`",
        "a higher limit, or whatever holds events up before they are read",
    ),
    Code.MODEL_FAILED: Cause(
        Verdict.MODEL,
        "the prediction failed, and `on_model_failure: dead_letter`",
        "roll the model back, then replay",
        passing=True,
    ),
    Code.SCORE_UNUSABLE: Cause(
        Verdict.MODEL,
        "the score is not in the declared range, and `on_model_failure: dead_letter`",
        "roll the model back, then replay",
    ),
    Code.OUTPUT_TOO_LARGE: Cause(
        Verdict.OUTPUT,
        "the enriched event would be over `output.max_message_bytes`",
        "raise the topic's and the worker's limit, then replay",
    ),
    Code.REFUSED_BY_BROKER: Cause(
        Verdict.OUTPUT,
        "the broker refuses the enriched event for good",
        "the topic's settings, then replay",
    ),
    Code.PROCESS_ENDED: Cause(
        Verdict.CRASH,
        "it ended the process twice, alone: killed, crashed, or out of memory or time",
        "probe it in a sandbox, report it",
    ),
    Code.BEHIND: Cause(
        Verdict.PARKED,
        "a record of the same key before it is a dead letter, and `sequence: key`",
        "replay the key's dead letters in their order",
    ),
}


class WorkersError(Exception):
    """Root of every error this package raises on purpose."""


class Reject(WorkersError):
    """This record cannot be enriched: write it to the dead-letter topic, go on with the others.

    The text never holds a payload.
    """

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.verdict = CAUSES[code].verdict


class Retry(WorkersError):
    """A dependency is unwell: nothing was committed; back off and do the same again."""


class Halt(WorkersError):
    """Going on would lose or double a record, or cannot work: stop and say why."""

    exit_code: ClassVar[ExitCode] = ExitCode.HALTED


class TopologyError(Halt):
    """topology.yaml cannot be used; the text lists every fault with line and field."""

    exit_code = ExitCode.TOPOLOGY


class ContractError(Halt):
    """A schema is missing, malformed or outside the limits."""

    exit_code = ExitCode.CONTRACT


class ModelError(Halt):
    """A bundle failed its checks and is not served."""

    exit_code = ExitCode.MODEL


class StoreUnwell(ModelError):
    """The store of models does not answer, or not with an answer: what serves goes on."""


class BrokerUnreachable(Halt):
    """No broker answered within the declared time at start, or there was no token to show it."""

    exit_code = ExitCode.BROKER


class ClientHalt(Halt):
    """The broker or the client library says that trying again cannot help."""


class Fenced(Halt):
    """Another process runs under this worker's transactional id."""

    exit_code = ExitCode.FENCED
