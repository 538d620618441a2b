"""What a loop gives its shadow: the rows of batches that are committed, and nothing to wait for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from workers.enrich.batch import Outcomes
from workers.models.shadow.comparison import Comparison
from workers.models.shadow.counts import CountsState, ShadowEvent, Skip
from workers.models.shadow.offer import Offer
from workers.models.shadow.shadow import Shadow
from workers.stream.clients import Config
from workers.stream.clock import Clock
from workers.stream.journal import ClientLog, Journal

FLUSH_SECONDS = 0.4


def offered(worker: str, outcomes: Outcomes) -> Offer | None:
    """A batch as a shadow takes it; None where no model scored."""
    batch, decoded = outcomes.batch, outcomes.decoded
    if decoded is None:
        return None
    return Offer(
        champion=decoded.version,
        table=decoded.table,
        scores=decoded.scores,
        rows=decoded.rows,
        decided=decoded.decided,
        origin=f"{worker}:{batch.topic}",
        keys=batch.keys,
        partitions=batch.partitions,
        offsets=batch.offsets,
        timestamps=batch.timestamps,
    )


class Shadowing:
    """A worker's shadow as its loop sees it."""

    def __init__(self, worker: str, shadow: Shadow) -> None:
        """Nothing runs before `start`."""
        self._worker = worker
        self.shadow = shadow

    def start(self) -> None:
        """Begin."""
        self.shadow.start()

    def offer(self, outcomes: Outcomes) -> None:
        """These outcomes are committed: the challenger may have its turn. Never raises."""
        try:
            if (found := offered(self._worker, outcomes)) is not None:
                self.shadow.offer(found)
        except Exception:  # noqa: BLE001  a bug of the shadow's must not end its worker
            self.shadow.counts.turned_away[Skip.INTERNAL] += len(outcomes.decided)

    def close(self) -> None:
        """End it, within a second."""
        self.shadow.close()


class ComparisonProducer:
    """Writes comparisons, outside of any transaction. What cannot be sent is counted, no more.

    Used by the shadow's thread alone.
    """

    def __init__(
        self, config: Config, topic: str, counts: CountsState, clock: Clock, journal: Journal
    ) -> None:
        """`config` as `clients.comparison_config` makes it; nothing connects before `publish`."""
        self._config = {**config, "logger": ClientLog(journal, clock), "on_delivery": self._report}
        self._topic = topic
        self._counts = counts
        self._producer: Producer | None = None

    def publish(self, comparisons: Sequence[Comparison]) -> None:
        """Hand them to the client; those for which it has no room are left out."""
        try:
            if self._producer is None:
                make: Callable[..., Producer] = Producer
                self._producer = make(self._config)
            taken = self._hand_over(self._producer, comparisons)
            self._producer.poll(0)
        except KafkaException:
            taken = 0
        self._counts.undelivered += len(comparisons) - taken

    def _hand_over(self, producer: Producer, comparisons: Sequence[Comparison]) -> int:
        produce: Callable[..., None] = producer.produce
        for number, (key, value, stamp) in enumerate(comparisons):
            try:
                # By place, not by name: a third of the call's time. -1: by the key.
                produce(self._topic, value, key, -1, None, None, stamp if stamp > 0 else 0)
            except BufferError:
                return number
        return len(comparisons)

    def close(self) -> None:
        """Send what can be sent within a moment; never closed, for that waits for brokers."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaException):
                self._counts.undelivered += producer.flush(FLUSH_SECONDS)

    def _report(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._counts.undelivered += 1


_LEVELS = {
    ShadowEvent.STARTED: Journal.info,
    ShadowEvent.ENDED: Journal.info,
    ShadowEvent.FAILED: Journal.warn,
}


def noted(journal: Journal) -> Callable[[ShadowEvent, Mapping[str, Any]], None]:
    """What a shadow tells, as log lines."""

    def note(event: ShadowEvent, fields: Mapping[str, Any]) -> None:
        _LEVELS.get(event, Journal.error)(journal, event, **fields)

    return note
