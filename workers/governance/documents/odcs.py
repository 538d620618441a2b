"""Open Data Contract Standard 3.1 of a topic: https://bitol-io.github.io/open-data-contract-standard"""

from __future__ import annotations

from typing import Any

from workers.contracts.subject import Role
from workers.governance.documents import promises
from workers.governance.documents.shape import Field, Shape
from workers.governance.documents.topics import Topic
from workers.topology import Topology

Document = dict[str, Any]
_LOGICAL = {
    "string": "string",
    "enum": "string",
    "bytes": "string",
    "fixed": "string",
    "null": "string",
    "union": "object",
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "decimal": "number",
    "boolean": "boolean",
    "array": "array",
    "record": "object",
    "map": "object",
    "date": "date",
    "uuid": "string",
    "time-millis": "time",
    "time-micros": "time",
    "timestamp-millis": "timestamp",
    "timestamp-micros": "timestamp",
    "local-timestamp-millis": "timestamp",
    "local-timestamp-micros": "timestamp",
}
_DAY = 86_400_000


def odcs(topology: Topology, topic: Topic) -> Document:
    """The topic's contract, in the order it is to be written."""
    about = topic.about
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": topic.name,
        "name": topic.name,
        "version": str(topic.newest.version if topic.newest else 1),
        "status": "deprecated" if about.sunset else "active",
        "description": {"purpose": about.description, "usage": _usage(topic)},
        "servers": [_server(topology, topic)],
        "schema": [_schema(topic)],
        "team": {"name": about.owner, "members": [{"username": about.owner, "role": "owner"}]},
        "slaProperties": _promises(topic),
        "customProperties": _properties(topic),
    }


def _usage(topic: Topic) -> str:
    said = [f"Key: {promises.key(topic)}", f"Ordering: {topic.about.ordering or 'not promised.'}"]
    said += [f"Delivery: {promises.delivery(topic, worker)}" for worker in topic.writers]
    return "\n".join(said)


def _server(topology: Topology, topic: Topic) -> Document:
    return {
        "server": "kafka",
        "type": "kafka",
        "host": topology.broker.bootstrap_servers,
        "format": "avro" if topic.newest else "binary",
    }


def _schema(topic: Topic) -> Document:
    shape = topic.shape
    found: Document = {
        "name": shape.name.rpartition(".")[2] if shape else topic.name,
        "physicalName": topic.about.topic,
        "physicalType": "topic",
        "logicalType": "object",
        "description": shape.doc if shape and shape.doc else topic.about.description,
    }
    if shape is not None:
        found["properties"] = [_property(field) for field in shape.fields]
    return found


def _property(field: Field) -> Document:
    made: Document = {"name": field.name, **_type(field.shape)}
    made["required"] = not field.shape.optional
    if field.doc:
        made["description"] = field.doc
    if field.classification:
        made["classification"] = field.classification
    return made


def _type(shape: Shape) -> Document:
    """Logical and physical type.

    The standard has neither bytes nor unions, and its JSON Schema wants a logical type: the
    physical one says what it is.
    """
    present = shape.present
    only = present[0] if len(present) == 1 else shape
    made: Document = {
        "physicalType": " | ".join(_physical(branch) for branch in present) or "null",
        "logicalType": _LOGICAL[only.logical or only.kind],
    }
    if only.kind == "enum":
        values = {"property": "symbols", "value": list(only.symbols)}
        made["customProperties"] = [values]
    elif only.kind == "record":
        made["properties"] = [_property(field) for field in only.fields]
    elif only.kind == "array":
        made["items"] = {"name": "item", **_type(only.inner[0])}
    return made


def _physical(shape: Shape) -> str:
    if shape.kind in ("array", "map"):
        return f"{shape.kind}<{' | '.join(_physical(branch) for branch in shape.inner)}>"
    if shape.kind == "union":
        return " | ".join(_physical(branch) for branch in shape.inner)
    return f"{shape.kind}({shape.logical})" if shape.logical else shape.kind


def _promises(topic: Topic) -> list[Document]:
    found: list[Document] = []
    kept = topic.retention_ms
    if kept is not None and kept >= 0:
        found.append({"property": "retention", "value": kept / _DAY, "unit": "d"})
        if kept % _DAY == 0:
            found[0]["value"] = kept // _DAY
    if topic.about.sunset:
        found.append({"property": "endOfSupport", "value": str(topic.about.sunset)})
    return found


def _properties(topic: Topic) -> list[Document]:
    about = topic.about
    said: Document = {"role": about.role.value}
    if about.subject:
        said |= {"subject": about.subject}
    if about.role is not Role.DEAD_LETTER:
        said |= {"compatibility": about.compatibility.value}
    if topic.decision_id:
        said |= {"deduplicateBy": topic.decision_id}
    if topic.writers:
        said |= {
            "delivery": " ".join(sorted({promises.guarantee(w, about.role) for w in topic.writers}))
        }
        levels = sorted({promises.isolation(worker, about.role) for worker in topic.writers})
        # The stricter one is right for all writers.
        said |= {"isolationLevel": levels[0]}
    if about.replaced_by:
        said |= {"replacedBy": about.replaced_by}
    return [{"property": name, "value": value} for name, value in said.items()]
