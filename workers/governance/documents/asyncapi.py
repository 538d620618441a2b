"""AsyncAPI 3.0 of the topics, with Kafka bindings 0.5.0, seen from the workers.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
https://github.com/asyncapi/bindings/tree/master/kafka
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workers.contracts.subject import Naming, Role
from workers.governance.documents import promises
from workers.governance.documents.topics import Topic
from workers.topology import Broker, Topology, Worker
from workers.topology.security import SecurityProtocol

AVRO = "application/vnd.apache.avro;version=1.9.0"
_BINDING = {"bindingVersion": "0.5.0"}
_STRATEGIES = {
    Naming.TOPIC: "TopicNameStrategy",
    Naming.RECORD: "RecordNameStrategy",
    Naming.TOPIC_RECORD: "TopicRecordNameStrategy",
}
_SASL = {
    "PLAIN": "plain",
    "SCRAM-SHA-256": "scramSha256",
    "SCRAM-SHA-512": "scramSha512",
    "GSSAPI": "gssapi",
}
Document = dict[str, Any]


def asyncapi(topology: Topology, topics: Iterable[Topic]) -> Document:
    """The document, in the order it is to be written."""
    topics = tuple(topics)
    channels: dict[str, Document] = {}
    for topic in topics:
        # A topic with several subjects is one channel with several messages.
        channel = channels.setdefault(topic.about.topic, _channel(topic))
        channel["messages"][topic.name] = {"$ref": f"#/components/messages/{topic.name}"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Enrichment workers",
            "version": str(topology.version),
            "description": "Topics that the workers read and write. Written by `workers contracts "
            "docs` from topology.yaml and schemas/.",
        },
        "defaultContentType": AVRO,
        "servers": _servers(topology),
        "channels": channels,
        "operations": _operations(topology),
        "components": {"messages": {topic.name: _message(topic) for topic in topics}},
    }


def _servers(topology: Topology) -> Document:
    addresses = [a.strip() for a in topology.broker.bootstrap_servers.split(",") if a.strip()]
    return {
        f"kafka{number or ''}": _server(topology, address)
        for number, address in enumerate(addresses)
    }


def _server(topology: Topology, address: str) -> Document:
    protocol = topology.broker.security.protocol
    encrypted = protocol in (SecurityProtocol.SSL, SecurityProtocol.SASL_SSL)
    server: Document = {"host": address, "protocol": "kafka-secure" if encrypted else "kafka"}
    if security := _security(topology.broker):
        server["security"] = security
    registry = topology.contracts.registry
    if registry is not None:
        place = {"schemaRegistryUrl": str(registry.url), "schemaRegistryVendor": "confluent"}
        server["bindings"] = {"kafka": {**place, **_BINDING}}
    return server


def _security(broker: Broker) -> list[Document]:
    """How a client proves who it is; never as whom."""
    security = broker.security
    if security.sasl is not None:
        mechanism = str(security.sasl.mechanism)
        if mechanism in _SASL:
            return [{"type": _SASL[mechanism]}]
        return [{"type": "http", "scheme": "bearer", "description": mechanism}]
    if security.tls is not None and security.tls.certificate is not None:
        return [{"type": "X509"}]
    return []


def _channel(topic: Topic) -> Document:
    binding: Document = {"topic": topic.about.topic}
    if settings := _settings(topic):
        binding["topicConfiguration"] = settings
    return {
        "address": topic.about.topic,
        "description": topic.about.description,
        "messages": {},
        "bindings": {"kafka": {**binding, **_BINDING}},
    }


def _settings(topic: Topic) -> Document:
    kept = topic.retention_ms
    if kept is None:
        return {}
    policy = "compact" if topic.about.retention == "compact" else "delete"
    return {"cleanup.policy": [policy], "retention.ms": kept}


def _message(topic: Topic) -> Document:
    about = topic.about
    message: Document = {
        "name": topic.shape.name if topic.shape else topic.name,
        "title": about.description,
        "contentType": AVRO if topic.newest else "application/octet-stream",
        "bindings": {"kafka": {**_message_binding(topic), **_BINDING}},
    }
    if topic.newest is not None:
        schema = dict(topic.newest.schema.document)
        message["payload"] = {"schemaFormat": AVRO, "schema": schema}
    else:
        message["payload"] = {"description": "The failed record's value, byte for byte."}
    message["x-owner"] = about.owner
    if about.role is not Role.DEAD_LETTER:
        message["x-compatibility"] = about.compatibility.value
    if topic.decision_id:
        message["x-deduplicate-by"] = topic.decision_id
    return message


def _message_binding(topic: Topic) -> Document:
    binding: Document = {"key": {"type": "string", "description": promises.key(topic)}}
    if topic.newest is None:
        return binding
    return {
        **binding,
        "schemaIdLocation": "payload",
        # One byte of zero and four of id: "confluent" by the binding's own examples.
        "schemaIdPayloadEncoding": "confluent",
        "schemaLookupStrategy": _STRATEGIES[topic.about.naming],
    }


def _operations(topology: Topology) -> Document:
    operations: Document = {}
    for worker in topology.workers.values():
        name = worker.name
        group = {"groupId": {"type": "string", "enum": [worker.group]}, **_BINDING}
        operations[f"{name}.receive"] = {
            **_operation("receive", worker.input.topic, f"{name} reads events to score them."),
            "bindings": {"kafka": group},
        }
        for role, topic, text in _sent(worker):
            operations[f"{name}.{role}"] = {
                **_operation("send", topic, f"{name} writes {text}."),
                "x-delivery": promises.guarantee(worker, role),
                "x-isolation-level": promises.isolation(worker, role),
            }
    return operations


def _operation(action: str, topic: str, summary: str) -> Document:
    channel = {"$ref": f"#/channels/{topic}"}
    return {"action": action, "channel": channel, "summary": summary}


def _sent(worker: Worker) -> list[tuple[str, str, str]]:
    sent = [("output", worker.output.topic, "enriched events")]
    if worker.decisions is not None:
        sent.append(("decisions", worker.decisions.topic, "the decisions alone"))
    if worker.shadow is not None:
        text = "what a challenger would have decided"
        sent.append(("comparisons", worker.shadow.topic, text))
    if worker.retry_topic is not None:
        sent.append(("retry", worker.retry_topic.topic, "what is tried again"))
    return [*sent, ("dead_letter", worker.dead_letter.topic, "what could not be enriched")]
