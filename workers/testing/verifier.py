"""An independent judge of what a worker delivered, whatever happened to it meanwhile.

It knows what was sent, by a number in the header `place`; it reads as a downstream team does,
while the faults go on and once more at the end; and it asks the cluster what the worker left
behind. It uses nothing of the worker's own counting.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from workers.testing.records import OutRecord, Reader
from workers.topology import Delivery, Worker

PLACE = "place"
"""Header with the number of a record; one below zero is not looked at."""
SHOWN = 5
ASK = 20.0


@dataclass(frozen=True, slots=True)
class Expected:
    """What was written: `count` records, numbered from 0; those in `pills` cannot be enriched."""

    count: int
    pills: Collection[int] = ()


class Verifier:
    """Reads a worker's output and dead letters from the beginning, in a thread, committed only."""

    def __init__(self, servers: str, worker: Worker) -> None:
        """`servers`: a way to the cluster that the faults leave alone."""
        self._servers = servers
        self._worker = worker
        self._topics = (worker.output.topic, worker.dead_letter.topic)
        self._reader = Reader(servers, *self._topics)
        self._seen = Counter[int]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def seen(self) -> int:
        """How many different records came out so far."""
        return len(self._seen)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._seen.update(map(_place, self._reader.read(0.1)))

    def until(self, count: int, seconds: float) -> bool:
        """Wait until so many different records came out, or none came for `seconds`; did they?"""
        before, deadline = -1, 0.0
        while (seen := len(self._seen)) < count:
            if seen > before:
                before, deadline = seen, time.monotonic() + seconds
            elif time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def faults(self, sent: Expected, *, doubled: int = 0) -> list[str]:
        """What of the promises did not hold, in words; nothing is what it should be.

        To be called when the worker has ended. At least once, `doubled` may come twice.
        """
        self.until(sent.count, 5)
        time.sleep(0.3)
        self.close()
        seen = [record for record in self._reader.records if _place(record) >= 0]
        exact = self._worker.delivery is Delivery.EXACTLY_ONCE
        return [
            *_counted(seen, sent, 0 if exact else doubled),
            *_misplaced(seen, sent, self._worker.dead_letter.topic),
            *_disordered(seen, self._worker.output.topic),
            *self._later(),
            *self.uncommitted(),
            *self._open_transactions(),
        ]

    def _later(self) -> list[str]:
        """Does a reader that comes at the end see what the one saw that was there all the time?"""
        then, now = _by_partition(self._reader.records), dict[tuple[str, int], list[int]]()
        with Reader(self._servers, *self._topics) as late:
            deadline = time.monotonic() + ASK
            while len(late.records) < len(self._reader.records) and time.monotonic() < deadline:
                late.read(0.2)
            now = _by_partition(late.records)
        return [
            f"{topic} [{partition}]: a late reader sees other records than the one that watched"
            for topic, partition in sorted({*then, *now})
            if then.get((topic, partition)) != now.get((topic, partition))
        ]

    def uncommitted(self) -> list[str]:
        """Partitions whose committed offset is not their end."""
        topic = self._worker.input.topic
        # It asks for stable offsets: with a transaction still open over them there is no answer.
        asking = Consumer(
            {"bootstrap.servers": self._servers, "group.id": self._worker.group, "log_level": 0}
        )
        try:
            places = [
                TopicPartition(topic, number)
                for number in asking.list_topics(topic, timeout=ASK).topics[topic].partitions
            ]
            committed = {p.partition: p.offset for p in asking.committed(places, timeout=ASK)}
            ends = {p.partition: asking.get_watermark_offsets(p, timeout=ASK) for p in places}
        except KafkaException as error:
            return [f"the group's offsets cannot be read: {error.args[0].str()}"]
        finally:
            asking.close()
        return [
            f"{topic} [{number}]: committed is {committed[number]}, the end is {high}"
            for number, (low, high) in ends.items()
            if committed[number] != high and not (low == high and committed[number] < 0)
        ]

    def stands(self) -> str:
        """Where the group stands, in words: its coordinator, its members, what is not committed."""
        admin = AdminClient({"bootstrap.servers": self._servers, "log_level": 0})
        group = self._worker.group
        try:
            found = admin.describe_consumer_groups([group], request_timeout=ASK)[group].result()
        except KafkaException as error:
            return f"the group cannot be described: {error.args[0].str()}"
        members = ", ".join(
            f"{member.client_id} ({member.group_instance_id}): "
            f"{[p.partition for p in member.assignment.topic_partitions]}"
            for member in found.members
        )
        left = "; ".join(self.uncommitted()) or "all is committed"
        coordinator = None if found.coordinator is None else found.coordinator.id
        return f"group {found.state.name} on {coordinator}, members: {members or 'none'}; {left}"

    def _open_transactions(self) -> list[str]:
        """Partitions that committed readers cannot read to the end."""
        admin = AdminClient({"bootstrap.servers": self._servers, "log_level": 0})
        known = admin.list_topics(timeout=ASK).topics
        latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        wanted = {
            TopicPartition(topic, number): latest
            for topic in self._topics
            for number in known[topic].partitions
        }
        stable = _ends(admin, wanted, IsolationLevel.READ_COMMITTED)
        ends = _ends(admin, wanted, IsolationLevel.READ_UNCOMMITTED)
        return [
            f"{topic} [{number}]: a transaction is open, {stable[topic, number]} of {end}"
            for (topic, number), end in ends.items()
            if stable[topic, number] != end
        ]

    def close(self) -> None:
        """No more reading."""
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
            self._reader.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()


