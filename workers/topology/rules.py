"""Which librdkafka properties a topology may set itself, and what owns the others."""

from __future__ import annotations

from workers.topology.security import Properties

_OWNED = {
    "enable.auto.commit": "offsets move only when every outcome is acknowledged",
    "auto.commit.interval.ms": "offsets move only when every outcome is acknowledged",
    "enable.auto.offset.store": "offsets move only when every outcome is acknowledged",
    "allow.auto.create.topics": "workers create no topic",
    "auto.offset.reset": "write `first_start`",
    "isolation.level": "the worker reads committed records",
    "group.id": "write `group`",
    "group.instance.id": "write `static_membership` and `instance`",
    "group.protocol": "write `protocol`",
    "partition.assignment.strategy": "it is cooperative-sticky; never mixed with another",
    "bootstrap.servers": "write `broker.bootstrap_servers`",
    "metadata.broker.list": "write `broker.bootstrap_servers`",
    "security.protocol": "write `broker.security`",
    "https.ca.location": "write `broker.security.sasl.oauth.ca`",
    "https.ca.pem": "write `broker.security.sasl.oauth.ca`",
    "enable.ssl.certificate.verification": "the broker is always held to its certificate",
    "plugin.library.paths": "workers load no plugins",
    "transactional.id": "write `transactional_id`",
    "transaction.timeout.ms": "write `transaction_timeout`",
    "enable.idempotence": "the producer is always idempotent",
    "acks": "every in-sync replica acknowledges",
    "request.required.acks": "every in-sync replica acknowledges",
    "max.in.flight": "order per key is kept",
    "max.in.flight.requests.per.connection": "order per key is kept",
    "partitioner": "write `output.partitioning`",
    "message.max.bytes": "write `max_message_bytes`",
    "queued.max.messages.kbytes": "write `queues.consumer_bytes`",
    "queued.min.messages": "write `queues.consumer_messages`",
    "queue.buffering.max.messages": "write `queues.producer_messages`",
    "queue.buffering.max.kbytes": "write `queues.producer_bytes`",
}
_KIP848 = ("session.timeout.ms", "heartbeat.interval.ms")


def check_free_properties(where: str, properties: Properties, *, kip848: bool) -> None:
    """Hold free properties to those that nothing else owns.

    Raises:
        ValueError: a property is owned, secret, or refused by the group protocol; all are named.
    """
    faults = []
    for name in properties:
        if name in _OWNED:
            faults.append(f"{where}.{name} may not be set: {_OWNED[name]}")
        elif name.startswith(("sasl.", "ssl.")):
            faults.append(f"{where}.{name} may not be set: write `broker.security`")
        elif kip848 and name in _KIP848:
            faults.append(
                f"{where}.{name} may not be set with protocol: consumer, where the broker owns it"
            )
    if faults:
        raise ValueError("; ".join(faults))
