"""The properties our Kafka clients run with. Offset safety hangs on them: none can be changed."""

from __future__ import annotations

import socket
from typing import Any

from workers.topology import Broker, Delivery, Partitioning, Protocol, Worker

Config = dict[str, Any]
DELIVERY_TIMEOUT = 60.0
"""Seconds until an at-least-once record that nobody acknowledged fails (`message.timeout.ms`).
A transaction's records fail at the transaction's timeout."""
COMPARISON_TIMEOUT = 10.0
"""Seconds until a comparison that nobody acknowledged is dropped."""
PROPAGATION_MS = 10_000
"""How long a topic may be unknown to a broker before it counts as missing."""
SESSION_TIMEOUT_MS = 15_000
"""The classic protocol's default here; `consumer: {session.timeout.ms: …}` changes it."""


def instance_name(worker: Worker) -> str:
    """Which replica this is: as declared, else the host's name (a StatefulSet's pod name)."""
    return worker.instance or socket.gethostname()


def transactional_id(worker: Worker, slot: int) -> str:
    """Stable for a replica and process slot: a restart ends the orphan of its last life at once.

    Correctness in a rebalance comes from the group metadata (KIP-447), not from this name.
    """
    return f"{worker.transactional_id}.{instance_name(worker)}.{slot}"


def common(broker: Broker, client_id: str) -> Config:
    """What every client has."""
    return {
        **broker.client,
        **broker.security.client_properties(),
        "bootstrap.servers": broker.bootstrap_servers,
        "client.id": client_id,
    }


def consumer_config(broker: Broker, worker: Worker, slot: int) -> Config:
    """One consumer of the worker's group, which commits nothing by itself."""
    config = {
        # Off only for a broker that writes none, as the embedded one ends its transactions.
        "check.crcs": True,
        **worker.consumer,
        **common(broker, f"{worker.name}.{instance_name(worker)}.{slot}"),
        "group.id": worker.group,
        # Nothing is created by accident.
        "allow.auto.create.topics": False,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # A group without an offset, or one that retention overtook, is decided by the source.
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        # Markers of transactions have offsets and are never handed out: only this tells the end.
        "enable.partition.eof": True,
        # A full queue is looked at again after this, not after a second (librdkafka's default).
        "fetch.queue.backoff.ms": 10,
        "queued.min.messages": worker.queues.consumer_messages,
        "queued.max.messages.kbytes": max(1, worker.queues.consumer_bytes // 1024),
    }
    if worker.static_membership:
        config["group.instance.id"] = f"{instance_name(worker)}.{slot}"
    if worker.protocol is Protocol.CONSUMER:
        return {**config, "group.protocol": "consumer"}
    # A member that dies, or leaves while it joins, holds its partitions until its session ends:
    # Kafka's 45 s are for networks that lose members, ours is for brokers near by.
    session = {"session.timeout.ms": SESSION_TIMEOUT_MS, **worker.consumer}
    return {**session, **config, "partition.assignment.strategy": "cooperative-sticky"}


def range_config(broker: Broker, worker: Worker) -> Config:
    """A consumer that reads a range of a topic, joins no group and commits nothing."""
    config = {
        # Off only for a broker that writes none, as the embedded one ends its transactions.
        "check.crcs": True,
        **worker.consumer,
        **common(broker, f"{worker.name}.score"),
        # The client wants a name. What may read the worker's input may use its group's; nobody
        # subscribes, so nobody joins it.
        "group.id": worker.group,
        "allow.auto.create.topics": False,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Every other value skips or repeats records in silence.
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        # A range may end with offsets that hold no record: only this tells.
        "enable.partition.eof": True,
        "queued.max.messages.kbytes": max(1, worker.queues.consumer_bytes // 1024),
    }
    if worker.protocol is Protocol.CONSUMER:
        config["group.protocol"] = "consumer"
    return config


def tail_config(broker: Broker, worker: Worker, slot: int, level: str) -> Config:
    """A consumer beside the stream that follows topics from their beginning; joins no group."""
    return {
        **range_config(broker, worker),
        "client.id": f"{worker.name}.{instance_name(worker)}.{slot}.letters",
        "isolation.level": level,
        # What retention takes before it is read has nothing to say any more.
        "auto.offset.reset": "earliest",
        # At most a tenth of what the input may take.
        "queued.max.messages.kbytes": max(1, worker.queues.consumer_bytes // 10240),
    }


def producer_config(broker: Broker, worker: Worker, slot: int) -> Config:
    """An idempotent producer that keeps order per key; transactional for exactly once."""
    config = {
        # The transaction or the flush says when records leave, not this.
        "linger.ms": 5,
        **worker.producer,
        **common(broker, f"{worker.name}.{instance_name(worker)}.{slot}"),
        "enable.idempotence": True,
        "acks": "all",
        "message.max.bytes": max(
            worker.output.max_message_bytes, worker.dead_letter.max_message_bytes
        ),
        "delivery.report.only.error": True,
        "queue.buffering.max.messages": worker.queues.producer_messages,
        "queue.buffering.max.kbytes": max(1, worker.queues.producer_bytes // 1024),
        "topic.metadata.propagation.max.ms": PROPAGATION_MS,
    }
    if worker.output.partitioning is Partitioning.KEY:
        # Java's default for records with a key, so that co-partitioned topics stay so.
        config["partitioner"] = "murmur2_random"
    if worker.delivery is Delivery.EXACTLY_ONCE:
        config["transactional.id"] = transactional_id(worker, slot)
        timeout = int(worker.transaction_timeout * 1000)
        config["transaction.timeout.ms"] = timeout
        # A missing topic must be known to be missing before the transaction's time is over.
        config["topic.metadata.propagation.max.ms"] = min(PROPAGATION_MS, timeout // 2)
    else:
        config["message.timeout.ms"] = int(DELIVERY_TIMEOUT * 1000)
    return config


def comparison_config(broker: Broker, worker: Worker, slot: int) -> Config:
    """A plain producer for what may be lost: it never waits for long and holds little."""
    return {
        **worker.producer,
        **common(broker, f"{worker.name}.{instance_name(worker)}.{slot}.shadow"),
        "linger.ms": 50,
        "acks": "1",
        "enable.idempotence": False,
        # Keeps the order of a key without it.
        "max.in.flight": 1,
        "message.timeout.ms": int(COMPARISON_TIMEOUT * 1000),
        "delivery.report.only.error": True,
        "queue.buffering.max.messages": worker.queues.producer_messages,
        "queue.buffering.max.kbytes": max(1, worker.queues.producer_bytes // 1024),
        # Java's default for records with a key, so that co-partitioned topics stay so.
        "partitioner": "murmur2_random",
    }
