"""What a refusal was about: a record, or a topic that partitions need."""

from __future__ import annotations

from workers.enrich.batch import Outcomes
from workers.errors import Code, Reject, Retry
from workers.stream.caution import CautionState
from workers.stream.failures import Refused, TopicRefused
from workers.stream.journal import Event, Journal
from workers.stream.outgoing import Outgoing
from workers.stream.source import Source
from workers.topology import Worker


class Blame:
    """Finds the record that is refused, or stops the partitions that need a refused topic."""

    def __init__(
        self,
        worker: Worker,
        source: Source,
        outgoing: Outgoing,
        caution: CautionState,
        journal: Journal,
    ) -> None:
        """`caution` says from now on how large batches may be."""
        self._worker = worker
        self._source = source
        self._outgoing = outgoing
        self._caution = caution
        self._journal = journal

    def __call__(self, unwell: Retry, outcomes: Outcomes) -> None:
        """The publish of these outcomes failed so. Other failures are nobody's."""
        if isinstance(unwell, TopicRefused):
            for partition in self._needing(unwell.topic, outcomes):
                self._source.stop(partition, str(unwell))
        elif isinstance(unwell, Refused):
            self._narrow(unwell, outcomes)

    def _narrow(self, unwell: Refused, outcomes: Outcomes) -> None:
        batch = outcomes.batch
        if len(batch) > 1:
            self._journal.warn(Event.NARROWED, records=len(batch), why=str(unwell))
        elif outcomes.rejected:
            why = f"the dead letter of offset {batch.offsets[0]} is refused: {unwell}"
            self._source.stop(batch.partitions[0], why)
            self._caution.end()
            return
        else:
            reject = Reject(Code.REFUSED_BY_BROKER, str(unwell))
            self._caution.refused[batch.partitions[0], batch.offsets[0]] = reject
        self._caution.narrow(batch)

    def _needing(self, topic: str, outcomes: Outcomes) -> set[int]:
        """Our partitions with a row that goes to `topic`; all of the batch's if it is unknown."""
        rows: set[int] = set(range(len(outcomes.batch)))
        if topic == self._worker.dead_letter.topic:
            rows = set(outcomes.rejected)
        elif (later := self._worker.retry_topic) is not None and topic == later.topic:
            rows = set(self._outgoing.later(outcomes))
        elif topic == self._worker.output.topic:
            rows = set(outcomes.enriched)
        return {outcomes.batch.partitions[row] for row in rows} & self._source.assigned
