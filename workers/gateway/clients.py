"""librdkafka properties of the gateway's clients."""

from __future__ import annotations

from workers.gateway.replay import reading
from workers.stream.clients import PROPAGATION_MS, Config, common
from workers.stream.journal import ClientLog
from workers.topology import Broker
from workers.topology.gateway import Gateway

FETCH_WAIT_MS = 50
"""How long a broker may hold back a fetch that finds nothing: what a claim waits at most where the
broker does not answer as soon as there is something."""
LOOKUP_WAIT_MS = 500
"""The same for decisions of others, which nobody waits for: many at once cost less."""
LOOKUP_BYTES = 1 << 20
QUEUE_MESSAGES = 100_000


def decisions_producer(broker: Broker, gateway: Gateway, name: str, log: ClientLog) -> Config:
    """Idempotent; what is not acknowledged in `log.timeout` fails."""
    timeout = int(gateway.log.timeout * 1000)
    return {
        **common(broker, name),
        "logger": log,
        "enable.idempotence": True,
        "acks": "all",
        # Requests wait for the acknowledgement; what comes in one batch of them goes in one.
        "linger.ms": 1,
        "message.timeout.ms": timeout,
        "request.timeout.ms": min(timeout, 30_000),
        "queue.buffering.max.messages": QUEUE_MESSAGES,
        "topic.metadata.propagation.max.ms": min(PROPAGATION_MS, timeout),
        # Java's default for records with a key, so that co-partitioned topics stay so.
        "partitioner": "murmur2_random",
    }


def topics_reader(
    broker: Broker, name: str, log: ClientLog, wait_ms: int = FETCH_WAIT_MS, least: int = 1
) -> Config:
    """Follows topics of ours, without a group.

    A fetch is answered when there are `least` bytes, or after `wait_ms`.
    """
    changes = {"logger": log, "fetch.wait.max.ms": wait_ms, "fetch.min.bytes": least}
    return reading(common(broker, name), **changes)
