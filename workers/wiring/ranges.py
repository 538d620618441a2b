"""What reads ranges of a topic."""

from __future__ import annotations

from workers.errors import ClientHalt
from workers.operate.look import connect
from workers.stream.clients import range_config
from workers.stream.clock import Clock, SystemClock
from workers.stream.journal import ClientLog, Journal
from workers.stream.ranges import RangeReader
from workers.topology import Topology, Worker
from workers.wiring.clients import consumer_of


def build_range_reader(
    topology: Topology, worker: Worker, topic: str, clock: Clock | None = None
) -> tuple[RangeReader, tuple[int, ...]]:
    """What reads ranges of a topic with the worker's properties, and the topic's partitions.

    The caller closes it.

    Raises:
        BrokerUnreachable: no broker answered within `broker.connect_timeout`.
        ClientHalt: the broker or the client refuses us, or the topic is missing.
    """
    name, clock = f"{worker.name}.score", clock or SystemClock()
    known = connect(topology.broker, name).metadata.topics
    if topic not in known or known[topic].error is not None:
        raise ClientHalt(f"the cluster has no topic {topic}, or does not show it to us")
    log = ClientLog(Journal(clock, worker=worker.name), clock)
    consumer = consumer_of({**range_config(topology.broker, worker), "logger": log})
    reader = RangeReader(consumer, topic, worker.batch, clock)
    return reader, tuple(sorted(known[topic].partitions))
