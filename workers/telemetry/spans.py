"""Every span that a worker makes, and what is told of a batch to make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from workers.telemetry.traceparent import Context


class SpanName(StrEnum):
    """Every span name: what is done, and the topic behind it."""

    PROCESS = "process"
    POLL = "poll"
    PUBLISH = "publish"
    REJECT = "reject"


SPANS = {
    SpanName.PROCESS: "a batch, from its poll to its acknowledgement or failure; with links to "
    "the spans of the producers, at most 64",
    SpanName.POLL: "waiting for the records of the batch",
    SpanName.PUBLISH: "until the broker has acknowledged all of it",
    SpanName.REJECT: "a rejected record, with a link to its producer's span; at most 32 a batch",
}
"""Each with what it is."""
LINKS = 64
"""Producers' contexts of a batch that its span links to, at most."""
REJECTS = 32
"""Rejected records of a batch that get a span, at most."""


@dataclass(frozen=True, slots=True)
class Timed:
    """When something began and ended: nanoseconds UTC."""

    began: int
    ended: int


@dataclass(frozen=True, slots=True)
class RejectSpan:
    """A rejected record. Never its content, nor the text of its rejection."""

    partition: int
    offset: int
    verdict: str
    code: str
    schema_id: int | None
    context: Context | None


@dataclass(frozen=True, slots=True)
class BatchSpan:
    """A batch. `error` says what it failed with; `published` is None where it was not."""

    topic: str
    group: str
    output: str
    records: int
    whole: Timed
    polled: Timed
    published: Timed | None
    links: Sequence[Context] = ()
    rejects: Sequence[RejectSpan] = ()
    error: str | None = None


class Tracing(Protocol):
    """Takes spans. Never raises, never waits."""

    def wants(self, *, failed: bool) -> bool:
        """Is this batch to be traced? One in which something failed always is."""
        ...

    def batch(self, span: BatchSpan) -> None:
        """Make the spans of a batch."""
        ...


class Exporting(Protocol):
    """Sends what is counted and traced, in threads of its own."""

    tracing: Tracing

    def start(self) -> None:
        """Begin."""
        ...

    def close(self) -> None:
        """Send what is left; within a bound."""
        ...


class Untraced:
    """No traces."""

    def wants(self, *, failed: bool) -> bool:
        """Never."""
        del failed
        return False

    def batch(self, span: BatchSpan) -> None:
        """Nothing."""


class NoExports:
    """Nothing is sent."""

    def __init__(self) -> None:
        """Nor traced."""
        self.tracing: Tracing = Untraced()

    def start(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
