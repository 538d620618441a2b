"""The clients of Kafka that a process has; none connects before the loop runs."""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from workers.errors import ClientHalt
from workers.stream.clients import (
    Config,
    common,
    consumer_config,
    producer_config,
    tail_config,
)
from workers.stream.clock import Clock
from workers.stream.ends import Ends
from workers.stream.journal import ClientLog, Journal
from workers.stream.openletters import OpenLettersState
from workers.stream.publish import (
    AcknowledgedPublisher,
    Failpoint,
    Publisher,
    TransactionalPublisher,
)
from workers.stream.sequence import KeyOrder
from workers.stream.source import Source
from workers.stream.tail import Tail
from workers.topology import Delivery, Sequencing, Topology, Worker
from workers.wiring.process import Process


def consumer_of(config: Config) -> Consumer:
    """A consumer with these properties.

    Raises:
        ClientHalt: it refuses them.
    """
    try:
        return Consumer(config)
    except KafkaException as error:
        raise ClientHalt(f"the consumer refuses its properties: {error.args[0].str()}") from error


def source_of(process: Process) -> Source:
    """The consumer of the worker's group.

    Raises:
        ClientHalt: it refuses its properties.
    """

    def answered(error: KafkaError | None, places: list[TopicPartition]) -> None:
        source.commits.answered(error, places)

    worker, clock, journal = process.worker, process.clock, process.journal
    config = consumer_config(process.topology.broker, worker, process.slot)
    log = ClientLog(journal, clock)
    consumer = consumer_of({**config, "logger": log, "on_commit": answered})
    source = Source(consumer, worker, clock, journal)
    return source


def publisher_of(
    topology: Topology,
    worker: Worker,
    slot: int,
    clock: Clock,
    journal: Journal,
    at: Failpoint,
) -> Publisher:
    """What writes a worker's records, as its delivery says."""
    config = producer_config(topology.broker, worker, slot)
    if worker.delivery is Delivery.EXACTLY_ONCE:
        return TransactionalPublisher(config, clock, journal, at)
    return AcknowledgedPublisher(config, clock, journal, at)


def ends_of(process: Process) -> Ends:
    """What asks for the ends of partitions that are not read."""
    worker, instance = process.worker, process.instance
    asking = {
        **common(process.topology.broker, f"{worker.name}.{instance}.ends"),
        "logger": ClientLog(process.journal, process.clock),
    }
    return Ends(asking, worker.input.topic)


def order_of(process: Process, source: Source) -> KeyOrder | None:
    """What keeps the order of keys, where the worker is to."""
    worker, ledger = process.worker, process.worker.dead_letter.ledger
    if worker.sequence is Sequencing.NONE or ledger is None:
        return None
    broker, slot = process.topology.broker, process.slot
    log = {"logger": ClientLog(process.journal, process.clock)}
    reader, asker = (
        consumer_of({**tail_config(broker, worker, slot, level), **log})
        for level in ("read_committed", "read_uncommitted")
    )
    letters = OpenLettersState(worker.known_as, worker.input.topic)
    tail = Tail(reader, asker, (worker.dead_letter.topic, ledger.topic))
    return KeyOrder(tail, letters, ledger.topic, source, process.clock)
