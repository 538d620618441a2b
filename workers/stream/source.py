"""The consumer: batches with everything their commit needs, and the bookkeeping of partitions.

One thread calls it. Callbacks run inside `poll` and `idle`, set state and never raise: a raise
there destroys fetched records and keeps the position advanced. Offsets come from the records, never
from `position()`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from workers.enrich.batch import Batch
from workers.errors import Halt, Retry
from workers.stream.clock import Clock
from workers.stream.commits import Commits
from workers.stream.failures import Moved, translate, translated
from workers.stream.journal import Event, Journal
from workers.stream.lag import LagState
from workers.stream.messages import to_batch
from workers.stream.positions import Positions
from workers.stream.snapshot import Pause, PauseKind
from workers.stream.work import topic_partitions
from workers.topology import Worker

LEAVE = 5.0
"""Seconds that leaving the group may take."""
UNREADABLE = frozenset({KafkaError._BAD_COMPRESSION, KafkaError._BAD_MSG})
"""Errors of a batch that the client fetched and cannot take apart."""
CHUNK = 1000
"""Records asked of the client at once; between two chunks the bytes so far are looked at."""


@dataclass(frozen=True, slots=True)
class Polled:
    """A batch, and the group as it was when the batch was polled."""

    batch: Batch
    epoch: int
    metadata: Any

    @property
    def offsets(self) -> list[TopicPartition]:
        """What to commit once every row is settled."""
        return topic_partitions(self.batch.topic, self.batch.next_offsets())


@dataclass(frozen=True, slots=True)
class _Stop:
    pause: Pause
    again_at: float


class Source:
    """One consumer of the worker's group."""

    def __init__(self, consumer: Consumer, worker: Worker, clock: Clock, journal: Journal) -> None:
        """Takes over the consumer, whose `on_commit` is `commits.answered`.

        `before_revoke`, `turned` (after each poll or idle moment) and `moved` (are we of the
        group still?) are the loop's to set.
        """
        self.before_revoke: Callable[[], None] = lambda: None
        self.turned: Callable[[], None] = lambda: None
        self.moved: Callable[[bool], None] = lambda _: None
        self.lag = LagState()
        self.epoch = 0
        self._consumer = consumer
        self._worker = worker
        self._topic = worker.input.topic
        self._clock = clock
        self._journal = journal
        self._assigned: dict[int, int] = {}
        """Since which epoch each is ours."""
        self._stopped: dict[int, _Stop] = {}
        self._positions = Positions(consumer, worker, journal, self.lag.placed)
        self.commits = Commits(consumer, worker.input.topic, clock, journal)
        self._taken: set[int] = set()
        self._strayed = False
        self._subscribed = False
        self._halt: Halt | None = None

    @property
    def assigned(self) -> frozenset[int]:
        """The partitions this member owns, as far as it knows."""
        return frozenset(self._assigned)

    @property
    def stopped(self) -> dict[int, str]:
        """Partitions that are not read, and why."""
        return {partition: stop.pause.why for partition, stop in self._stopped.items()}

    @property
    def pauses(self) -> dict[int, Pause]:
        """Partitions that are not read, and of what kind that is."""
        return {partition: stop.pause for partition, stop in self._stopped.items()}

    def ends(self) -> dict[int, int]:
        """Where logs end, as far as the client has heard; it asks nobody."""
        found = {}
        for place in self._partitions(self._assigned):
            # What was assigned just now, the client may not know yet.
            with suppress(KafkaException):
                _, end = self._consumer.get_watermark_offsets(place, cached=True)
                if end >= 0:
                    found[place.partition] = end
        return found

    def open(self) -> None:
        """Join the group."""
        with translated(f"subscribing to {self._topic}"):
            self._consumer.subscribe(
                [self._topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
        self._subscribed = True

    def poll(self, limit: int) -> Polled:
        """Records of at most `limit` rows, after `batch.linger` at most.

        A partition taken away meanwhile leaves no row in the batch.

        Raises:
            Retry: the cluster is unwell.
            Halt: see `failures`; or a new group where `first_start` is fail.
        """
        self._taken.clear()
        self.commits.again()
        self._try_stopped_again()
        messages = self._consume(min(limit, self._worker.batch.max_records))
        now = self._clock.now()
        with translated("reading the group's state"):
            metadata = self._consumer.consumer_group_metadata()
            member = self._consumer.memberid()
        batch = self._positions.advance(to_batch(self._topic, now, messages))
        if len(batch) and not member:
            # The session ended and the callback that says so is still to come. Without a member id
            # and a generation the broker fences nothing (ConsumerGroup.validateOffsetCommit).
            raise Moved("the group has let this member go")
        self.lag.handed(batch)
        self.turned()
        return Polled(batch, self.epoch, metadata)

    def _consume(self, limit: int) -> list[KafkaMessage]:
        settings, found = self._worker.batch, list[KafkaMessage]()
        deadline = self._clock.monotonic() + settings.linger
        wait, size = settings.linger, 0
        while True:
            with translated(f"polling {self._topic}"):
                got = self._consumer.consume(min(CHUNK, limit - len(found)), wait)
            if self._halt is not None:
                raise self._halt
            more = bool(got)
            failed = [message for message in got if message.error() is not None]
            if failed:
                got = [message for message in got if message.error() is None]
                failed = [message for message in failed if not self._is_end(message)]
            found.extend(got)
            for message in failed:
                # What was moved just now is read again from there, in the next poll.
                limit = 0
                if not self._unreadable(message, found):
                    self._on_error(message)
            size += sum(map(len, got))
            wait = deadline - self._clock.monotonic()
            if wait <= 0 or len(found) >= limit or size >= settings.max_bytes or not more:
                break
        return self._still_ours(found)

    def _unreadable(self, message: KafkaMessage, found: list[KafkaMessage]) -> bool:
        """Can the client not read what comes next in a partition? Then it stops in front of it.

        The client tries for ever and says so each time: rows before it may be settled first.
        """
        error, partition = message.error(), message.partition()
        if error is None or error.code() not in UNREADABLE or partition not in self._assigned:
            return False
        if not any(row.partition() == partition for row in found):
            self.stop(
                partition,
                f"{self._topic} [{partition}]: the client cannot read the batch at offset "
                f"{message.offset()}: {error.str()}. It is damaged, or larger unpacked than "
                "receive.message.max.bytes (100 MB): raise that in `consumer`, or set the group's "
                "offset behind it (kafka-consumer-groups --reset-offsets)",
            )
        return True

    def _still_ours(self, found: list[KafkaMessage]) -> list[KafkaMessage]:
        """Without rows of partitions taken away in this poll, or stopped."""
        if self._taken:
            found = [message for message in found if message.partition() not in self._taken]
            back = self._taken & self._assigned.keys()
            if back:
                # Taken and given back within one poll: what was dropped must be read again.
                self._to_committed(back)
        if self._stopped:
            found = [message for message in found if message.partition() not in self._stopped]
        return found

    def owns(self, polled: Polled) -> bool:
        """Has nothing been assigned, taken or missed since this batch was polled?"""
        return polled.epoch == self.epoch and not self._strayed

    def idle(self, seconds: float) -> None:
        """Stay in the group without reading: partitions are paused meanwhile."""
        try:
            try:
                self._consumer.pause(self._partitions(self._assigned))
                deadline = self._clock.monotonic() + seconds
                while (wait := deadline - self._clock.monotonic()) > 0:
                    self._serve(min(wait, 0.1))
                    self.turned()
            finally:
                # Also after a failure: a loop that then has nothing to read never idles again.
                self._consumer.resume(
                    self._partitions(self._assigned.keys() - self._stopped.keys())
                )
        except (KafkaException, Retry) as error:
            # A partition may leave between the callback and here, or a question go unanswered. Who
            # idles looks at owns() afterwards, and rewinds.
            self._strayed = True
            self._journal.info(Event.UNWELL, why=str(error))

    def _serve(self, seconds: float) -> None:
        for message in self._consumer.consume(1, seconds):
            if self._is_end(message):
                continue
            if message.error() is None:
                # From a partition assigned just now. Whoever idles looks at owns() and rewinds.
                self._strayed = True
            else:
                self._on_error(message)

    def rewind(self) -> None:
        """Go back to what the broker says is committed, on every partition.

        Never to our own memory: a commit whose answer was lost may have won.

        Raises:
            Retry: the broker did not answer, or a partition cannot be moved now.
        """
        self._strayed = False
        self._to_committed(self._assigned)

    def _to_committed(self, partitions: Collection[int]) -> None:
        """Whatever comes from there on is committed anew: nothing of before is owed."""
        self.commits.forget(partitions)
        self._positions.to_committed(partitions)

    def _is_end(self, message: KafkaMessage) -> bool:
        """Does it only say that a partition has no more for now? Takes note of it then."""
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is None or error.code() != KafkaError._PARTITION_EOF:
            return False
        if partition is not None and offset is not None and partition in self._assigned:
            self.lag.ended(partition, offset)
        return True

    def _on_error(self, message: KafkaMessage) -> None:
        error, partition = message.error(), message.partition()
        if error is None:
            return
        if error.code() == KafkaError._AUTO_OFFSET_RESET and partition is not None:
            # Taken away since, its offset is no longer ours to ask for, nor to begin with.
            if partition in self._assigned:
                self._on_reset(partition, error)
            return
        meant = translate(error, f"reading {self._topic}")
        if isinstance(meant, Halt):
            raise meant
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED and partition in self._assigned:
            # The client says it once and waits: who asks for the partition's state must see it.
            self.stop(partition, str(meant))
            return
        # Lost connections, a moved leader, a topic deleted under us: the client goes on by itself.
        self._journal.warn(Event.UNWELL, why=str(meant))

    def _on_reset(self, partition: int, error: KafkaError) -> None:
        """No usable offset: the group's first start, or retention overtook it."""
        if partition not in self._positions.next:
            self._positions.learn(partition)
        if (why := self._positions.overtaken(partition)) is not None:
            self.stop(partition, why)
        elif not self._positions.again(partition):
            raise Moved(f"the position in {self._topic} [{partition}] is lost: {error.str()}")

    def stop(self, partition: int, why: str) -> None:
        """Stop reading a partition, say why, try again after `stopped_partition_retry`.

        Nothing where it is another member's by now.
        """
        if partition not in self._assigned:
            return
        again = self._clock.monotonic() + self._worker.stopped_partition_retry
        self._stopped[partition] = _Stop(Pause(PauseKind.STOPPED, why), again)
        # Should it have left us this moment, or not obey: rows of a stopped partition are left out.
        with suppress(KafkaException):
            self._consumer.pause(self._partitions([partition]))
        self._journal.error(
            Event.STOPPED,
            topic=self._topic,
            partition=partition,
            why=why,
            again_in_seconds=self._worker.stopped_partition_retry,
        )

    def hold(self, partition: int, offset: int, pause: Pause) -> None:
        """Stop reading a partition until `release`; from `offset` on it is read again then.

        What comes before `offset` is in a batch that goes on. Nothing where the partition is
        another member's by now.
        """
        if partition not in self._assigned:
            return
        with suppress(KafkaException):
            self._consumer.pause(self._partitions([partition]))
        self._journal.info(Event.HELD, topic=self._topic, partition=partition, why=pause.why)
        self._stopped[partition] = _Stop(pause, math.inf)
        self._positions.next[partition] = offset

    def still_held(self, partition: int, pause: Pause) -> bool:
        """Is it held so, and not stopped or given away since? If so, for this reason now."""
        stop = self._stopped.get(partition)
        if stop is None or stop.again_at != math.inf or stop.pause.kind is not pause.kind:
            return False
        self._stopped[partition] = _Stop(pause, math.inf)
        return True

    def release(self, partition: int) -> None:
        """Read a held partition again: from where it was held, or where a rewind put it since.

        Raises:
            Retry: the partition cannot be moved now.
        """
        del self._stopped[partition]
        self._journal.info(Event.RELEASED, topic=self._topic, partition=partition)
        with translated(f"resuming {self._topic} [{partition}]"):
            self._consumer.resume(self._partitions([partition]))
        self._positions.to_next(partition)

    def _try_stopped_again(self) -> None:
        if not self._stopped:
            return
        now = self._clock.monotonic()
        due = [partition for partition, stop in self._stopped.items() if stop.again_at <= now]
        for partition in due:
            self._journal.info(Event.TRIED_AGAIN, partition=partition)
            del self._stopped[partition]
            with translated(f"resuming {self._topic} [{partition}]"):
                self._consumer.resume(self._partitions([partition]))
        self._to_committed(due)

    def commit(self, polled: Polled, *, asynchronous: bool) -> None:
        """At least once: the batch's outcomes are acknowledged, so its offsets may move."""
        ends = polled.batch.next_offsets().items()
        # Not where it left and came back since: another member may have gone further.
        ours = {p for p, since in self._assigned.items() if since <= polled.epoch}
        offsets = {partition: end for partition, end in ends if partition in ours}
        self.commits.send(offsets, asynchronous=asynchronous)

    def finish(self, seconds: float) -> None:
        """At least once: see that what is settled is committed, before the group is left.

        The broker refuses commits while the group changes; a rebalance goes on in `idle`.
        """
        deadline = self._clock.monotonic() + seconds
        while self.commits.owing:
            self.commits.settle()
            if self._clock.monotonic() >= deadline or not self.commits.owing:
                return
            self.idle(0.1)

    def close(self) -> None:
        """Leave the group, if that takes no longer than a moment; the session ends it else.

        With a commit under way the client waits for brokers to come back, for however long.
        """
        if not self._subscribed:
            return
        leaving = threading.Thread(target=self._leave, daemon=True)
        leaving.start()
        leaving.join(LEAVE)
        if leaving.is_alive():
            why = f"no answer in {LEAVE:g} s to leaving the group: it waits for the session to end"
            self._journal.warn(Event.UNWELL, why=why)

    def _leave(self) -> None:
        try:
            self.commits.settle()
            self._consumer.close()
        except KafkaException as error:
            self._journal.warn(Event.UNWELL, why=error.args[0].str())

    def _partitions(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in sorted(partitions)]

    def _on_assign(self, _: Consumer, places: list[TopicPartition]) -> None:
        self.epoch += 1
        numbers = [place.partition for place in places]
        self._assigned.update(dict.fromkeys(numbers, self.epoch))
        self._journal.info(Event.ASSIGNED, partitions=numbers)
        self.moved(True)  # noqa: FBT003  as the reporter has it
        if not places:
            return
        try:
            self._consumer.incremental_assign(self._positions.starts(numbers))
        except Halt as halt:
            self._halt = halt
        except (KafkaException, Retry) as error:
            # The client assigns by itself then, and says where it found no offset.
            self._journal.warn(Event.UNWELL, why=str(error))
        # The client remembers a pause beyond the assignment: what left us paused, because it was
        # held or we idled, would come back to stand still for ever.
        with suppress(KafkaException):
            self._consumer.resume(self._partitions(numbers))

    def _on_revoke(self, _: Consumer, places: list[TopicPartition]) -> None:
        self.before_revoke()
        self.commits.settle()
        self._take(places, Event.REVOKED)

    def _on_lost(self, _: Consumer, places: list[TopicPartition]) -> None:
        self._take(places, Event.LOST)

    def _take(self, places: list[TopicPartition], event: Event) -> None:
        self.epoch += 1
        numbers = [place.partition for place in places]
        for number in numbers:
            self._assigned.pop(number, None)
            self._stopped.pop(number, None)
            self._positions.forget(number)
            self._taken.add(number)
        self.commits.forget(numbers)
        self.lag.forget(numbers)
        self.moved(event is not Event.LOST)
        self._journal.info(event, partitions=numbers)
