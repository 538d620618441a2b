"""At least once: offsets whose outcomes the broker holds, until it holds the offsets too."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaError, TopicPartition

from workers.stream.journal import Event, Journal


class SettledState:
    """What is to be committed and not known to be, by partition.

    A commit that is on its way when the group begins to change is refused; it must not be forgotten
    when the partition goes or the process ends, or its records come twice for no reason.
    """

    def __init__(self, journal: Journal) -> None:
        self._owed: dict[int, int] = {}
        self._journal = journal

    def owe(self, places: Iterable[TopicPartition]) -> None:
        """These may be committed."""
        self._owed.update((place.partition, place.offset) for place in places)

    def owed(self, partitions: Iterable[int]) -> dict[int, int]:
        """Of these partitions: the next offsets that may still have to be committed."""
        return {p: self._owed[p] for p in partitions if p in self._owed}

    def forget(self, partition: int) -> None:
        """It is another member's now."""
        self._owed.pop(partition, None)

    def committed(self, error: KafkaError | None, places: Iterable[TopicPartition]) -> None:
        """The client's `on_commit`: how a commit went. Never raises."""
        if error is not None:
            self._journal.warn(Event.COMMIT_FAILED, why=error.str())
            return
        for place in places:
            if place.error is None and self._owed.get(place.partition) == place.offset:
                del self._owed[place.partition]
