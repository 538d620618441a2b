"""The client library's consumer and producer, as far as the worker uses them, on a `Cluster`.

Nothing of the worker's own is replaced. Behaviour follows librdkafka where it is known
(kafka-facts, sections 1.4 and 1.6); every call into it is a place where other threads may run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import OFFSET_STORED, KafkaError, KafkaException, TopicPartition

from tests.machine.cluster import Cluster, Metadata, Place
from tests.machine.tasks import pause

TOPIC = "flights"
CHUNK = 3
"""Records of one `consume` at most: a poll takes several, and callbacks come between them."""
HUGE = b"enriched huge"
RESET = KafkaError(KafkaError._AUTO_OFFSET_RESET)
END = KafkaError(KafkaError._PARTITION_EOF)
Records = list[tuple[str, Place]]


def failure(code: int, *, retriable: bool = False, abort: bool = False) -> KafkaException:
    """The client's exception."""
    return KafkaException(KafkaError(code, "scripted", False, retriable, abort))


class Record:
    """A message, or an error in place of one."""

    def __init__(self, place: Place, value: bytes, error: KafkaError | None = None) -> None:
        self._place, self._value, self._error = place, value, error

    def error(self) -> KafkaError | None:
        """The error, if it is one."""
        return self._error

    def topic(self) -> str:
        """Its topic."""
        return self._value.decode()

    def partition(self) -> int:
        """Its partition."""
        return self._place[0]

    def offset(self) -> int:
        """Its offset."""
        return self._place[1]

    def key(self) -> bytes:
        """Its place, so that whatever becomes of it says where it came from."""
        return b"%d:%d" % self._place

    def value(self) -> bytes:
        """Its kind."""
        return self._value

    def headers(self) -> None:
        """None."""

    def timestamp(self) -> tuple[int, int]:
        """A timestamp."""
        return (1, 1)

    def __len__(self) -> int:
        return 1


