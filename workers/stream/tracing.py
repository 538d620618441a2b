"""Spans of batches, from their outcomes. Headers are read only of batches that are traced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from workers.enrich.batch import Batch, Outcomes
from workers.stream.clock import Clock
from workers.stream.times import Times
from workers.telemetry.spans import LINKS, REJECTS, BatchSpan, RejectSpan, Timed, Tracing
from workers.telemetry.traceparent import Context, context_of
from workers.topology import Worker

LOOKS = 256
"""Records of a batch whose headers are read for a link, at most."""


class Traces:
    """Tells a tracer of batches."""

    def __init__(self, worker: Worker, tracing: Tracing, clock: Clock) -> None:
        """`tracing` says which batches it wants."""
        self._worker = worker
        self._tracing = tracing
        self._clock = clock

    def settled(self, outcomes: Outcomes, times: Times) -> None:
        """A batch was acknowledged."""
        if self._tracing.wants(failed=bool(outcomes.rejected)):
            self._tracing.batch(self._span(outcomes, times, None))

    def failed(self, outcomes: Outcomes, times: Times, error: str) -> None:
        """A batch was not."""
        if self._tracing.wants(failed=True):
            self._tracing.batch(self._span(outcomes, times, error))

    def _span(self, outcomes: Outcomes, times: Times, error: str | None) -> BatchSpan:
        batch, worker = outcomes.batch, self._worker
        # Spans have the clock's time, stages were taken with one that never goes back.
        ahead = self._clock.now() * 1_000_000 - int(self._clock.monotonic() * 1e9)

        def at(seconds: float) -> int:
            return ahead + int(seconds * 1e9)

        over = self._clock.monotonic() if times.published is None else times.published
        published = Timed(at(times.scored), at(over)) if error is None else None
        return BatchSpan(
            topic=worker.input.topic,
            group=worker.group,
            output=worker.output.topic,
            records=len(batch),
            whole=Timed(at(times.began), at(over)),
            polled=Timed(at(times.began), at(times.polled)),
            published=published,
            links=_links(batch),
            rejects=list(islice(_rejects(outcomes), REJECTS)),
            error=error,
        )


def _links(batch: Batch) -> Sequence[Context]:
    """Producers' contexts: of rows spread over the batch, each context once."""
    step = max(1, -(-len(batch) // LOOKS))
    found = (context_of(batch.headers[row]) for row in range(0, len(batch), step))
    return list(islice(dict.fromkeys(context for context in found if context), LINKS))


def _rejects(outcomes: Outcomes) -> Iterator[RejectSpan]:
    batch = outcomes.batch
    for row, why in sorted(outcomes.rejected.items()):
        yield RejectSpan(
            partition=batch.partitions[row],
            offset=batch.offsets[row],
            verdict=why.reject.verdict.value,
            code=why.reject.code.value,
            schema_id=why.schema_id,
            context=context_of(batch.headers[row]),
        )
