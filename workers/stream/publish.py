"""The only place that produces. Two publishers, one for each guarantee.

Exactly once, as `kafka-facts` has it: the transaction is opened when everything is scored, and is
never aborted. After any failure the producer is dropped and a new one with the same transactional
id is initialised, which ends the open transaction and fences every request of the old one that may
still be on its way. Without an EndTxn(abort) there is none that could arrive late and abort a later
transaction (Jepsen, bufstream-0.1.0; librdkafka speaks the old protocol, #5423).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from workers.errors import ClientHalt, Fenced, Retry, WorkersError
from workers.stream.clients import Config
from workers.stream.clock import Clock
from workers.stream.failures import Moved, TopicRefused, translate, translated
from workers.stream.journal import ClientLog, Event, Journal
from workers.stream.work import Work

SLICE = 5.0
"""Seconds a call into the client may take before we look whether anyone still waits for it."""
SOCKET_TIMEOUT = 60.0
"""librdkafka's `socket.timeout.ms`: a commit as slow as this has sent EndTxn twice."""
Failpoint = Callable[[str], None]
"""Called with the name of a place in the path; tests end the process there."""


def nowhere(_: str) -> None:
    """No failpoint."""


class Publisher(Protocol):
    """Writes a batch so that either all of it counts or none of it is committed.

    Called from one thread at a time. After any exception `renew` comes before the next `publish`.
    """

    @property
    def queued(self) -> int:
        """Most records that waited in the client, in the last publish. From any thread."""
        ...

    def renew(self) -> None:
        """Drop the producer; connect a new one that nothing of the old one can disturb.

        Raises:
            Retry: the cluster is unwell.
            Halt: identity, authorization or configuration.
        """
        ...

    def publish(self, work: Work) -> None:
        """Return when the broker holds every record of the batch (and, exactly once, its offsets).

        Raises:
            Retry: and its kinds; nothing of the batch is committed, or that is not known.
            Halt: trying again cannot help.
        """
        ...