def _place(record: OutRecord) -> int:
    return int(record.header(PLACE) or -1)


def _counted(seen: Sequence[OutRecord], sent: Expected, doubled: int) -> list[str]:
    """Lost, doubled, and never sent."""
    places = Counter(map(_place, seen))
    wanted = set(range(sent.count))
    twice = sorted(place for place, times in places.items() if times > 1)
    found = {
        "lost": sorted(wanted - places.keys()),
        "never sent": sorted(places.keys() - wanted),
        "more than once": twice if places.total() - len(places) > doubled else [],
    }
    return [f"{len(p)} records {what}: {_some(p)}" for what, p in found.items() if p]


def _misplaced(seen: Iterable[OutRecord], sent: Expected, dead_letters: str) -> list[str]:
    """Dead letters that could be enriched, and the other way round."""
    pills = set(sent.pills)
    wrong = sorted({_place(r) for r in seen if (r.topic == dead_letters) != (_place(r) in pills)})
    return [f"{len(wrong)} records in the wrong topic: {_some(wrong)}"] if wrong else []


def _disordered(seen: Iterable[OutRecord], output: str) -> list[str]:
    """Keys whose records, each where it came first, are not in the order they were sent in."""
    order: dict[bytes | None, list[int]] = defaultdict(list)
    known: set[int] = set()
    for record in seen:
        place = _place(record)
        if record.topic == output and place not in known:
            known.add(place)
            order[record.key].append(place)
    wrong = [f"{key!r}" for key, places in order.items() if places != sorted(places)]
    return [f"{len(wrong)} keys out of order: {_some(wrong)}"] if wrong else []


def _by_partition(records: Iterable[OutRecord]) -> dict[tuple[str, int], list[int]]:
    """The offsets read, by partition, in the order read."""
    found: dict[tuple[str, int], list[int]] = defaultdict(list)
    for record in records:
        found[record.topic, record.partition].append(record.offset)
    return dict(found)


def _ends(
    admin: AdminClient, wanted: dict[TopicPartition, OffsetSpec], isolation: IsolationLevel
) -> dict[tuple[str, int], int]:
    asked = admin.list_offsets(wanted, isolation_level=isolation, request_timeout=ASK)
    return {(p.topic, p.partition): answer.result(ASK).offset for p, answer in asked.items()}


def _some(found: Sequence[Any]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(map(str, found[:SHOWN])) + more
