"""Where the logs of paused partitions end: what is not fetched tells nothing of its end.

Asked in a thread of its own with a client of its own, only while something is paused. Where no
answer comes the last one stays.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    OffsetSpec,
)

from workers.stream.clients import Config

EVERY = 2.0
"""Seconds between two questions."""
ANSWER = 10.0


class Ends:
    """Follows the ends of what is paused. The loop says what that is; a thread asks."""

    def __init__(self, config: Config, topic: str) -> None:
        """Nothing connects while nothing is paused."""
        self._config = config
        self._topic = topic
        self._paused: frozenset[int] = frozenset()
        self._found: Mapping[int, int] = {}
        self._admin: AdminClient | None = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def of(self, paused: frozenset[int]) -> Mapping[int, int]:
        """The ends of these partitions, as far as they are known; they are asked for from now on.

        What is not paused tells of its end by itself: an old answer would be in its way.
        """
        self._paused = paused
        if paused and self._thread is None and not self._closed.is_set():
            self._thread = threading.Thread(target=self._run, name="ends", daemon=True)
            self._thread.start()
        return {partition: end for partition, end in self._found.items() if partition in paused}

    def close(self) -> None:
        """Ask no more; a question under way is left behind."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            if wanted := self._paused:
                self._look(wanted)
            self._closed.wait(EVERY)

    def _look(self, wanted: frozenset[int]) -> None:
        try:
            if self._admin is None:
                self._admin = AdminClient(self._config)
            self._found = self._ask(self._admin, wanted)
        except KafkaException:
            # Nobody waits for it, and the loop says itself when brokers are unwell.
            return

    def _ask(self, admin: AdminClient, wanted: frozenset[int]) -> dict[int, int]:
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        places = [TopicPartition(self._topic, partition) for partition in sorted(wanted)]
        answers = admin.list_offsets(
            dict.fromkeys(places, latest),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=ANSWER,
        )
        return {
            place.partition: int(answer.result(ANSWER).offset) for place, answer in answers.items()
        }
