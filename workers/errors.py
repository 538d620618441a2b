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


class WorkersError(Exception):
    """Root of every error this package raises on purpose."""


class Reject(WorkersError):
    """This record cannot be enriched: write it to the dead-letter topic, go on with the others.

    `code` is stable and of low cardinality; the text never holds a payload.
    """

    def __init__(self, verdict: Verdict, code: str, text: str) -> None:
        super().__init__(text)
        self.verdict = verdict
        self.code = code


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
    """No broker answered within the declared time at start."""

    exit_code = ExitCode.BROKER


class ClientHalt(Halt):
    """The broker or the client library says that trying again cannot help."""


class Fenced(Halt):
    """Another process runs under this worker's transactional id."""

    exit_code = ExitCode.FENCED