class _Producing:
    """What both publishers do: own a producer, fill it, explain its failures."""

    def __init__(
        self, config: Config, clock: Clock, journal: Journal, at: Failpoint = nowhere
    ) -> None:
        """`config` as `clients.producer_config` makes it; nothing connects before `renew`."""
        self._config = config
        self._clock = clock
        self._journal = journal
        self._at = at
        self._log = ClientLog(journal, clock)
        self._producer: Producer | None = None
        self._undelivered: list[tuple[KafkaError, str]] = []
        self.queued = 0

    def _connect(self) -> Producer:
        # Never close(): it waits for ever while brokers are down. Dropping the reference does not.
        self._producer = None
        self._log = ClientLog(self._journal, self._clock)
        # Its own list: a producer left behind may still report.
        self._undelivered = undelivered = list[tuple[KafkaError, str]]()

        def failed(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                undelivered.append((error, message.topic() or ""))

        with translated("making a producer"):
            return Producer({**self._config, "logger": self._log, "on_delivery": failed})

    def _open(self) -> Producer:
        if self._producer is None:
            raise ClientHalt("publish() without renew(): a bug in the loop")
        return self._producer

    def _taken(self, work: Work) -> tuple[Producer, list[tuple[KafkaError, str]]]:
        """The producer of this publish, and where it reports what failed."""
        producer, failed = self._open(), self._undelivered
        # Looked at afterwards: left behind before it began, a publish must not touch the producer
        # made since.
        work.watch.pulse(self._clock.monotonic(), "beginning")
        failed.clear()
        return producer, failed

    def _fill(self, producer: Producer, work: Work) -> None:
        half, most = work.count // 2, 0
        produce: Callable[..., None] = producer.produce
        for number, (topic, key, value, headers, stamp, partition) in enumerate(work.records):
            if number == half:
                self._at("half")
            if number % 500 == 0:
                work.watch.pulse(self._clock.monotonic(), "producing")
                most = max(most, len(producer))
            while True:
                try:
                    if headers:
                        produce(topic, value, key, partition, timestamp=stamp, headers=headers)
                    else:
                        produce(topic, value, key, partition, timestamp=stamp)
                    break
                except BufferError:
                    # A full queue is back-pressure, never a reason to drop.
                    producer.poll(0.05)
                    work.watch.pulse(
                        self._clock.monotonic(), "waiting for room in the producer's queue"
                    )
        self.queued = max(most, len(producer))

    def _explain(
        self, error: WorkersError, producer: Producer, failed: list[tuple[KafkaError, str]]
    ) -> WorkersError:
        """The first record that failed tells more than the transaction it made fail."""
        with suppress(KafkaException):
            # Only to be told of failed records; a producer with a fatal error raises it here too.
            producer.poll(0)
        purged = (KafkaError._PURGE_INFLIGHT, KafkaError._PURGE_QUEUE)
        for undelivered, topic in failed:
            if undelivered.code() in purged or isinstance(error, Fenced):
                continue
            cause = translate(undelivered, f"producing to {topic}")
            return TopicRefused(str(cause), topic) if isinstance(cause, TopicRefused) else cause
        return error


class TransactionalPublisher(_Producing):
    """Exactly once: outputs, dead letters, decisions and offsets in one transaction."""

    _starting: Producer | None = None
    _proven = False
    """Has this producer committed?"""
    _doubted = False
    """Was the last producer fenced before it ever committed?"""

    def renew(self) -> None:
        """See `Publisher`. Ends whatever transaction the old producer left open."""
        self._producer = self._initialised()
        self._proven = False

    def _initialised(self) -> Producer:
        """A producer whose transactions are initialised.

        One whose initialisation only took too long is kept and resumed: had we made another, its
        request, coming late, would fence the new one.
        """
        producer = self._starting or self._connect()
        self._starting = None
        try:
            # In one slice: the caller polls the consumer between two tries.
            producer.init_transactions(SLICE)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._TIMED_OUT and error.args[0].retriable():
                self._producer, self._starting = None, producer
            raise translate(error.args[0], "initialising transactions") from error
        return producer

    def publish(self, work: Work) -> None:
        """See `Publisher`."""
        producer, failed = self._taken(work)
        began = self._clock.monotonic()
        try:
            with translated("publishing a batch"):
                producer.begin_transaction()
                self._at("begun")
                self._fill_transaction(producer, work)
                self._at("offsets")
                self._commit(producer, work)
        except WorkersError as error:
            seconds = self._clock.monotonic() - began
            raise self._judge(self._explain(error, producer, failed), seconds) from error

    def _fill_transaction(self, producer: Producer, work: Work) -> None:
        send = partial(producer.send_offsets_to_transaction, work.offsets, work.metadata)
        try:
            self._fill(producer, work)
            if work.offsets:
                self._finish(work, "sending offsets", send)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:
                raise
            # An earlier record failed meanwhile. This call has the reason; it must not succeed.
            send(SLICE)
            raise

    def _commit(self, producer: Producer, work: Work) -> None:
        began = self._clock.monotonic()
        self._at("committing")
        self._finish(work, "committing", producer.commit_transaction)
        self._at("committed")
        self._proven, self._doubted = True, False
        producer.poll(0)
        if self._log.suspect or self._clock.monotonic() - began >= SOCKET_TIMEOUT:
            # Committed; but an EndTxn may still be on its way and must not meet the next one.
            self._journal.warn(Event.PRODUCER_REPLACED, reason="a commit request was sent twice")
            self._replace(work)

    def _replace(self, work: Work) -> None:
        while True:
            # Left for hung, this thread must not touch the producer made since.
            work.watch.pulse(self._clock.monotonic(), "replacing a producer")
            try:
                fresh = self._initialised()
            except Retry as unwell:
                self._journal.warn(Event.UNWELL, why=str(unwell))
            else:
                work.watch.pulse(self._clock.monotonic(), "replacing a producer")
                self._producer = fresh
                return

    def _finish(self, work: Work, doing: str, call: Callable[[float], Any]) -> None:
        """Repeat a resumable call until it is done, or the transaction is over its timeout.

        The broker ends the transaction then, so waiting on would wait for nothing.
        """
        deadline = self._clock.monotonic() + self._timeout
        while True:
            work.watch.pulse(self._clock.monotonic(), doing)
            try:
                call(SLICE)
            except KafkaException as error:
                if error.args[0].code() != KafkaError._TIMED_OUT or not error.args[0].retriable():
                    raise
                if self._clock.monotonic() >= deadline:
                    raise Retry(f"{doing} took over {self._timeout:g} s") from error
            else:
                return

    @property
    def _timeout(self) -> float:
        """Seconds after which the broker ends a transaction."""
        return float(self._config["transaction.timeout.ms"]) / 1000

    def _judge(self, error: WorkersError, seconds: float) -> WorkersError:
        """Fenced by the broker's clock, by a late request of our own, or by another process?"""
        if not isinstance(error, Fenced):
            return error
        if seconds >= self._timeout:
            return Retry(f"the transaction was open for {seconds:.0f} s, over its timeout")
        if not self._proven and not self._doubted:
            self._doubted = True
            return Moved("fenced before the first commit; once that may have been ourselves")
        name = self._config["transactional.id"]
        return Fenced(
            f"{error}: another process runs as {name}. Give every replica its own `instance` "
            "and run each once"
        )


class AcknowledgedPublisher(_Producing):
    """At least once: returns when every record is acknowledged; the caller commits offsets then."""

    def renew(self) -> None:
        """See `Publisher`."""
        if self._producer is not None:
            with translated("dropping a producer"):
                self._producer.purge()
        self._producer = self._connect()

    def publish(self, work: Work) -> None:
        """See `Publisher`."""
        producer, failed = self._taken(work)
        try:
            with translated("publishing a batch"):
                self._at("begun")
                self._fill(producer, work)
                self._at("committing")
                while producer.flush(SLICE) > 0:
                    work.watch.pulse(self._clock.monotonic(), "waiting for acknowledgements")
                self._at("committed")
            if failed:
                raise Retry("a record was not acknowledged")
        except WorkersError as error:
            raise self._explain(error, producer, failed) from error
