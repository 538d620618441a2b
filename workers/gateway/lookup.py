"""The newest decisions of each worker by id: those of its stream and of every gateway."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from workers.gateway.replay import IdsOf
from workers.gateway.tail import Read, Tail, newest
from workers.stream.clients import Config


class Lookup:
    """Follows the decisions topics. Any thread may ask."""

    def __init__(self, count: int, consumer: Config, ids_of: Mapping[str, IdsOf]) -> None:
        """Holds `count` decisions of each topic of `ids_of`."""
        self._count = count
        self._ids_of = ids_of
        self._held: dict[str, OrderedDict[str, bytes]] = {topic: OrderedDict() for topic in ids_of}
        self._lock = threading.Lock()
        self.fault: str | None = None
        self._tail = Tail(consumer, list(ids_of), newest(count), self._take, self._unwell)

    def start(self) -> None:
        """Begin."""
        if self._count:
            self._tail.start()

    def close(self) -> None:
        """End."""
        self._tail.close()

    def find(self, topic: str, decision_id: str) -> bytes | None:
        """The decision's record; None where it is none of the newest."""
        with self._lock:
            return self._held[topic].get(decision_id)

    def add(self, topic: str, ids: Sequence[str], records: Sequence[bytes]) -> None:
        """Decisions that were just made."""
        if not self._count:
            return
        held = self._held[topic]
        with self._lock:
            for name, record in zip(ids, records, strict=True):
                held[name] = record
            while len(held) > self._count:
                held.popitem(last=False)

    def _take(self, found: list[Read]) -> None:
        for topic, ids_of in self._ids_of.items():
            records = [read.value for read in found if read.topic == topic and read.value]
            # Older ones would be pushed out at once.
            records = records[-self._count :]
            if records:
                self.add(topic, ids_of(records), records)

    def _unwell(self, why: str | None) -> None:
        self.fault = why
