"""The Kubernetes objects are ones that Strimzi's operators take."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from workers.operate.acls import worker_identity
from workers.operate.steps import TopicSpec
from workers.operate.strimzi import documents, kafka_topic, kafka_user, object_name
from workers.topology import Broker, Topology

_NAME = {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"}


def _object(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A custom resource of Strimzi, closed: the operators drop keys that they do not know."""
    labels = {
        "type": "object",
        "required": ["strimzi.io/cluster"],
        "additionalProperties": {"type": "string"},
    }
    metadata = {
        "type": "object",
        "required": ["name", "labels"],
        "properties": {"name": _NAME, "labels": labels},
    }
    return {
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": "kafka.strimzi.io/v1"},
            "kind": {"const": kind},
            "metadata": metadata,
            "spec": {"type": "object", "additionalProperties": False, "properties": spec},
        },
    }


# What the parts that we write may hold, by Strimzi's API reference ("KafkaTopicSpec",
# "KafkaUserSpec", "AclRule").
_TOPIC = _object(
    "KafkaTopic",
    {
        "topicName": {"type": "string"},
        "partitions": {"type": "integer", "minimum": 1},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 32767},
        "config": {"type": "object"},
    },
)
_RULE = {
    "type": "object",
    "required": ["resource", "operations"],
    "additionalProperties": False,
    "properties": {
        "resource": {
            "type": "object",
            "required": ["type"],
            "additionalProperties": False,
            "properties": {
                "type": {"enum": ["topic", "group", "cluster", "transactionalId"]},
                "name": {"type": "string"},
                "patternType": {"enum": ["literal", "prefix"]},
            },
        },
        "operations": {
            "type": "array",
            "items": {"enum": ["Read", "Write", "Create", "Describe", "DescribeConfigs", "All"]},
        },
    },
}
_AUTHENTICATION = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"enum": ["tls", "tls-external", "scram-sha-512"]}},
}
_USER = _object(
    "KafkaUser",
    {
        "authentication": _AUTHENTICATION,
        "authorization": {
            "type": "object",
            "required": ["acls", "type"],
            "properties": {"type": {"const": "simple"}, "acls": {"type": "array", "items": _RULE}},
        },
    },
)
SCHEMAS = {"KafkaTopic": _TOPIC, "KafkaUser": _USER}
_SCRAM = {
    "protocol": "SASL_PLAINTEXT",
    "sasl": {"mechanism": "SCRAM-SHA-512", "username": "ann", "password": "secret"},
}


@pytest.mark.parametrize(
    ("security", "authentication"),
    [({}, None), (_SCRAM, {"type": "scram-sha-512"})],
    ids=["plain", "scram"],
)
def test_the_objects_fit_strimzis_schemas(
    topology: Topology, security: dict[str, Any], authentication: dict[str, str] | None
) -> None:
    """A topic and a user, read back from the YAML that people apply."""
    broker = Broker.model_validate({"bootstrap_servers": "b:1", "security": security})
    topic = TopicSpec(
        name="Flights_DLQ",
        partitions=6,
        replication_factor=3,
        settings={"cleanup.policy": "delete", "retention.ms": "86400000"},
    )
    who = worker_identity(broker, topology.workers["flight-delays"])
    text = documents([kafka_topic(topic, "main"), kafka_user(broker, who, "main")])

    made = list(YAML(typ="safe").load_all(text))

    for entry in made:
        jsonschema.validate(entry, SCHEMAS[entry["kind"]])
        assert entry["metadata"]["labels"] == {"strimzi.io/cluster": "main"}
    assert made[0]["metadata"]["name"] == "flights-dlq"
    assert made[0]["spec"]["topicName"] == "Flights_DLQ"
    assert made[0]["spec"]["config"] == {"cleanup.policy": "delete", "retention.ms": 86400000}
    assert made[1]["spec"].get("authentication") == authentication
    slots = [r for r in made[1]["spec"]["authorization"]["acls"] if "prefix" in str(r)]
    assert [rule["resource"]["name"] for rule in slots] == ["flight-delays."]
    assert "secret" not in text


@pytest.mark.parametrize(
    ("name", "made"), [("flights.dlq", "flights.dlq"), ("_A_b", "a-b"), ("x_", "x")]
)
def test_object_names_are_ones_that_kubernetes_takes(name: str, made: str) -> None:
    """Lower case letters, digits, dots and dashes, with a letter or digit at either end."""
    assert object_name(name) == made
