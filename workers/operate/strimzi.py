"""The same as Kubernetes objects for Strimzi's operators: KafkaTopic and KafkaUser.

Keys as in Strimzi's API `kafka.strimzi.io/v1` (install/cluster-operator, Crd-kafkatopic.yaml and
Crd-kafkauser.yaml).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any

from ruamel.yaml import YAML

from workers.operate.acls import Grant, Identity, Resource
from workers.operate.steps import TopicSpec
from workers.topology import Broker

API = "kafka.strimzi.io/v1"
_TYPES = {
    Resource.TOPIC: "topic",
    Resource.GROUP: "group",
    Resource.TRANSACTIONAL_ID: "transactionalId",
    Resource.CLUSTER: "cluster",
}


def object_name(name: str) -> str:
    """A Kubernetes object's name for a Kafka name: RFC 1123, as Strimzi's own examples have it."""
    return re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-.")


def kafka_topic(topic: TopicSpec, cluster: str) -> dict[str, Any]:
    """The object for a topic."""
    return {
        "apiVersion": API,
        "kind": "KafkaTopic",
        "metadata": _metadata(object_name(topic.name), cluster),
        "spec": {
            "topicName": topic.name,
            "partitions": topic.partitions,
            "replicas": topic.replication_factor,
            "config": {name: _plain(value) for name, value in topic.settings.items()},
        },
    }


def kafka_user(broker: Broker, identity: Identity, cluster: str) -> dict[str, Any]:
    """The object for a principal, with what it needs and no more.

    An object replaces another of its name: see `acls.by_principal`.
    """
    who = identity.principal.partition(":")[2]
    name = object_name(who.removeprefix("CN=").partition(",")[0])
    spec: dict[str, Any] = {}
    if (kind := _authentication(broker)) is not None:
        spec["authentication"] = {"type": kind}
    acls = [_rule(grant) for grant in identity.grants]
    spec["authorization"] = {"type": "simple", "acls": acls}
    return {
        "apiVersion": API,
        "kind": "KafkaUser",
        "metadata": _metadata(name, cluster),
        "spec": spec,
    }


def documents(objects: Iterable[dict[str, Any]]) -> str:
    """The objects as one YAML stream, for `kubectl apply -f -`."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = io.StringIO()
    yaml.explicit_start = True
    yaml.dump_all(list(objects), text)
    return text.getvalue()


def _metadata(name: str, cluster: str) -> dict[str, Any]:
    return {"name": name, "labels": {"strimzi.io/cluster": cluster}}


def _rule(grant: Grant) -> dict[str, Any]:
    return {
        "resource": {
            "type": _TYPES[grant.resource],
            "name": grant.name,
            "patternType": "prefix" if grant.prefixed else "literal",
        },
        "operations": list(grant.operations),
    }


def _authentication(broker: Broker) -> str | None:
    """How the user proves itself, where Strimzi makes the proof."""
    security = broker.security
    if security.sasl is not None:
        return "scram-sha-512" if security.sasl.mechanism == "SCRAM-SHA-512" else None
    return "tls" if security.tls is not None and security.tls.certificate is not None else None


def _plain(value: str) -> str | int:
    return int(value) if re.fullmatch(r"-?\d+", value) else value
