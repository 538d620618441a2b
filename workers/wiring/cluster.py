"""The cluster, held to what a worker needs of it."""

from __future__ import annotations

from workers.errors import ClientHalt
from workers.operate.look import connect
from workers.topology import Broker, Partitioning, Worker
from workers.wiring.declared import topics_of


def check_broker(broker: Broker, worker: Worker) -> None:
    """Is there a cluster, and has it the worker's topics? Nothing is created.

    Raises:
        BrokerUnreachable: no broker answered within `broker.connect_timeout`.
        ClientHalt: the broker refuses us; a topic is missing, all missing ones are named; or the
            output has too few partitions to take the input's numbers.
    """
    known = connect(broker, f"{worker.name}.check").metadata.topics
    missing = [
        f"{role} topic {topic}" for role, topic in topics_of(worker).items() if topic not in known
    ]
    if missing:
        raise ClientHalt(f"missing on the cluster: {', '.join(missing)}; workers create no topic")
    source, target = (len(known[t].partitions) for t in (worker.input.topic, worker.output.topic))
    if worker.output.partitioning is Partitioning.SAME and target < source:
        raise ClientHalt(
            f"output.partitioning is same, but {worker.output.topic} has {target} partitions and "
            f"{worker.input.topic} has {source}; add partitions, or write key"
        )