class SimulatedConsumer:
    """One member of the group. `name` is empty while it is none."""

    def __init__(self, cluster: Cluster, slot: int) -> None:
        self.name = ""
        self.generation = -1
        self._cluster = cluster
        self._slot = slot
        self._events: deque[tuple[str, int]] = deque()
        self._at: dict[int, int | None] = {}
        self._reset: set[int] = set()
        self._paused: set[int] = set()
        self._told: dict[int, int] = {}
        """Ends of logs that were told of."""
        self._sent: list[tuple[dict[int, int], Metadata]] = []
        self.answered: Callable[..., None] = lambda *_: None
        self._callbacks: dict[str, Callable[..., None]] = {}

    def tell(self, what: str, partition: int = -1) -> None:
        """See `Member`."""
        self._events.append((what, partition))

    def expire(self) -> None:
        """The session is over, and the client does not know it yet."""
        self._cluster.leave(self.name)
        self._events = deque(event for event in self._events if event[0] != "revoke")
        self._events.extend([("notice", -1), ("lost", -1)])

    def _fault(self, call: str) -> str:
        found = self._cluster.faults[self._slot, call]
        return found.popleft() if found else ""

    def subscribe(self, _: list[str], *, on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        """Join."""
        self._callbacks = {"assign": on_assign, "revoke": on_revoke, "lost": on_lost}
        self._cluster.join(self)

    def consume(self, limit: int, wait: float) -> list[Record]:
        """Records fetched so far; then at most one callback."""
        pause()
        self._answer_commits()
        fault = self._fault("consume")
        if fault == "raise":
            raise failure(KafkaError._TIMED_OUT)
        if fault == "transport":
            return [Record((-1, -1), b"", KafkaError(KafkaError._TRANSPORT))]
        found = self._fetched(min(limit, CHUNK))
        if self._events:
            self._serve(*self._events.popleft())
        elif not found:
            self._cluster.clock.wait(wait)
        return found

    def _fetched(self, limit: int) -> list[Record]:
        found: list[Record] = []
        for partition in sorted(self._at, key=lambda p: (p + self._cluster.clock.now()) % 7):
            if partition in self._paused and not self._cluster.leaky:
                continue
            start = self._resolved(partition)
            if start is None:
                if partition in self._reset:
                    self._reset.discard(partition)
                    found.append(Record((partition, -1001), b"", RESET))
                continue
            log = self._cluster.log[partition]
            end = min(len(log), start + limit - len(found))
            found += [Record((partition, o), log[o]) for o in range(start, end)]
            self._at[partition] = max(start, end)
            if self._at[partition] == len(log) and self._told.get(partition) != len(log):
                self._told[partition] = len(log)
                found.append(Record((partition, len(log)), b"", END))
        return found

    def _resolved(self, partition: int) -> int | None:
        """Where it is read; the client asks for the committed offset when it needs it."""
        if self._at[partition] is None and not self._cluster.unstable(partition):
            self._at[partition] = self._cluster.committed.get(partition)
        return self._at[partition]

    def _serve(self, what: str, partition: int) -> None:
        if what == "notice":
            self.name, self.generation = "", -1
            return
        call = self._callbacks[what]
        if what == "lost":
            call(self, _places(self._at))
            self._at.clear()
            self._cluster.join(self)
        elif what == "revoke":
            call(self, _places([partition]))
            self._at.pop(partition, None)
            self._cluster.given_away(self, partition)
        else:
            call(self, _places([partition]))
            if partition not in self._at:
                self._begin(partition, OFFSET_STORED)

    def _begin(self, partition: int, offset: int) -> None:
        self._at[partition] = None if offset == OFFSET_STORED else offset
        self._reset.add(partition)

    def consumer_group_metadata(self) -> Metadata:
        """As it is now."""
        pause()
        return self.name, self.generation

    def memberid(self) -> str:
        """Empty once the session is over."""
        return self.name

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """Stable offsets: it waits for transactions that are still open."""
        pause()
        self._answer_commits()
        if self._fault("committed") or any(self._cluster.unstable(p.partition) for p in places):
            self._cluster.clock.wait(timeout)
            raise failure(KafkaError._TIMED_OUT)
        for place in places:
            place.offset = self._cluster.committed.get(place.partition, -1001)
        return places

    def get_watermark_offsets(
        self, place: TopicPartition, timeout: float = -1, *, cached: bool = False
    ) -> tuple[int, int]:
        """The whole log; from memory without a fault."""
        if cached:
            return 0, len(self._cluster.log[place.partition])
        pause()
        if self._fault("bounds"):
            self._cluster.clock.wait(timeout)
            raise failure(KafkaError._TIMED_OUT)
        return 0, len(self._cluster.log[place.partition])

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        """Answered now, or in one of the next polls."""
        given = {place.partition: place.offset for place in offsets}
        if asynchronous:
            self._sent.append((given, (self.name, self.generation)))
            return
        pause()
        self._answer_commits()
        fault = self._fault("commit")
        if fault == "refused":
            raise failure(KafkaError.COORDINATOR_NOT_AVAILABLE)
        if self._cluster.refuses((self.name, self.generation), transactional=False):
            raise failure(KafkaError.ILLEGAL_GENERATION)
        self._cluster.commit(given, self.name)
        if fault == "unanswered":
            raise failure(KafkaError._TIMED_OUT)

    def _answer_commits(self) -> None:
        sent, self._sent = self._sent, []
        for given, metadata in sent:
            fault = self._fault("commit")
            refused = self._cluster.refuses(metadata, transactional=False)
            if not refused and fault != "refused":
                self._cluster.commit(given, metadata[0])
            error = KafkaError(KafkaError.ILLEGAL_GENERATION) if refused or fault else None
            self.answered(error, [TopicPartition(TOPIC, p, o) for p, o in given.items()])

    def seek(self, place: TopicPartition) -> None:
        """Only where fetching has begun (librdkafka #3959)."""
        pause()
        if self._fault("seek") or self._at.get(place.partition) is None:
            raise failure(KafkaError._STATE)
        self._at[place.partition] = place.offset
        self._told.pop(place.partition, None)

    def incremental_assign(self, given: list[TopicPartition]) -> None:
        """Begin."""
        if any(place.partition in self._at for place in given):
            raise failure(KafkaError._CONFLICT)
        for place in given:
            self._begin(place.partition, place.offset)

    def incremental_unassign(self, given: list[TopicPartition]) -> None:
        """End."""
        if any(place.partition not in self._at for place in given):
            raise failure(KafkaError._INVALID_ARG)
        for place in given:
            del self._at[place.partition]
            self._told.pop(place.partition, None)

    def pause(self, given: list[TopicPartition]) -> None:
        """Remembered beyond the assignment, as librdkafka does."""
        self._paused |= {place.partition for place in given}

    def resume(self, given: list[TopicPartition]) -> None:
        """Read on."""
        self._paused -= {place.partition for place in given}

    def close(self) -> None:
        """Give everything away, and leave."""
        pause()
        self._answer_commits()
        if self.name and self.name not in self._cluster.members:
            self._callbacks["lost"](self, _places(self._at))
        elif self._at:
            self._callbacks["revoke"](self, _places(self._at))
        self._answer_commits()
        self._cluster.leave(self.name)


def _places(partitions: Any) -> list[TopicPartition]:
    return [TopicPartition(TOPIC, partition) for partition in partitions]


class SimulatedProducer:
    """Transactional, or not. Its faults come when records reach the broker, and at the end."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._cluster: Cluster = config["simulated.cluster"]
        self._slot: int = config["simulated.slot"]
        self._identity = str(config.get("transactional.id"))
        self._logger = config["logger"]
        self._report = config["on_delivery"]
        self._epoch = 0
        self._records: Records = []
        self._refused: Records = []
        self._won = False

    def __len__(self) -> int:
        return len(self._records)

    def _fault(self, call: str) -> str:
        found = self._cluster.faults[self._slot, call]
        return found.popleft() if found else ""

    def _check(self) -> None:
        if self._cluster.fenced(self._identity, self._epoch):
            raise KafkaException(KafkaError(KafkaError._FENCED, "scripted", True, False, False))

    def init_transactions(self, timeout: float) -> None:
        """Ends what the producer before left open."""
        pause()
        if self._fault("init"):
            self._cluster.clock.wait(timeout)
            raise failure(KafkaError._TIMED_OUT, retriable=True)
        self._epoch = self._cluster.begin(self._identity)

    def begin_transaction(self) -> None:
        """Nothing leaves before there are records."""
        self._records, self._refused, self._won = [], [], False

    def produce(self, topic: str, value: bytes, key: bytes, *_: Any, **__: Any) -> None:
        """Into the queue. An enriched event that is huge the broker will not take."""
        partition, _sep, offset = key.partition(b":")
        record = topic, (int(partition), int(offset))
        self._records.append(record)
        if value == HUGE:
            self._refused.append(record)

    def _sends(self) -> None:
        """The records leave. Reports come before whoever waits is told."""
        fault = self._fault("send")
        if fault == "topic":
            error = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
            self._report(error, Record((0, 0), self._records[-1][0].encode()))
        elif self._refused:
            error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
            self._report(error, Record((0, 0), self._refused[0][0].encode()))
        elif fault == "unwell":
            error = KafkaError(KafkaError._MSG_TIMED_OUT)
            self._report(error, Record((0, 0), self._records[-1][0].encode()))
        else:
            return
        raise failure(KafkaError._INCONSISTENT, abort=True)

    def send_offsets_to_transaction(
        self, offsets: Sequence[TopicPartition], metadata: Metadata, timeout: float
    ) -> None:
        """Refused where the member has moved on."""
        pause()
        self._check()
        if self._fault("offsets"):
            self._cluster.clock.wait(timeout)
            raise failure(KafkaError._TIMED_OUT, retriable=True)
        self._sends()
        if self._cluster.refuses(metadata, transactional=True):
            raise failure(KafkaError.ILLEGAL_GENERATION, abort=True)
        given = {place.partition: place.offset for place in offsets}
        self._cluster.add(self._identity, self._records, given, metadata[0])

    def commit_transaction(self, timeout: float) -> None:
        """`won` and `lost` say what became of a commit whose answer never came."""
        pause()
        if self._won:
            return
        self._check()
        fault = self._fault("end")
        if fault == "lost":
            raise failure(KafkaError.UNKNOWN, abort=True)
        if fault == "slow":
            self._cluster.clock.wait(timeout)
            raise failure(KafkaError._TIMED_OUT, retriable=True)
        self._won = self._cluster.end(self._identity)
        if fault == "twice":
            self._cluster.late.add((self._identity, self._epoch))
            self._logger.log(30, "FAIL [TxnCoordinator]: Disconnected")
        if fault == "won":
            raise failure(KafkaError.UNKNOWN, abort=True)
        if fault == "resumed":
            self._cluster.clock.wait(timeout)
            raise failure(KafkaError._TIMED_OUT, retriable=True)

    def flush(self, timeout: float) -> int:
        """At least once: what is left in the queue, after so long at most."""
        pause()
        if self._fault("end"):
            self._cluster.clock.wait(timeout)
            return len(self._records)
        if not self._records:
            return 0
        arrived = [record for record in self._records if record not in self._refused]
        try:
            self._sends()
        except KafkaException:
            # What is told of is not there; the others may be.
            arrived = arrived if self._refused else arrived[:-1]
        self._cluster.deliver(arrived)
        self._records, self._refused = [], []
        return 0

    def poll(self, _: float) -> int:
        """Reports were made already."""
        return 0

    def purge(self) -> None:
        """Nothing of the queue leaves any more."""
        self._records, self._refused = [], []
